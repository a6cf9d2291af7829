"""Runs of a multirun that are below the others are stopped after a task."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from statistics import fmean
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from orthotrace.cli.jobs import job_list
from orthotrace.core.errors import UserError
from orthotrace.core.files import read_json, write_json
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
    """

    def __init__(self, percentile: float, run: Run) -> None:
        self.percentile = percentile
        self.run = run

    def __call__(self, experiment: Experiment) -> None:
        """After a task and its checkpoint.

        Raises:
            PrunedError: the run is below the others.
        """
        done = experiment.progress.task
        value = fmean(experiment.evaluator.on_validation(after=done)[:done])
        found = {**so_far(self.run), str(done): value}
        write_json(self.run.pruning_file, {"val_acc": found})
        others = [of[str(done)] for of in map(so_far, _others(self.run)) if str(done) in of]
        if (bound := bound_of(others, self.percentile)) is not None and value < bound:
            where = f"percentile {self.percentile:g} of {len(others)} others {bound:.3f}"
            reason = f"val. ACC after task {done} is {value:.3f}, {where}"
            write_json(self.run.pruning_file, {"val_acc": found, "pruned": reason})
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
    # What is damaged is measured again after the next task.
    with suppress(UserError, AttributeError):
        return dict(read_json(run.pruning_file).get("val_acc", {})) if run.pruning_file.is_file() else {}
    return {}


def forget(run: Run) -> None:
    """A run goes on: it is not pruned."""
    if run.pruned is not None:
        write_json(run.pruning_file, {"val_acc": so_far(run)})


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


def _others(run: Run) -> list[Run]:
    listed = job_list()
    jobs = () if listed is None else listed.jobs
    return [Run(job.folder) for job in jobs if job.folder.absolute() != run.folder.absolute()]
