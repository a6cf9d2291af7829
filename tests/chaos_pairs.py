"""Runs of two processes, cut within a task and continued, for every method and layer with state: for make chaos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pairs import CASES, differences, pair
from tally import Tally


def pairs(folder: Path, number: int, seed: int) -> Iterator[Tally]:
    """Both processes end alike, and the continued run as the whole one, to the bit; the same cases each time."""
    tally, names = Tally("two processes, cut and continued"), list(CASES)[:number]
    # A case that fails ends the processes, and would take the others with it.
    for start in range(0, len(names), 6):
        some = names[start : start + 6]
        try:
            for continued in (False, True):
                pair(some, folder, continued)
        except Exception as error:
            for name in some:
                tally.count("tracebacks", f"one of {some}: {error}" if name == some[0] else f"with {some[0]}")
            continue
        for name in some:
            wrong = differences(name, folder)
            tally.count("wrong" if wrong else "survived", f"{name}: {wrong[:3]}")
    yield tally
