"""The progress bar of a run."""

from __future__ import annotations

import multiprocessing
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressBar(Callback):
    """One bar over all epochs of all tasks, moved once an epoch.

    Silent where nobody watches: without a terminal, and in the worker processes of a launcher, whose bars would
    overwrite each other.
    """

    def __init__(self, label: str, tasks: int, epochs: int) -> None:
        self.tasks = tasks
        self.epochs = epochs
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TimeRemainingColumn(),
            transient=True,
            disable=multiprocessing.parent_process() is not None,
        )
        self.label = label
        self.row = self.bar.add_task(label, total=tasks * epochs)

    def __enter__(self) -> ProgressBar:
        if self.bar.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        # Without a terminal a stop prints an empty line.
        if self.bar.console.is_terminal:
            self.bar.stop()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Move."""
        task, epoch = pl_module.context.number, pl_module.context.epoch
        self.bar.update(
            self.row,
            completed=task * self.epochs + epoch + 1,
            description=f"{self.label} task {task + 1}/{self.tasks}",
        )
