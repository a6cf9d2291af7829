"""Several data sets for one stream."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from orthotrace.core.errors import UserError, checked
from orthotrace.data.sources.base import Limit, Source, check_shapes
from orthotrace.data.sources.table import table


@checked
def several(
    sources: dict[str, dict[str, Any]],
    path: str | None = None,
    only: list[str] | None = None,
    limit: Limit | None = None,
) -> tuple[Source | None, ...]:
    """Several tables, in order, for a stream of data sets.

    Args:
        sources: a short name of each data set -> the options of its table.
        path: a local folder with a folder of Parquet files for each, named by its short name; None for the hub.
        only: short names of those that are read; None for all.
        limit: images of each class in each part of each at most, the first ones; None for all.

    Returns:
        The data sets, with None in the place of those that are not read.

    Raises:
        UserError: no data set, or images of different shapes; as for table.
    """
    made: list[Source | None] = []
    for name, options in sources.items():
        if only is not None and name not in only:
            made.append(None)
            continue
        own = {} if path is None else {"path": str(Path(path) / name)}
        own |= {} if limit is None else {"limit": limit}
        try:
            made.append(replace(table(**{**options, **own}), name=name))
        except UserError as error:
            raise error.below(f"sources.{name}") from error
    check_shapes([one for one in made if one is not None])
    return tuple(made)
