"""What two processes train: whole runs, and those that were cut within a task and are continued.

All cases share the processes, which take longer to start; so this module imports little.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from os import devnull
from pathlib import Path
from typing import Any

import torch
from composed import built
from processes import served
from torch import Tensor, nn

from orthotrace.core.digests import NAME
from orthotrace.layers import Whitening
from orthotrace.results.run_folder import Run
from orthotrace.training.tracking import Tracker

# A task and an epoch, whose end is reported, and not saved yet.
Place = tuple[int, int]


class Whitened(nn.Module):
    """A network of a user's own, with whitening."""

    def __init__(self, shape: Sequence[int], classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(shape[0], 4, 3, bias=False)
        self.whitening = Whitening(4)
        self.relu = nn.ReLU()
        self.head = nn.Linear(4, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.relu(self.whitening(self.conv(inputs))).mean((2, 3)))


class Cuts(Tracker):
    """Copies a run's folder when epochs are reported, before they are saved: what a kill would leave then."""

    def __init__(self, run: Run, copies: Mapping[Place, Run]) -> None:
        self.run = run
        self.copies = copies

    def epoch(self, row, number):
        if copy := self.copies.get((row["task"], row["epoch"])):
            shutil.copytree(self.run.folder, copy.folder)


def told(place: Place) -> str:
    """A place in words."""
    return "cut in task {} epoch {}".format(*place)


def runs(
    rank: int,
    world: int,
    folder: Path,
    cases: Mapping[str, Sequence[str]],
    places: Mapping[str, Sequence[Place]],
    older: Sequence[str] = (),
) -> dict[str, Tensor]:
    """In one of two processes: train the cases, and continue their copies; keep the state at each end.

    Args:
        rank: of this process.
        world: 2.
        folder: to train in.
        cases: name -> overrides.
        places: name -> where it is cut.
        older: cases that are also continued from a checkpoint as it was before each process had a state of its own.
    """
    warnings.simplefilter("ignore")
    with Path(devnull).open("w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        for name, overrides in cases.items():
            whole = Run(folder / name / "whole")
            copies = {place: Run(folder / name / told(place)) for place in places[name]}
            _trained(rank, overrides, whole, Cuts(whole, copies))
            if name in older:
                copies[0, 0] = Run(folder / name / "older")
                if not rank:
                    shutil.copytree(copies[places[name][0]].folder, copies[0, 0].folder)
                    _make_older(copies[0, 0])
                torch.distributed.barrier()
            for copy in copies.values():
                _trained(rank, overrides, copy)
    return {}


def served_and_trained(rank: int, world: int, **options: Any) -> dict[str, Tensor]:
    """All that is tested in two processes, which take seconds to start."""
    return served(rank, world) | runs(rank, world, **options)


def _trained(rank: int, overrides: Sequence[str], run: Run, tracker: Tracker | None = None) -> None:
    experiment = built(run, *overrides, tracker=None if rank else tracker)
    experiment.run()
    torch.save(experiment.learner.state_dict(), run.folder / f"rank{rank}.pt")


def _make_older(run: Run) -> None:
    """Take the states of the other processes from the checkpoints of a run."""
    for path in run.generations:
        saved = torch.load(path, weights_only=True)
        saved["orthotrace"].pop("others", None)
        torch.save(saved, path)
    (run.checkpoints / NAME).unlink()


def differences(folder: Path, name: str, place: str) -> list[str]:
    """What differs between a continued run and the whole one, and between their processes."""
    whole, cut = Run(folder / name / "whole"), Run(folder / name / place)
    found = {f"{key} {rank}": torch.load(run.folder / f"rank{rank}.pt") for key, run in (("whole", whole), ("cut", cut))
             for rank in range(2)}  # fmt: skip
    lines = [
        f"{one}, {other}: {key}"
        for one, other in (("whole 0", "whole 1"), ("whole 0", "cut 0"), ("cut 0", "cut 1"))
        for key in sorted(found[one].keys() | found[other].keys())
        if not same(found[one].get(key), found[other].get(key))
    ]
    if {**whole.scores, "seconds": 0} != {**cut.scores, "seconds": 0}:
        lines.append("scores")
    return lines


def same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return False
    return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())
