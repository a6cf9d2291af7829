"""A job run by Hydra."""

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

import orthotrace
from orthotrace.cli.composed import init_digest
from orthotrace.cli.errors import mistakes_on_one_line, quieten
from orthotrace.cli.flags import as_words, read_flags
from orthotrace.cli.jobs import end, swept
from orthotrace.cli.multirun import Multirun
from orthotrace.cli.per_job import left_to_jobs
from orthotrace.cli.plugins import of_launcher, offer_plugins
from orthotrace.cli.shown import show
from orthotrace.config.conf import conf_folder, group_folders
from orthotrace.config.folder_names import name_of
from orthotrace.core.errors import UserError
from orthotrace.core.interrupt import interruptible
from orthotrace.core.launched import check_environment

# Where this module is imported folders can be named: workers of a launcher import it with the job.
OmegaConf.register_new_resolver(
    "run_name", lambda *, _root_: name_of(_root_, swept(), init_digest(_root_)), replace=True
)


def launch(job: Callable[[DictConfig], Any], config_name: str) -> None:
    """Run a job by Hydra, with a user's mistake on one line.

    Exits with 2 after a mistake, with 1 when a job of a multirun failed, with 130 or 143 after a signal.
    """
    with mistakes_on_one_line(config_name):
        flags = read_flags(sys.argv[1:])
        check_environment()
    if flags.multirun:
        flags.overrides = left_to_jobs(flags.overrides)
    sys.argv[1:] = as_words(flags)
    # Hydra reads every option twice for its help, which takes a second, and takes each folder of conf/ for a group.
    if flags.help and not (flags.config_name or flags.config_path or any("hydra" in one for one in flags.overrides)):
        print(help_of(config_name, [Path(flags.config_dir)] if flags.config_dir else []))
        return
    if flags.version:
        print(f"orthotrace {orthotrace.__version__}, Hydra {version('hydra-core')}")
        return
    import hydra

    # Errors come here as they are, instead of being printed by Hydra.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    # A user's own classes and functions are found where the command is given; installed ones come first.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    quieten()
    with interruptible(), mistakes_on_one_line(config_name):
        offer_plugins(flags.overrides)
        if flags.cfg or flags.info:
            show(flags, config_name)
            return
        try:
            hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=config_name)(job)()
        except BrokenProcessPool as error:
            raise UserError(
                "a worker process was killed, maybe for want of memory; the same command continues"
            ) from error
        except Exception as error:
            if (line := of_launcher(error)) is None:
                raise
            print(f"error: {line}", file=sys.stderr, flush=True)
            Multirun.cut_short()
        finally:
            end()
    if Multirun.failed:
        sys.exit(1)


def help_of(config_name: str, folders: Sequence[Path] = ()) -> str:
    """The help of a command, as Hydra prints it of the same template, with the groups in the user's own folders."""
    primary = OmegaConf.load(conf_folder() / f"{config_name}.yaml")
    options: dict[str, set[str]] = {}
    for top, below in [(conf_folder(), group_folders()), *((own, sorted(own.rglob("*/"))) for own in folders)]:
        for folder in below:
            name = folder.relative_to(top).as_posix()
            if name != "." and not name.startswith(("hydra", ".", "__")):
                options.setdefault(name, set()).update(file.stem for file in folder.glob("*.yaml"))
    groups = [f"{name}: {', '.join(sorted(of))}" for name, of in sorted(options.items())]
    return str(OmegaConf.select(primary, "hydra.help.template")).replace("$APP_CONFIG_GROUPS", "\n".join(groups) + "\n")
