"""What is checked once a configuration is composed, before anything is removed, read or written."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from orthotrace.config.keys import groups, one_option
from orthotrace.config.schema import check
from orthotrace.core.errors import UserError, short


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
    if name == "train":
        if ".." in Path(place := str(config.name)).parts or not place.strip():
            raise UserError(f"is the name of a folder below runs/ (got {short(repr(place))})", "name")
        init_digest(config)


def init_digest(config: DictConfig) -> str | None:
    """SHA-256 of the weights that the network of a job starts from; None where it starts from drawn ones.

    Raises:
        UserError: there are none, or others than those of the digest that is given.
    """
    place, given = OmegaConf.select(config, "init_from"), OmegaConf.select(config, "init_digest")
    if place is None:
        if given is not None:
            raise UserError("is that of init_from, which is null; leave it out", "init_digest")
        return None
    # Imports torch.
    from orthotrace.results.weights import digest_of_weights

    try:
        found = digest_of_weights(str(place))
    except UserError as error:
        raise UserError(error.message, "init_from") from error
    if given not in (None, found):
        raise UserError(
            f"the weights of {short(str(place), 300)} have another one ({found}); leave it out", "init_digest"
        )
    return found


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

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check that of each of several."""
        from hydra.core.global_hydra import GlobalHydra

        from orthotrace.cli.errors import mistakes_on_one_line
        from orthotrace.cli.shown import jobs_of

        loader = GlobalHydra.instance().config_loader()
        with mistakes_on_one_line("analyze"):
            for job in jobs_of(config, loader) or ():
                composed = loader.load_sweep_config(config, job)
                check_composed(composed, composed.hydra, "analyze")
                if composed.parallel.jobs > 1 and str(composed.hydra.launcher._target_).endswith("JoblibLauncher"):
                    raise UserError(
                        "hydra/launcher=joblib runs several analyses at once: leave it at 1, or leave the launcher out",
                        "parallel.jobs",
                    )
