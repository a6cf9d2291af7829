"""How many directions each layer holds: by energy, by numbers, or as another run found them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from orthotrace.core.errors import UserError, nearest
from orthotrace.core.seeds import Seeds
from orthotrace.results.run_folder import Run, find

Energy = Annotated[float, Field(gt=0, le=1)]
Rows = Annotated[int, Field(ge=0)]
Energies = Energy | list[Energy] | dict[str, Energy]
RowCounts = Rows | list[Rows] | dict[str, Rows | list[Rows]]


def sizes(
    labels: Mapping[str, str],
    energy: Energies | None,
    rows: RowCounts | None,
    rows_from: str | None,
    seeds: Seeds,
) -> dict[str, dict[str, Any]]:
    """The options energy or rows for the subspace of each layer, or of each group of a convolution.

    Args:
        labels: label of each subspace, in order -> name of its layer; what is said of a layer counts for its groups.
        energy: one share, one for each layer in order, or by name; counts where neither rows is given.
        rows: rows of each task: one number, one for each layer in order, or by name; by name also a list over tasks.
        rows_from: a run, or a folder with one run of the same seeds: take the rows that it found. Where several have
            the same seeds that of gpm is taken.
        seeds: of the run that asks.

    Raises:
        UserError: both rows and rows_from, nothing at all, a layer that does not exist, or numbers that do not match
            the layers.

    Example:
        >>> sizes({"fc1": "fc1", "head": "head"}, 0.97, {"fc1": [20, 10], "head": 5}, None, Seeds())
        {'fc1': {'rows': [20, 10]}, 'head': {'rows': 5}}
    """
    if rows is not None and rows_from is not None:
        raise UserError("give rows or rows_from, not both", "rows_from")
    if rows_from is not None:
        return {label: {"rows": counts} for label, counts in found_rows(rows_from, list(labels), seeds).items()}
    if rows is None and energy is None:
        raise UserError("give energy, rows or rows_from", "energy")
    key, value = ("energy", energy) if rows is None else ("rows", rows)
    found = _by_layer(value, list(dict.fromkeys(labels.values())), key)
    return {label: {key: found[name]} for label, name in labels.items()}


def _by_layer(value: Any, names: Sequence[str], key: str) -> dict[str, Any]:
    if isinstance(value, Mapping):
        for name in value:
            if name not in names:
                raise UserError(f"there is no protected layer '{name}'; {nearest(str(name), names)}", key)
        missing = [name for name in names if name not in value]
        if missing:
            raise UserError(f"says nothing of layer '{missing[0]}': name every protected layer", key)
        return {name: value[name] for name in names}
    if isinstance(value, Sequence):
        if len(value) != len(names):
            raise UserError(
                f"{len(value)} values for {len(names)} protected layers ({', '.join(names)}): give one for each", key
            )
        return dict(zip(names, value, strict=True))
    return dict.fromkeys(names, value)


def _has_rows(run: Run) -> bool:
    """Whether a run has found rows of its own; one that cannot be read is none."""
    try:
        return bool(run.finished and run.scores["capacity"] and not run.rows_are_borrowed)
    except (UserError, KeyError):
        return False


def found_rows(folder: str, names: Sequence[str], seeds: Seeds) -> dict[str, list[int]]:
    """Rows that each layer gained in each task of another run.

    Raises:
        UserError: there is no such run, more than one, or its layers are others.
    """
    path = Path(folder)
    if not path.exists():
        raise UserError(f"there is no folder {folder}", "rows_from")
    try:
        runs = [Run(path)] if Run(path).exists else find(path)
    except UserError as error:
        raise UserError(error.message, "rows_from") from error
    # A run that took its own rows from another is no reference.
    runs = [run for run in runs if _has_rows(run)]
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
    if sorted(capacity) != sorted(names):
        raise UserError(
            f"the layers of {same[0].folder} are {', '.join(capacity)}, here they are {', '.join(names)}", "rows_from"
        )
    ranks = {name: [0, *capacity[name]["rank"]] for name in names}
    gained = {name: [after - before for before, after in pairwise(found)] for name, found in ranks.items()}
    if any(min(counts) < 0 for counts in gained.values()):
        raise UserError(f"{same[0].folder} lets rows go from task to task: they cannot be taken over", "rows_from")
    return gained
