"""What the Hydra entries share: one line for a mistake, names of folders, multiruns."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from orthotrace.config.build import run_name
from orthotrace.config.conf import conf_folder
from orthotrace.core.errors import UserError, nearest, one_line
from orthotrace.core.files import cannot_write

JOBS = "ORTHOTRACE_JOBS"
# Keys below which users name their own.
OPEN = ("measures", "references")


def _named(*, _root_: DictConfig) -> str:
    return run_name(list(_root_.hydra.overrides.task), _root_)


# Where this module is imported folders can be named: workers of a launcher import it with the job.
OmegaConf.register_new_resolver("run_name", _named, replace=True)


def launch(job: Callable[[DictConfig], Any], config_name: str) -> None:
    """Run a job by Hydra, and tell a user's mistake on one line.

    Exits with 2 after a mistake, with 1 when a job of a multirun failed.

    Args:
        job: called with the configuration of each job.
        config_name: of the primary configuration.
    """
    import hydra

    # Errors come here as they are, instead of being printed by Hydra.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    # A user's own classes and functions are found where the command is given; installed ones come first.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    quieten()
    try:
        with told(config_name):
            hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=config_name)(job)()
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        sys.exit(130)
    if Multirun.failed:
        sys.exit(1)


@contextmanager
def told(config_name: str) -> Iterator[None]:
    """Within the block a user's mistake is one line and exit code 2; another error passes.

    Around the whole command, and around a job: Hydra prints a line of its own above an error that passes through it.
    """
    try:
        yield
    except UserError as error:
        fail(str(error))
    except Exception as error:
        # Hydra's error of a missing option is an OSError too.
        line = translated(error, config_name, sys.argv[1:])
        if line is None and isinstance(error, OSError):
            line = str(cannot_write(error.filename or "the folder", error))
        if line is None:
            raise
        fail(line)


def fail(line: str) -> NoReturn:
    """Print a line and exit with 2."""
    print(f"error: {line}", file=sys.stderr)
    sys.exit(2)


def quieten() -> None:
    """Warnings on one line, without the line of code that gave them."""
    warnings.formatwarning = lambda message, category, *_, **__: f"warning: {message}\n"
    # Lightning 2.6 on torch >= 2.13 asks for a class that torch renames.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)


def translated(error: Exception, config_name: str, overrides: Sequence[str] = ()) -> str | None:
    """One line for what Hydra says of a wrong command line; None where the fault is not the user's.

    Args:
        error: Hydra's.
        config_name: of the primary configuration.
        overrides: as the user wrote them: keys are looked up below the chosen options of the groups.
    """
    from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        return f"{group}={option}: no such option; {nearest(option, error.options or [])}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: not understood; write key=value, with quotes around special characters"
    if isinstance(error, ConfigCompositionException):
        key = re.search(
            r"(?:Could not (?:override|append|delete)[^']*|Error merging override )'?([^'\s=]+)", str(error)
        )
        if key:
            name = key[1].lstrip("+~")
            primary = OmegaConf.load(conf_folder() / f"{config_name}.yaml")
            if isinstance(section := OmegaConf.select(primary, name), DictConfig):
                # Hydra takes what is also the name of a group for one.
                return f"{name}: {_section(name, [str(one) for one in section])}"
            cause = error.__cause__
            if cause is not None and "is not in struct" not in str(cause) and "Could not override" not in str(error):
                return f"{name}: {one_line(cause)}"
            return f"{name}: no such key; {_hint(name, known_keys(config_name, overrides))}"
    if isinstance(error, OmegaConfBaseException) and (
        key := re.search(r"[Mm]issing mandatory value: (\S+)", str(error))
    ):
        return f"{key[1]}: is missing; write {key[1]}=VALUE"
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return one_line(error)
    return None


def known_keys(config_name: str, overrides: Sequence[str] = ()) -> list[str]:
    """All keys and groups of a configuration, with the options that the overrides choose and nothing else of them."""
    from hydra import compose, initialize_config_dir
    from hydra._internal.utils import get_args_parser
    from hydra.core.global_hydra import GlobalHydra

    folders = [conf_folder()]
    if own := get_args_parser().parse_known_args(sys.argv[1:])[0].config_dir:
        folders.append(Path(own).absolute())
    groups = [folder.name for folder in conf_folder().iterdir() if folder.is_dir()]
    files = {override: f"{override.replace('=', '/', 1)}.yaml" for override in overrides}
    choices = [override for override, file in files.items() if any((folder / file).is_file() for folder in folders)]
    choices += [f"hydra.searchpath=[{', '.join(f'file://{folder}' for folder in folders[1:])}]"]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose(config_name, choices)

    def keys(node: Any, path: str) -> list[str]:
        if not isinstance(node, dict):
            return []
        names = [f"{path}{key}" for key in node if key != "_target_"]
        return names + [deep for key, value in node.items() for deep in keys(value, f"{path}{key}.")]

    return sorted({*groups, *keys(OmegaConf.to_container(config), "")})


def _hint(name: str, keys: list[str]) -> str:
    """The nearest of the keys beside the one that is wrong: all keys would not fit on a line."""
    deeper = [key for key in keys if key.endswith(f".{name}")]
    if deeper:
        return f"did you mean '{deeper[0]}'?"
    parent = name.rpartition(".")[0]
    # Of a path that is wrong above its last part the first part that exists counts.
    while parent and parent not in keys:
        parent = parent.rpartition(".")[0]
    beside = [key for key in keys if parent and key.rpartition(".")[0] == parent]
    if name.startswith("model.weights.") and not any(key.startswith("model.weights") for key in keys):
        return "the chosen weights has no keys"
    if not beside and parent in OPEN:
        return f"it is yours to name: write +{name}=..."
    if not beside and parent in keys:
        return f"the chosen {parent} has no keys"
    return nearest(name, beside or [key for key in keys if "." not in key])


def check_keys(config: DictConfig, config_name: str) -> None:
    """Refuse keys that were added at the top, where nothing reads them.

    Raises:
        UserError: names the first.
    """
    # The keys of weights are those of a model.
    known = [path.stem for path in conf_folder().iterdir() if path.is_dir() and path.stem != "weights"]
    primary = OmegaConf.load(conf_folder() / f"{config_name}.yaml")
    assert isinstance(primary, DictConfig)
    known += [str(key) for key in primary if key not in ("defaults", "hydra")]
    for key in config:
        if key not in known:
            raise UserError(f"no such key; {nearest(str(key), known)}", str(key))
    for path, keys in _sections(primary).items():
        value = OmegaConf.select(config, path)
        if not OmegaConf.is_dict(value):
            raise UserError(_section(path, keys), path)
    if config.get("rates") is not None and not OmegaConf.is_dict(config.rates):
        raise UserError(_section("rates", []), "rates")


def _sections(primary: DictConfig) -> dict[str, list[str]]:
    """Keys that have keys of their own, of the configuration and of the options that were chosen."""
    from hydra.core.hydra_config import HydraConfig

    files = {"": primary}
    chosen = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    for group, option in chosen.items():
        file = conf_folder() / group / f"{option}.yaml"
        # An experiment's keys are those of the groups.
        if group != "experiment" and file.is_file() and not group.startswith("hydra"):
            node = OmegaConf.load(file)
            files[f"{group}."] = node if isinstance(node, DictConfig) else OmegaConf.create()
    return {
        f"{path}{key}": [str(name) for name in node[key]]
        for path, node in files.items()
        for key in node
        if key not in ("defaults", "hydra") and OmegaConf.is_dict(node._get_node(key))
    }


def _section(name: str, keys: Sequence[str]) -> str:
    names = ", ".join(key for key in keys if key != "_target_")
    if names:
        return f"has keys of its own: write {name}.KEY=..., where KEY is one of {names}"
    return f"has keys of its own, which are yours to name: write +{name}.NAME=..."


class Multirun(Callback):
    """Before a multirun: compose every job, so that a typo costs a second. After it: a table of all jobs."""

    failed = False

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Compose every job and note its folder."""
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
        from hydra.core.global_hydra import GlobalHydra
        from hydra.core.override_parser.overrides_parser import OverridesParser

        self.folders: list[Path] = []
        if not config.hydra.sweeper._target_.endswith("BasicSweeper"):
            return
        loader = GlobalHydra.instance().config_loader()
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(config.hydra.overrides.task))
        for overrides in BasicSweeper.split_arguments(parsed, None)[0]:
            try:
                job = loader.load_sweep_config(config, list(overrides))
            except Exception as error:
                line = translated(error, str(config.hydra.job.config_name), overrides)
                if line is None:
                    raise
                fail(f"{line} (in the job {' '.join(overrides)})")
            self.folders.append(Path(config.hydra.sweep.dir) / str(OmegaConf.select(job, "hydra.sweep.subdir")))
        os.environ[JOBS] = str(len(self.folders))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the table."""
        from orthotrace.results.run_folder import Run, below
        from orthotrace.results.summary import failures, print_summary, write_summary

        runs = [Run(folder) for folder in self.folders]
        print_summary(runs)
        # Methods with options of their own come in several multiruns to one folder: the tables are of all.
        sweep = Path(config.hydra.sweep.dir)
        write_summary(sweep / "summary.tex", below(sweep))
        Multirun.failed = bool(failures(runs))
