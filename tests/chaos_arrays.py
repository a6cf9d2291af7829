"""Generated calls of the functions of analysis, against oracles: for make chaos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tally import Tally


def array_calls(folder: Path, number: int, seed: int) -> Iterator[Tally]:
    """Each call is right or refused in one line."""
    from array_calls import outcome
    from array_cases import CASES

    tally, names = Tally("arrays given to the analysis"), list(CASES)
    for call in range(seed * number, (seed + 1) * number):
        name = names[call % len(names)]
        kind, why = outcome(name, call)
        tally.count(
            {"right": "survived", "refused": "survived", "foreign": "tracebacks"}.get(kind, kind),
            f"{name} {call}: {why}",
        )
    yield tally
