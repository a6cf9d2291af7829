"""What a learning-rate range test notes while the network trains, and how the network is put back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from orthotrace.core.distributed import all_reduce_sum
from orthotrace.training.chunks import BatchCallback
from orthotrace.training.range_test import RangeTest, has_diverged, proposal, smoothed
from orthotrace.training.schedules import Constant


class RangeRecorder(BatchCallback):
    """Notes rate, loss and score of each step, and ends the task where the loss diverges.

    Args:
        test: the schedule.
        rows: gives the rows of the steps so far, to which it adds.
        score: its name.
    """

    def __init__(self, test: RangeTest, rows: Callable[[], list[dict[str, float]]], score: str) -> None:
        self.test = test
        self.rows = rows
        self.score = score
        self.diverged = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Batches and steps are counted from here."""
        self._batch, self._step = 0, pl_module.step

    def after_batch(self, trainer: pl.Trainer, learner: Any, done: int, of: int) -> None:
        """Note a step, once where gradients are accumulated; mean over processes."""
        if learner.step == self._step:
            return
        sums = torch.tensor([*learner.recent(done - self._batch), 1.0], dtype=torch.float64, device=learner.device)
        all_reduce_sum(sums)
        loss, score, processes = sums.tolist()
        self._batch, self._step = done, learner.step
        rows, steps = self.rows(), learner.length[0] * learner.length[1]
        row = {"rate": self.test.rate(len(rows), steps), "loss": loss / processes, self.score: score / processes}
        self.diverged = has_diverged([*(one["loss"] for one in rows), row["loss"]], steps)
        # JSON has no number for what is not finite.
        if abs(row["loss"]) < float("inf"):
            rows.append(row)
        # Lightning leaves its loop after this batch, and ends the epoch.
        trainer.should_stop |= self.diverged

    def found(self, rows: list[dict[str, float]]) -> dict[str, Any]:
        """The content of range_test.json."""
        columns = {key: [row[key] for row in rows] for key in ("rate", "loss", self.score)}
        return {"schema": 1, **proposal(rows, self.test), **columns, "smoothed": smoothed(columns["loss"])}


def recorder(schedule: Constant, rows: Callable[[], list[dict[str, float]]], score: str) -> RangeRecorder:
    """The recorder of a schedule that is a test of rates."""
    assert isinstance(schedule, RangeTest)
    return RangeRecorder(schedule, rows, score)


class Start(nn.Module):
    """The weights and statistics of a network as they were, kept with what is saved.

    Args:
        model: the network.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> start, before = Start(model), model.weight.detach().clone()
        >>> _ = nn.init.constant_(model.weight, float("nan"))
        >>> start.put_back()
        >>> torch.equal(model.weight, before)
        True
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        # In a tuple: the network is not part of it.
        self._model = (model,)
        for number, value in enumerate(self._values()):
            self.register_buffer(str(number), value.clone())

    def _values(self) -> list[Tensor]:
        model = self._model[0]
        return [value.detach() for value in (*model.parameters(), *model.buffers())]

    @torch.no_grad()
    def put_back(self) -> None:
        """Make the network what it was."""
        for value, kept in zip(self._values(), self.buffers(), strict=True):
            value.copy_(kept)
