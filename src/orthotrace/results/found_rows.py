"""The rows that another run found, for methods that take them over."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from orthotrace.core.digests import DamagedFileError, recorded
from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.methods.sizes import FoundRows
from orthotrace.results.run_folder import Run, find


def rows_argument(config: DictConfig, seeds: Seeds) -> dict[str, Any]:
    """The argument rows_from of the method; empty where the configuration names no run.

    Raises:
        UserError: both rows and rows_from are given; as for found_rows.
    """
    folder = OmegaConf.select(config, "method.rows_from")
    if folder is None:
        return {}
    if OmegaConf.select(config, "method.rows") is not None:
        raise UserError("give rows or rows_from, not both", "method.rows_from")
    if not isinstance(folder, str):
        raise UserError(f"input should be a valid string (got {folder})", "method.rows_from")
    try:
        return {"rows_from": found_rows(folder, seeds)}
    except UserError as error:
        raise error.below("method") from error


def _has_rows(run: Run) -> bool:
    """Whether a run has found rows of its own; what cannot be read is none, but for a run that was damaged since.

    Raises:
        DamagedFileError: it is not what was written: another run must not take its place in silence.
    """
    try:
        return bool(run.finished and run.scores["capacity"] and not run.rows_are_borrowed)
    except DamagedFileError:
        if recorded(run.scores_file) or recorded(run.hydra / "config.yaml"):
            raise
        return False
    except (UserError, KeyError):
        return False


def found_rows(folder: str, seeds: Seeds) -> FoundRows:
    """The rows that each layer gained in each task of another run.

    Args:
        folder: a run, or a folder with one run of the same seeds; where several have them that of gpm is taken.
        seeds: of the run that asks.

    Raises:
        UserError: there is no such run, more than one, or it let rows go.
    """
    path = Path(folder)
    if not path.exists():
        raise UserError(f"there is no folder {folder}", "rows_from")
    try:
        runs = [Run(path)] if Run(path).exists else find(path)
    except UserError as error:
        raise UserError(error.message, "rows_from") from error
    # A run that took its own rows from another is no reference.
    try:
        runs = [run for run in runs if _has_rows(run)]
    except DamagedFileError as error:
        raise UserError(error.message, "rows_from") from error
    # A folder of one run was chosen by name; of several the one with the same seeds is meant.
    same = [run for run in runs if Run(path).exists or run.scores["seeds"] == seeds.as_dict()]
    if len(same) > 1:
        # Where several methods have found rows, those of the exact directions are the reference.
        same = [run for run in same if run.scores["method"] == "gpm"] or same
    if len(same) != 1:
        listed = ", ".join(run.folder.name for run in same[:3]) or "none"
        listed += f" and {len(same) - 3} more" if len(same) > 3 else ""
        raise UserError(
            f"{folder} must hold exactly one finished run with rows and the seeds {seeds.as_dict()}; found: {listed}",
            "rows_from",
        )
    capacity = same[0].scores["capacity"]
    ranks = {name: [0, *of["rank"]] for name, of in capacity.items()}
    gained = {name: [after - before for before, after in pairwise(found)] for name, found in ranks.items()}
    if any(min(counts) < 0 for counts in gained.values()):
        raise UserError(f"{same[0].folder} lets rows go from task to task: they cannot be taken over", "rows_from")
    return FoundRows(str(same[0].folder), gained)
