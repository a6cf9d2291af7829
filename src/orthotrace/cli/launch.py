"""A job run by Hydra."""

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NoReturn

from omegaconf import DictConfig, OmegaConf

from orthotrace.cli.errors import mistakes_on_one_line
from orthotrace.cli.multirun import Multirun
from orthotrace.config.conf import conf_folder
from orthotrace.config.folder_names import run_name
from orthotrace.core.errors import UserError, nearest, short
from orthotrace.core.interrupt import interruptible

# Where this module is imported folders can be named: workers of a launcher import it with the job.
OmegaConf.register_new_resolver(
    "run_name", lambda *, _root_: run_name(list(_root_.hydra.overrides.task), _root_), replace=True
)


# Without and with a value.
SWITCHES = (("--help", "-h"), ("--hydra-help",), ("--version",), ("--resolve",), ("--run", "-r"),
            ("--multirun", "-m"), ("--shell-completion", "-sc"))  # fmt: skip
VALUES = (("--package", "-p"), ("--config-path", "-cp"), ("--config-name", "-cn"), ("--config-dir", "-cd"))
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


def launch(job: Callable[[DictConfig], Any], config_name: str) -> None:
    """Run a job by Hydra, with a user's mistake on one line.

    Exits with 2 after a mistake, with 1 when a job of a multirun failed, with 130 or 143 after a signal.
    """
    # Hydra reads every option twice for its help, which takes a second; it alone knows groups of the user's own.
    if sys.argv[1:] in (["--help"], ["-h"]):
        print(help_of(config_name))
        return
    # Python's argparse takes keys on one side of a flag only.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("--multirun", "-m"))
    with mistakes_on_one_line(config_name):
        check_flags(sys.argv[1:])
    import hydra

    # Errors come here as they are, instead of being printed by Hydra.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    # A user's own classes and functions are found where the command is given; installed ones come first.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    quieten()
    with interruptible(), mistakes_on_one_line(config_name):
        try:
            hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=config_name)(job)()
        except BrokenProcessPool as error:
            raise UserError(
                "a worker process was killed, maybe for want of memory; the same command continues"
            ) from error
    if Multirun.failed:
        sys.exit(1)


class Flags(argparse.ArgumentParser):
    """Hydra's flags, all but the one that reads a pickle; what is no flag is for Hydra to read."""

    def __init__(self) -> None:
        super().__init__(add_help=False)
        self.add_argument("overrides", nargs="*")
        for names in SWITCHES:
            self.add_argument(*names, action="store_true")
        for names in VALUES:
            self.add_argument(*names)
        self.add_argument("--cfg", "-c", choices=["job", "hydra", "all"])
        self.add_argument("--info", "-i", nargs="?", choices=INFO)

    def error(self, message: str) -> NoReturn:
        """What is wrong with the value of a flag."""
        raise UserError(message.removeprefix("argument "))


def check_flags(arguments: Sequence[str]) -> None:
    """Refuse what begins with a minus and is no flag of Hydra's.

    Raises:
        UserError: names the nearest; or what is wrong with the value of one.

    Example:
        >>> check_flags(["--multrun"])
        Traceback (most recent call last):
        ...
        orthotrace.core.errors.UserError: --multrun: no such flag; did you mean '--multirun'?
    """
    flags = Flags()
    rest = flags.parse_known_args(arguments)[1]
    for one in rest:
        if one.startswith("-"):
            hint = nearest(one, [name for action in flags._actions for name in action.option_strings])
            raise UserError(f"no such flag; {hint.partition(' There are')[0]}", short(one))
    if rest:
        raise UserError("write flags such as --multirun before all keys, or after them", short(rest[0]))


def help_of(config_name: str) -> str:
    """The help of a command, as Hydra prints it of the same template."""
    primary = OmegaConf.load(conf_folder() / f"{config_name}.yaml")
    groups = [
        f"{folder.name}: {', '.join(sorted(file.stem for file in folder.glob('*.yaml')))}"
        for folder in sorted(conf_folder().iterdir())
        if folder.is_dir()
    ]
    return str(OmegaConf.select(primary, "hydra.help.template")).replace("$APP_CONFIG_GROUPS", "\n".join(groups) + "\n")


def quieten() -> None:
    """Warnings on one line, without the line of code that gave them."""
    warnings.formatwarning = lambda message, category, *_, **__: f"warning: {message}\n"
    # Lightning 2.6 on torch >= 2.13 asks for a class that torch renames.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
