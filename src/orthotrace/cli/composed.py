"""What is checked once a configuration is composed, before anything is removed, read or written."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from orthotrace.config.keys import groups, one_option
from orthotrace.config.schema import check
from orthotrace.core.errors import UserError


def check_composed(config: DictConfig, hydra: Any, name: str, whole: bool = True) -> None:
    """Check the keys of a job, and what was chosen for it.

    Args:
        config: of the job.
        hydra: Hydra's own part of it.
        name: "train" or "analyze".
        whole: also what only the classes say that are configured, see check.

    Raises:
        UserError: names the first key at fault.
    """
    # As they were given: one may hold an interpolation.
    given: Any = OmegaConf.to_container(hydra.overrides.task)
    for override in given:
        group, _, options = str(override).partition("=")
        # Hydra would merge the options, and let the last one undo the others.
        if options.startswith("[") and group in groups():
            raise UserError(one_option(options), group)
    check(config, name, whole)


def starts(config: DictConfig, folder: Path) -> bool:
    """Whether a job is sure to train, and so to import what it trains; else its run may be finished."""
    return bool(config.overwrite) or not folder.exists()


def check_folder(config: DictConfig, *keys: str) -> None:
    """Refuse a folder of Hydra's without a name, for which it would take one called None, or this one.

    Raises:
        UserError: names the key.
    """
    for key in keys:
        if not isinstance(found := OmegaConf.select(config, key), (str, int, float)) or found in ("", True, False):
            raise UserError(f"is the name of a folder (got {found!r})", key)


class BeforeARun(Callback):
    """Checks a single run before Hydra makes its folder."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check its configuration; a mistake is one line."""
        from orthotrace.cli.errors import mistakes_on_one_line

        with mistakes_on_one_line("train"):
            check_composed(config, config.hydra, "train", whole=False)
            check_folder(config, "hydra.run.dir")
            if starts(config, Path(config.hydra.run.dir)):
                check(config, "train")


class BeforeAnAnalysis(Callback):
    """Checks an analysis likewise; its folder is made by itself."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check its configuration; a mistake is one line."""
        from orthotrace.cli.errors import mistakes_on_one_line

        with mistakes_on_one_line("analyze"):
            check_composed(config, config.hydra, "analyze")
            check_folder(config, "hydra.run.dir")
