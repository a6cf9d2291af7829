"""Generated configurations, bad and valid, composed here and given as commands: for make chaos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bad_configurations import answer, command_lines, names, sampled
from chaos_commands import done
from conftest import snapshot
from tally import Tally


def configurations(folder: Path, number: int, seed: int) -> Iterator[Tally]:
    """Bad ones are refused in one line that names the key, valid ones (three for ten bad) are accepted."""
    cases = sampled(number, number * 3 // 10, seed)
    for kind, valid in (("configurations that make no sense", False), ("valid configurations", True)):
        tally = Tally(kind)
        for case in cases:
            if (case.kind == "valid") is valid:
                line = answer(case)
                right = line is None if valid else line is not None and names(line, case.key)
                outcome = "survived" if right else "tracebacks" if line and "Traceback" in line else "wrong"
                tally.count(outcome, f"{case.name} {' '.join(case.words)[:300]} ({case.kind}): {line}")
        yield tally


def bad_commands(folder: Path, number: int, seed: int) -> Iterator[Tally]:
    """As commands: exit code 2, one line, and nothing is written."""
    tally = Tally("commands with such configurations")
    for trial, (case, line) in enumerate(command_lines(number, seed)):
        place = folder / str(trial)
        place.mkdir()
        before = set(snapshot(place)) | {"stdout", "stderr"}
        ended = done(line, place)
        fine = ended.code == 2 and names(ended.err, case.key) and set(snapshot(place)) <= before
        outcome = (
            "survived" if fine else "tracebacks" if ended.traceback else "hangs" if ended.code is None else "wrong"
        )
        tally.count(outcome, f"{' '.join(line)[:300]}: {ended}, left {sorted(set(snapshot(place)) - before)}")
    yield tally
