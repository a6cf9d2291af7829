"""Runs of a multirun that are below the others are stopped after a task."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from statistics import fmean
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from orthotrace.cli.jobs import job_list
from orthotrace.core.errors import UserError
from orthotrace.core.files import read_json, write_json
from orthotrace.results.listed import Job
from orthotrace.results.run_folder import Run

if TYPE_CHECKING:
    from orthotrace.training.experiment import Experiment

# Other runs that there have to be before one is stopped; Optuna's median pruner asks for as many.
ENOUGH = 5


class PrunedError(Exception):
    """A run is stopped: others are better after the same task."""


class Pruning:
    """Stops a run whose validation accuracy on the tasks so far is below a percentile of the other runs'.

    Args:
        percentile: 0 to 100.
        run: the folder.
        afresh: whether runs of earlier commands are replaced by this one, and not compared.
    """

    def __init__(self, percentile: float, run: Run, afresh: bool = False) -> None:
        self.percentile = percentile
        self.run = run
        self.afresh = afresh

    def __call__(self, experiment: Experiment) -> None:
        """After a task and its checkpoint.

        Raises:
            PrunedError: the run is below the others.
        """
        done = experiment.progress.task
        value = fmean(experiment.evaluator.on_validation(after=done)[:done])
        found = {**so_far(self.run), str(done): value}
        about = {"val_acc": found, "command": _command()}
        write_json(self.run.pruning_file, about)
        compared = [one for one in _others(self.run) if not self.afresh or _content(one).get("command") == _command()]
        others = [of[str(done)] for of in map(so_far, compared) if str(done) in of]
        if (bound := bound_of(others, self.percentile)) is not None and value < bound:
            where = f"percentile {self.percentile:g} of {len(others)} others {bound:.3f}"
            reason = f"val. ACC after task {done} is {value:.3f}, {where}"
            write_json(self.run.pruning_file, about | {"pruned": reason})
            raise PrunedError(reason)


def bound_of(others: Sequence[float], percentile: float) -> float | None:
    """What a run has to come to; None where there are too few others.

    Example:
        >>> bound_of([0.1, 0.2, 0.3, 0.4, 0.5], 50)
        0.3
        >>> bound_of([0.1, 0.2, 0.3, 0.4], 50)
    """
    import numpy as np

    return float(np.percentile(others, percentile)) if len(others) >= ENOUGH else None


def so_far(run: Run) -> dict[str, float]:
    """Validation accuracy on the tasks so far, after each task; nothing where it was not measured."""
    found = _content(run).get("val_acc")
    return dict(found) if isinstance(found, dict) else {}


def forget(run: Run) -> None:
    """A run goes on: it is not pruned."""
    if run.pruned is not None:
        write_json(run.pruning_file, {key: value for key, value in _content(run).items() if key != "pruned"})


def told_of_pruned(run: Run) -> float:
    """What a sweeper is told of a pruned run: no better than the worst of those that finished, which have val_acc.

    Its accuracy on few tasks would be set beside theirs on all of them.
    """
    values = list(so_far(run).values())[-1:]
    for other in _others(run):
        with suppress(UserError):
            if other.scores_file.is_file() and (value := other.scores.get("val_acc")) is not None:
                values.append(value)
    return min(values, default=0.0)


def check_pruning(config: DictConfig, multirun: bool) -> None:
    """Refuse pruning where there is nothing to go by.

    Raises:
        UserError: says what to do.
    """
    if config.get("pruning") is None:
        return
    if not multirun:
        raise UserError("compares the runs of a multirun: add --multirun, or set it to null", "pruning")
    if config.objective != "val_acc" or not OmegaConf.select(config, "stream.validation"):
        raise UserError("goes by val_acc: set objective=val_acc, and stream.validation above 0", "pruning")


def _content(run: Run) -> dict[str, Any]:
    # What is damaged is measured again after the next task.
    with suppress(UserError):
        found = read_json(run.pruning_file) if run.pruning_file.is_file() else {}
        return found if isinstance(found, dict) else {}
    return {}


def _command() -> str:
    """What tells this multirun from others: the name of its list."""
    listed = job_list()
    return "" if listed is None else listed.path.name


def _others(run: Run) -> list[Run]:
    """The other jobs on the same tasks."""
    listed = job_list()
    jobs = {} if listed is None else {job.folder.absolute(): _tasks(job) for job in listed.jobs}
    own = jobs.pop(run.folder.absolute(), None)
    return [Run(folder) for folder, tasks in jobs.items() if tasks == own]


def _tasks(job: Job) -> set[str]:
    keys = ("stream", "dataset", "experiment")
    return {one for one in job.overrides if re.split(r"[.=@/]", one.lstrip("+~"))[0] in keys}
