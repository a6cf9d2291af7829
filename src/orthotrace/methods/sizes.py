"""How many directions each layer holds: by energy, by numbers, or as another run found them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from orthotrace.core.errors import UserError, refuse_unknown

Energy = Annotated[float, Field(gt=0, le=1)]
Rows = Annotated[int, Field(ge=0)]
Energies = Energy | list[Energy] | dict[str, Energy]
RowCounts = Rows | list[Rows] | dict[str, Rows | list[Rows]]


@dataclass(frozen=True)
class FoundRows:
    """The rows that another run found.

    Attributes:
        source: of which run, for messages.
        rows: label of each subspace -> rows that it gained in each task.
    """

    source: str
    rows: dict[str, list[int]]


def sizes(
    labels: Mapping[str, str],
    energy: Energies | None,
    rows: RowCounts | None,
    rows_from: FoundRows | None,
) -> dict[str, dict[str, Any]]:
    """The options energy or rows for the subspace of each layer, or of each group of a convolution.

    Args:
        labels: label of each subspace, in order -> name of its layer; what is said of a layer counts for its groups.
        energy: one share, one for each layer in order, or by name; counts where neither rows is given.
        rows: rows of each task: one number, one for each layer in order, or by name; by name also a list over tasks.
        rows_from: or the rows that another run found.

    Raises:
        UserError: both rows and rows_from, nothing at all, a layer that does not exist, or numbers that do not match
            the layers.

    Example:
        >>> sizes({"fc1": "fc1", "head": "head"}, 0.97, {"fc1": [20, 10], "head": 5}, None)
        {'fc1': {'rows': [20, 10]}, 'head': {'rows': 5}}
    """
    if rows is not None and rows_from is not None:
        raise UserError("give rows or rows_from, not both", "rows_from")
    if rows_from is not None:
        if sorted(rows_from.rows) != sorted(labels):
            there, here = ", ".join(rows_from.rows), ", ".join(labels)
            raise UserError(f"the layers of {rows_from.source} are {there}, here they are {here}", "rows_from")
        return {label: {"rows": counts} for label, counts in rows_from.rows.items()}
    if rows is None and energy is None:
        raise UserError("give energy, rows or rows_from", "energy")
    key, value = ("energy", energy) if rows is None else ("rows", rows)
    found = _by_layer(value, list(dict.fromkeys(labels.values())), key)
    return {label: {key: found[name]} for label, name in labels.items()}


def _by_layer(value: Any, names: Sequence[str], key: str) -> dict[str, Any]:
    if isinstance(value, Mapping):
        refuse_unknown(value, names, "there is no protected layer", key)
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
