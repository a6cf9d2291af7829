"""What one training step calls of this project: functions, and changes from one file to another.

    python scripts/step_trace.py [--verbose]

HLOP on digits (experiment=digits, an MLP of three layers, one batch at once), the mean over the first 20 steps of task
2. A step begins
where Lightning asks for a batch and ends with the hooks at the end of the batch. Comprehensions do not count. Prints
{calls, changes_of_file}; with --verbose first the sequence of calls of the last step.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop

import orthotrace
from orthotrace.cli.train import main as train

PACKAGE = f"{Path(orthotrace.__file__).resolve().parent}{os.sep}"
INNER = {"<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>"}
STEPS = 20

Call = tuple[str, str]


def calls_of(function: Callable[[], Any]) -> list[Call]:
    """(file, function) of each call into this project, in order; a generator counts each time that it goes on.

    Example:
        >>> import torch
        >>> from orthotrace.linalg import polar
        >>> calls_of(lambda: polar(torch.eye(2)))
        [('linalg.py', 'polar')]
    """
    calls: list[Call] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE) and code.co_name not in INNER:
            calls.append((code.co_filename.removeprefix(PACKAGE), code.co_qualname))

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


def changes_of_file(calls: list[Call]) -> int:
    """How often a call is in another file than the one before.

    Example:
        >>> changes_of_file([("a.py", "f"), ("a.py", "g"), ("b.py", "f")])
        1
    """
    return sum(one[0] != other[0] for one, other in pairwise(calls))


@contextmanager
def traced(task: int) -> Iterator[list[list[Call]]]:
    """Collect the calls of the first steps of a task, from 0, where each task has one epoch."""
    steps: list[list[Call]] = []
    advance = _TrainingEpochLoop.advance

    def traced_advance(self: _TrainingEpochLoop, data_fetcher: Any) -> None:
        if self.trainer.current_epoch == task and len(steps) < STEPS:
            steps.append(calls_of(lambda: advance(self, data_fetcher)))
        else:
            advance(self, data_fetcher)

    _TrainingEpochLoop.advance = traced_advance
    try:
        yield steps
    finally:
        _TrainingEpochLoop.advance = advance


def steps_of(method: str = "hlop") -> list[list[Call]]:
    """The calls of each step of a method."""
    given = sys.argv
    with tempfile.TemporaryDirectory() as folder, traced(task=1) as steps:
        sys.argv = [
            "train", "experiment=digits", f"method={method}", "stream.tasks=2", "trainer.max_epochs=1",
            "trainer.batches_at_once=1", f"hydra.run.dir={Path(folder) / 'run'}",
        ]  # fmt: skip
        try:
            train()
        finally:
            sys.argv = given
    if len(steps) < STEPS:
        raise RuntimeError(f"{len(steps)} steps seen, not {STEPS}")
    return steps


def main() -> None:
    """Trace and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--verbose", action="store_true")
    steps = steps_of()
    if parser.parse_args().verbose:
        for number, (file, function) in enumerate(steps[-1], 1):
            print(f"{number:4d}  {file:36s} {function}")
    found = {
        "calls": statistics.fmean(map(len, steps)),
        "changes_of_file": statistics.fmean(map(changes_of_file, steps)),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
