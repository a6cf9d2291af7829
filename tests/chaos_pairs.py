"""Runs of two processes, cut within a task and continued, for every method and layer with state: for make chaos."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from paired import differences, runs, told
from pairs import CASES, chosen, places_of
from processes import in_two_processes
from tally import Tally

# Where each case is cut: once as for the tests, and once more by the seed.
CUTS = 2


def pairs(folder: Path, number: int, seed: int) -> Iterator[Tally]:
    """Both processes end alike, and the continued run as the whole one, to the bit; the same cases each time."""
    tally, names = Tally("two processes, cut and continued"), list(CASES)[:number]
    # A case that fails ends the processes, and would take the others with it.
    for start in range(0, len(names), 6):
        some = names[start : start + 6]
        try:
            in_two_processes(partial(runs, folder=folder, **chosen(some, CUTS, seed)), folder)
        except Exception as error:
            for name in some:
                tally.count("tracebacks", f"one of {some}: {error}" if name == some[0] else f"with {some[0]}")
            continue
        for name in some:
            for place in places_of(name, CUTS, seed):
                wrong = differences(folder, name, told(place))
                tally.count("wrong" if wrong else "survived", f"{name}, {told(place)}: {wrong[:3]}")
    yield tally
