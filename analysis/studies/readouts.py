"""Forgetting taken apart over the networks of groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.progress import track

from orthotrace.analysis.networks.places import Read
from orthotrace.analysis.networks.spread import Spreading
from orthotrace.analysis.studies.forgetting import Forgetting, forgetting
from orthotrace.core.errors import UserError
from orthotrace.results.groups import Group
from orthotrace.results.run_folder import Run
from orthotrace.results.statistics import mean_interval

# Accuracies, in [0, 1], and what drift_split tells.
READOUTS = ("before", "trained", "kept", "aligned", "refitted")
DRIFTS = ("size", "seen", "expected")


@dataclass(frozen=True)
class ForgettingOfGroup:
    """What became of a task in a layer of the networks of a group.

    Attributes:
        method: label of the group.
        layer: name.
        own: whether the inputs of the networks' own readout were read, not the layer.
        task: the task, from 1.
        after: after how many tasks.
        classes: of the task.
        quantity: one of READOUTS, see readout.ReadoutDiagnosis, or of DRIFTS, see readout.DriftSplit; "trained" is the
            accuracy of the whole network.
        values: of each network that has one.
        mean: of the values.
        low, high: its interval by Student's t; None with one network.
    """

    method: str
    layer: str
    own: bool
    task: int
    after: int
    classes: int
    quantity: str
    values: tuple[float, ...]
    mean: float
    low: float | None
    high: float | None


def check_readouts(grouped: Sequence[Any]) -> None:
    """Refuse networks of which no forgetting can be told, before any is read.

    Raises:
        UserError: networks that were given, epochs instead of tasks, runs of a regression, or of one task alone.
    """
    runs = [run for group in grouped for run in group.runs]
    if not all(isinstance(group, Group) for group in grouped):
        raise UserError("networks that were given have no tasks of whose images readouts could be fitted", "readout")
    for run in runs:
        if run.scores.get("score", "accuracy") != "accuracy":
            raise UserError(f"{run.folder.name} is of a regression: readouts are of classes", "readout")
    if max(len(run.scores["accuracy"]) for run in runs) < 2:
        raise UserError("all runs have one task: of two or more the first can be forgotten", "readout")


def readouts(
    grouped: Sequence[Group],
    layers: Sequence[str] | None = None,
    read: Read = "post",
    level: float = 0.95,
    windows: int | None = None,
    spreading: Spreading | None = None,
) -> list[ForgettingOfGroup]:
    """Every task after it and after every later one, layer by layer, over the networks of each group.

    Args:
        grouped: groups of finished runs.
        layers: as for forgetting.forgetting.
        read: likewise.
        level: of the intervals, in (0, 1).
        windows: as for forgetting.forgetting.
        spreading: of the work over processes, run by run; None for this one.

    Raises:
        UserError: as forgetting.forgetting.
    """
    jobs = [(group.label, run) for group in grouped for run in group.runs]
    found: dict[tuple[str, str, bool, int, int, int, str], list[float]] = {}
    made = (spreading or Spreading()).each(_of_run, [(run,) for _, run in jobs], layers, read, windows)
    bar = track(made, "readouts", len(jobs), transient=True, disable=not Console().is_terminal)
    for (label, _), of in zip(jobs, bar, strict=True):
        for one in of:
            key = (label, one.layer, one.drift is not None, one.task, one.after, one.classes)
            for quantity, value in _quantities(one).items():
                found.setdefault((*key, quantity), []).append(value)
    rows = []
    for key, values in found.items():
        # Of what has not moved at all there is no share.
        if values := [value for value in values if value == value]:
            mean = mean_interval(values, level)
            rows.append(ForgettingOfGroup(*key, tuple(values), mean.mean, mean.low, mean.high))
    return rows


def _of_run(run: Run, layers: Sequence[str] | None, read: Read, windows: int | None) -> list[Forgetting]:
    return forgetting(run, layers, read=read, windows=windows)


def _quantities(one: Forgetting) -> dict[str, float]:
    """Its numbers by name; of the drift those after a later task."""
    found = {"trained": one.trained, **vars(one.diagnosis)}
    found = {name: found[name] for name in READOUTS}
    return found if one.drift is None or one.after == one.task else {**found, **vars(one.drift)}


def of_first_task(rows: Sequence[ForgettingOfGroup]) -> list[ForgettingOfGroup]:
    """Those of the first task that there is."""
    first = min((one.task for one in rows), default=0)
    return [one for one in rows if one.task == first]


def over_earlier_tasks(rows: Sequence[ForgettingOfGroup], level: float = 0.95) -> list[ForgettingOfGroup]:
    """After the last task, the mean over all tasks before it, of each network; over networks as before.

    Example:
        >>> one = ForgettingOfGroup("gpm", "head", True, 1, 3, 2, "kept", (0.5, 0.0), 0.25, None, None)
        >>> over_earlier_tasks([one, replace(one, task=2, values=(1.0, 0.0))])[0].values
        (0.75, 0.0)
    """
    found: dict[tuple[str, str, str], list[ForgettingOfGroup]] = {}
    last = {one.method: max(other.after for other in rows if other.method == one.method) for one in rows}
    for one in rows:
        if one.task < one.after == last[one.method]:
            found.setdefault((one.method, one.layer, one.quantity), []).append(one)
    means = []
    for of in found.values():
        # Networks that lack a number for some task have no mean.
        if len({len(one.values) for one in of}) == 1:
            values = tuple(sum(own) / len(of) for own in zip(*(one.values for one in of), strict=True))
            mean = mean_interval(values, level)
            means.append(replace(of[0], values=values, mean=mean.mean, low=mean.low, high=mean.high))
    return means
