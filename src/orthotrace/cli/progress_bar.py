"""The progress bar of a run, with what it has reached."""

from __future__ import annotations

import multiprocessing
import time
from typing import Any

import pytorch_lightning as pl
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from orthotrace.results.columns import WORDS
from orthotrace.training.chunks import BatchCallback

# Seconds between two looks at loss and accuracy: each waits for the device.
INTERVAL = 0.5


class ProgressBar(BatchCallback):
    """One bar over all epochs of all tasks, with loss and accuracy of the last batches.

    Silent where nobody watches: without a terminal, and in the worker processes of a launcher, whose bars would
    overwrite each other.
    """

    def __init__(self, label: str, tasks: int, epochs: int, score: str = "accuracy") -> None:
        self.score = WORDS[score]
        self.tasks = tasks
        self.epochs = epochs
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TextColumn("{task.fields[reached]}"),
            TimeRemainingColumn(),
            # What is shown changes twice a second; rich would draw ten times.
            refresh_per_second=4,
            transient=True,
            disable=multiprocessing.parent_process() is not None,
        )
        self.label = label
        self.row = self.bar.add_task(label, total=tasks * epochs, reached="")
        # When it is looked at next: never, where nobody watches.
        self.next = float("inf")

    @property
    def watched(self) -> bool:
        """Whether somebody watches; else a trainer need not be given it."""
        return self.bar.console.is_terminal and not self.bar.disable

    def __enter__(self) -> ProgressBar:
        if self.watched:
            self.bar.start()
            self.next = 0.0
        return self

    def __exit__(self, *error: object) -> None:
        # Without a terminal a stop prints an empty line.
        if self.bar.console.is_terminal:
            self.bar.stop()
            self.next = float("inf")

    def after_batch(self, trainer: pl.Trainer, learner: Any, done: int, of: int) -> None:
        """Show loss and accuracy, where the last look is long enough ago."""
        if time.monotonic() < self.next:
            return
        loss, score = learner.recent()
        self.bar.update(self.row, reached=f"loss {loss:.3f}  {self.score} {score:.3f}")
        self._move(learner, done / of)
        self.next = time.monotonic() + INTERVAL

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Move."""
        self._move(pl_module, 1.0)

    def _move(self, module: Any, part: float) -> None:
        task, epoch = module.context.number, module.context.epoch
        self.bar.update(
            self.row,
            completed=task * self.epochs + epoch + part,
            description=f"{self.label} task {task + 1}/{self.tasks}",
        )
