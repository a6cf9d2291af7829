"""A signal stops a fit between two batches."""

import time
from typing import Any

import pytorch_lightning as pl

from orthotrace.core.interrupt import interrupted, keep_handlers, patience, stop_here
from orthotrace.training.chunks import BatchCallback


class Stopping(BatchCallback):
    """Stops at the end of the batch in which a signal came.

    Where the end of the epoch is near, as interrupt.patience has it, it stops there, with a checkpoint. The last epoch
    of a task is saved with the task, which may take long to end: it is not waited for.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the handlers back: Lightning leaves on SIGTERM without a word, and with code 0."""
        keep_handlers()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the clock."""
        self.began = time.perf_counter()

    def after_batch(self, trainer: pl.Trainer, learner: Any, done: int, of: int) -> None:
        """Stop here, or at the end of the epoch."""
        if interrupted() and not self._saved_soon(trainer, done, of):
            stop_here()

    def _saved_soon(self, trainer: pl.Trainer, done: int, of: int) -> bool:
        if trainer.current_epoch + 1 == trainer.fit_loop.max_epochs:
            return False
        return (of - done) * (time.perf_counter() - self.began) / done <= patience()
