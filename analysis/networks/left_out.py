"""What an analysis had to leave out, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True)
class LeftOut:
    """Something that a network has not.

    Attributes:
        method: label of its group.
        run: name of the folder.
        task: after how many tasks.
        layer: its name; empty for all.
        what: is left out: "layer", "RDM", or a comparison by its name.
        why: it is.
        stimuli: how many are missing in it; None where all of it is.
    """

    method: str
    run: str
    task: int
    layer: str
    what: str
    why: str
    stimuli: int | None = None


def left_out_table(found: Sequence[LeftOut], networks: int) -> list[list[str]]:
    """Rows of what was left out, alike ones of several networks in one; empty where there is nothing.

    Example:
        >>> one = LeftOut("gpm", "a", 2, "relu1", "RDM", "the layer gives the same for all")
        >>> left_out_table([one], 3)[1]
        ['RDM', 'relu1', 'the layer gives the same for all', 'gpm: a after task 2']
    """
    if not found:
        return []
    key = lambda one: (one.what, one.layer, one.why)  # noqa: E731
    order = {each: place for place, each in enumerate(dict.fromkeys(map(key, found)))}
    rows = [["left out", "layer", "why", "networks"]]
    for (what, layer, why), alike in groupby(sorted(found, key=lambda one: order[key(one)]), key):
        of = list(dict.fromkeys((one.method, one.run, one.task) for one in alike))
        named = "all" if len(of) == networks and networks > 1 else "; ".join(_named(of))
        rows.append([what, layer or "all", why, named])
    return rows


def _named(of: Iterable[tuple[str, str, int]]) -> list[str]:
    return [f"{method}: {run} after task {task}" for method, run, task in of]


def left_out_line(found: Sequence[LeftOut]) -> str:
    """One line of what was left out.

    Example:
        >>> left_out_line([LeftOut("gpm", "a", 2, "relu1", "RDM", "3 of 9 stimuli ...", 3)])
        'left out: stimuli of 1 RDM; run, layer and number are in the report'
    """
    parts = [one for one in found if one.stimuli is not None]
    whole = [one for one in found if one.stimuli is None]
    said = [f"stimuli of {_count(parts, 'RDM')}"] if parts else []
    by = {}
    for one in whole:
        by.setdefault(one.what, []).append(one)
    said += [_count(of, what) for what, of in by.items()]
    return f"left out: {', '.join(said)}; run, layer and number are in the report"


def _count(of: Sequence[LeftOut], what: str) -> str:
    return f"{len(of)} {what}" + ("s" if len(of) > 1 and not what.endswith("s") else "")
