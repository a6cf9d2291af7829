"""Evaluation inside a task."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl

from orthotrace.training.chunks import BatchCallback


class StabilityGap(BatchCallback):
    """Looks at a network at chosen steps of each task, where the average over tasks hides how deep it falls between.

    Args:
        steps: the number of steps of the optimizer between two looks, or at these steps of each task, from 1.
        look: called with the step.

    Source: De Lange, van de Ven & Tuytelaars, Continual evaluation for lifelong learning: identifying the stability
    gap, ICLR 2023.
    """

    def __init__(self, steps: int | tuple[int, ...], look: Callable[[int], None]) -> None:
        self.steps = steps
        self.look = look
        self._last = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """A task begins, or goes on."""
        self._last = 0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Where the task stands: all its epochs have as many steps."""
        self._start = pl_module.context.epoch * pl_module.length[1] - pl_module.step

    def after_batch(self, trainer: pl.Trainer, learner: Any, done: int, of: int) -> None:
        """Look, where the step is one of those chosen; once where gradients are accumulated."""
        step = self._start + learner.step
        if step == self._last:
            return
        self._last = step
        chosen = step % self.steps == 0 if isinstance(self.steps, int) else step in self.steps
        if chosen:
            self.look(step)
