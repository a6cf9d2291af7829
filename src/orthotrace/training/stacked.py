"""Networks that differ in their seeds, trained together: each writes the folder that it would alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from orthotrace.core.digests import remove
from orthotrace.core.errors import UserError
from orthotrace.core.folders import held
from orthotrace.core.interrupt import deferred, interrupted, stop_here
from orthotrace.layers.stack import Stack
from orthotrace.methods.projection import ProjectionMethod
from orthotrace.results.run_folder import is_whole
from orthotrace.training.checks import decomposing
from orthotrace.training.chunks import BatchCallback, Chunks
from orthotrace.training.experiment import EpochEnd, Experiment
from orthotrace.training.stackable import check_stacked, stacked_trainer
from orthotrace.training.stacked_learner import StackedBatches, StackedLearner
from orthotrace.training.threads import Threads
from orthotrace.training.trainer import without_hints


class StackedExperiment:
    """Trains the networks of several experiments at once, in one process and one step.

    Between tasks each experiment does what it does alone: subspaces, tests, scores, checkpoints. Within a task nothing
    is saved: killed, all go on from the last task that all of them have ended. A network that cannot go on, such as one
    whose weights are no longer finite, is left behind; the others are not concerned.

    Args:
        experiments: which differ in their seeds alone, none of them begun.
        callbacks: of the Trainer, such as a progress bar.

    Raises:
        UserError: choices with which networks are not trained together.

    Attributes:
        failed: experiment -> why it could not go on.
    """

    def __init__(self, experiments: Sequence[Experiment], callbacks: Sequence[Callback] = ()) -> None:
        check_stacked(experiments)
        self.experiments = list(experiments)
        self.failed: dict[Experiment, UserError] = {}
        first = experiments[0]
        own = [Threads(first.training.threads), _StopAtOnce(), EpochEnd(self._epoch_ended, lambda: None)]
        self.trainer, self._at_once = stacked_trainer(first, [*callbacks, *own])
        self.learner = StackedLearner()

    def run(self) -> dict[Experiment, UserError]:
        """Train what is left to train; which experiments could not go on, and why.

        Raises:
            UserError: another process trains in one of the folders, it cannot be written to, or the networks have
                tasks of different sizes.
        """
        torch.set_num_threads(self.experiments[0].training.threads)
        with ExitStack() as folders:
            for one in self.experiments:
                folders.enter_context(held(one.run_folder.folder))
            ended = common_task(self.experiments)
            for one in self.experiments:
                if ended:
                    one.resume(ended)
                one.learner.to(self.trainer.strategy.root_device)
                one.measure(len(self.experiments))
            while self._going and not self._going[0].progress.finished:
                self._learn()
            for one in self._going:
                remove(one.run_folder.previous)
        return self.failed

    @property
    def _going(self) -> list[Experiment]:
        return [one for one in self.experiments if one not in self.failed]

    def _learn(self) -> None:
        going = self._going
        batches = [one.begin_task() for one in going]
        if len({len(one.part) for one in batches}) > 1:
            sizes = sorted({len(one.part) for one in batches})
            raise UserError(
                f"task {going[0].progress.task + 1} has {sizes[0]} images with one seed and {sizes[-1]} with another: "
                "networks that are trained together have batches of one size; leave it at 1",
                "seeds_at_once",
            )
        learners = [one.learner for one in going]
        method, watched = learners[0].method, ()
        if isinstance(method, ProjectionMethod) and method.watches:
            watched = tuple(method.guard.layers)
        stack = Stack([one.model for one in learners], watched)
        self.learner.begin_task(learners, stack)
        self.trainer.fit_loop.max_epochs = self.trainer.current_epoch + going[0].training.max_epochs
        # A signal is heard at the end of a batch.
        with deferred(), without_hints(), stack.shared():
            self.trainer.fit(self.learner, Chunks(StackedBatches(batches), self._at_once))
        for one in going:
            try:
                if one.learner in self.learner.failed:
                    raise self.learner.failed[one.learner]
                with decomposing(one.progress.task):
                    one.end_task()
            except UserError as error:
                self.failed[one] = error

    def _epoch_ended(self) -> None:
        for one in self._going:
            one.count_epoch()


def common_task(experiments: Sequence[Experiment]) -> int:
    """The last task of which all have a checkpoint that is whole; 0 where there is none."""
    tasks = range(experiments[0].stream.tasks, 0, -1)
    runs = [one.run_folder for one in experiments]
    return next(
        (task for task in tasks if all(_is_there(run.checkpoint(task)) for run in runs)),
        0,
    )


def _is_there(path: Path) -> bool:
    return path.is_file() and is_whole(path)


class _StopAtOnce(BatchCallback):
    """Stops at the end of the batch in which a signal came: nothing is saved within a task."""

    def after_batch(self, trainer: pl.Trainer, learner: object, done: int, of: int) -> None:
        if interrupted():
            stop_here()
