"""The LightningModule of networks that are trained together: one step for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from orthotrace.core.errors import UserError
from orthotrace.data.batches import Batches
from orthotrace.layers.stack import Stack
from orthotrace.methods import TaskContext
from orthotrace.methods.stacked import StackedBatch, StackedMethod
from orthotrace.training.chunks import Chunk, overridden
from orthotrace.training.learner import Learner


class StackedBatches:
    """A batch of each network at a time, of one size for all.

    Args:
        each: the batches of each network, as many of the same sizes.
    """

    def __init__(self, each: Sequence[Batches]) -> None:
        self.each = list(each)

    def __len__(self) -> int:
        return len(self.each[0])

    def __iter__(self) -> Iterator[StackedBatch]:
        return (StackedBatch.of(batches) for batches in zip(*self.each, strict=True))


class StackedLearner(pl.LightningModule):
    """Trains the networks of several learners at once, each as its own learner would.

    Forward passes, gradients, the optimizer's arithmetic and what the method takes back are of all networks in one;
    metrics, validation and everything between tasks are the learners' own. The networks are no submodules: Lightning
    would move them, and what they are a part of would stay.

    Attributes:
        failed: learner -> why it cannot go on, of the running task.
    """

    # As for Learner.
    __setattr__ = object.__setattr__  # pyright: ignore[reportAssignmentType] (torch's takes fewer types)

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.failed: dict[Learner, UserError] = {}
        self._learners: list[Learner] = []
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def begin_task(self, learners: Sequence[Learner], stack: Stack) -> None:
        """A task is about to be trained, which each of the learners has begun.

        Args:
            learners: of the networks.
            stack: of their networks, in the same order.
        """
        self._learners, self._stack, self.failed = list(learners), stack, {}
        self._method = StackedMethod([one.method for one in learners], [one.context for one in learners], stack)

    @property
    def context(self) -> TaskContext:
        """That of the first network."""
        return self._learners[0].context

    def configure_optimizers(self) -> Any:
        """The optimizer of the first learner, over the stacked parameters: it counts by element."""
        first = self._learners[0]
        names = {id(value): name for name, value in first.model.named_parameters()}
        groups = [
            {**group, "params": [self._stack.parameters[names[id(value)]] for value in group["params"]]}
            for group in first.groups
        ]
        optimizer: Optimizer = first.make_optimizer(groups)
        scheduler = first.schedule.scheduler(optimizer, *first.length)
        if scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_train_start(self) -> None:
        """Freeze what is frozen; the steps are seen here."""
        self._after_batch = overridden(self.trainer, "after_batch")
        self._detach = [one.method.attach([]) for one in self._learners]

    def on_train_end(self) -> None:
        """Let go of it, and look whether anything leaked."""
        for learner, detach in zip(self._learners, self._detach, strict=True):
            try:
                detach()
            except UserError as error:
                self.failed[learner] = error
        for number, error in self._method.failed.items():
            self.failed[self._learners[number]] = error

    def on_train_epoch_start(self) -> None:
        """What an epoch draws depends on its place alone, for each network by its own seeds."""
        self._stack.follow()
        self._method.begin_epoch([one.context for one in self._learners], [one.seed for one in self._learners])
        self._seen = []

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Batches come on the device."""
        return batch

    def training_step(self, chunk: Chunk, index: int) -> None:
        """A step of all networks for each batch."""
        optimizer: Any = self.trainer.optimizers[0]
        schedules: list[Any] = [config.scheduler for config in self.trainer.lr_scheduler_configs]
        parameters = [value for group in optimizer.param_groups for value in group["params"]]
        for number, batch in chunk:
            losses, logits = self._method.loss(batch)
            for value in parameters:
                value.grad = None
            # None of a network's weights has a part in the loss of another.
            losses.sum().backward()
            self._seen.append((losses.detach(), self._predicted(logits.detach(), batch), batch.labels))
            self._method.on_gradients()
            optimizer.step()
            self._method.after_step()
            for schedule in schedules:
                schedule.step()
            for call in self._after_batch:
                call(self.trainer, self, number + 1, chunk.of)

    def _predicted(self, logits: Tensor, batch: StackedBatch) -> Tensor:
        context, tasks = self.context, [one.tasks for one in batch.each]
        known = [of for of in tasks if of is not None]
        together = torch.cat(known) if len(known) == len(tasks) else None
        found = context.outputs.predicted(logits.flatten(0, 1), context.number, together)
        return found.view(batch.labels.shape)

    def on_train_epoch_end(self) -> None:
        """Each learner sums up the epoch of its network."""
        each = zip(*(zip(*(values.unbind() for values in step), strict=True) for step in self._seen), strict=True)
        for learner, seen in zip(self._learners, each, strict=True):
            learner.saw(seen)
            learner.on_train_epoch_end()

    def recent(self, batches: int = 20) -> tuple[float, float]:
        """Mean loss and score of the last batches of all networks. It waits for the device."""
        losses, predicted, labels = ([*values] for values in zip(*self._seen[-batches:], strict=True))
        found, right = (torch.cat([one.flatten() for one in of]) for of in (predicted, labels))
        score = self.context.outputs.score_of(found, right)
        return float(torch.stack(losses).mean()), score
