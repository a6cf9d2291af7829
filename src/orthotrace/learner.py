"""The LightningModule: forward, loss, metrics of an epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from orthotrace.data.sources import Images
from orthotrace.methods import Method
from orthotrace.seeds import derived


class Learner(pl.LightningModule):
    """Trains a network by a method, on whichever task it is at.

    Args:
        model: the network, images to logits.
        method: how it learns one task after another; already set up with the model.
        optimizer: makes an optimizer from parameters; a fresh one for each task.
        seed: of what is drawn while training.

    Attributes:
        validation: images on which an epoch is judged, or None.
        place: (task, epoch), both from 0.
        record: called with the metrics of every epoch.
    """

    def __init__(
        self, model: nn.Module, method: Method, optimizer: Callable[..., Optimizer], seed: int = 0
    ) -> None:
        super().__init__()
        self.model = model
        self.method = method
        self.make_optimizer = optimizer
        self.seed = seed
        self.validation: Images | None = None
        self.place = (0, 0)
        self.record: Callable[[dict[str, float]], None] = lambda row: None
        self._detach: Callable[[], None] = lambda: None

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the running hook some forty times a step; torch's own way is a tenth of a small step.
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes)."""
        return self.model(images)

    def configure_optimizers(self) -> Optimizer:
        """A fresh optimizer."""
        return self.make_optimizer([value for value in self.model.parameters() if value.requires_grad])

    def on_train_start(self) -> None:
        """The method meets the task's optimizers."""
        optimizers = self.optimizers(use_pl_optimizer=False)
        self._detach = self.method.attach(optimizers if isinstance(optimizers, list) else [optimizers])

    def on_train_end(self) -> None:
        """The method parts from the optimizers."""
        self._detach()

    def on_train_epoch_start(self) -> None:
        """What an epoch draws depends on its place alone: a run that continues here draws the same."""
        torch.manual_seed(derived(self.seed, 1, *self.place))
        self._batches: list[tuple[Tensor, Tensor, int]] = []

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Loss of a batch."""
        images, labels = batch
        logits = self.method.training_forward(self.model, images)
        loss = cross_entropy(logits, labels)
        # Added up once an epoch: arithmetic on single numbers costs as much as on a small batch.
        self._batches.append((loss.detach(), (logits.detach().argmax(1) == labels).sum(), len(labels)))
        return loss

    def on_train_epoch_end(self) -> None:
        """Hand over the metrics of the epoch."""
        losses, right, sizes = zip(*self._batches, strict=True)
        weights = torch.tensor(sizes, dtype=torch.float64)
        total = float(weights.sum())
        row = {
            "train_loss": float(torch.stack(losses).double().cpu() @ weights) / total,
            "train_accuracy": float(torch.stack(right).sum()) / total,
        }
        if self.validation is not None and len(self.validation):
            row["validation_loss"], row["validation_accuracy"] = evaluate(self.model, self.validation)
        self.record(row)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A task that has not begun in the checkpoint has begun here: of the checkpoint only the counters count."""
        if self.place[1] == 0:
            checkpoint["state_dict"] = self.state_dict()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Between tasks there is no optimizer whose state matters."""
        if self.place[1] == 0:
            checkpoint["optimizer_states"], checkpoint["lr_schedulers"] = [], []


@torch.no_grad()
def evaluate(model: nn.Module, part: Images, batch_size: int = 1024) -> tuple[float, float]:
    """Loss and accuracy of a network in evaluation mode, averaged over samples (not over batches).

    Args:
        model: images to logits; its mode is kept.
        part: at least one image.
        batch_size: images at once.

    Example:
        >>> part = Images(torch.eye(3)[:, :2], torch.tensor([0, 1, 1]))
        >>> loss, accuracy = evaluate(nn.Identity(), part, batch_size=2)
        >>> round(accuracy, 4)
        0.6667
    """
    parameter = next(model.parameters(), part.images)
    training = model.training
    model.eval()
    loss = right = 0.0
    for images, labels in zip(part.images.split(batch_size), part.labels.split(batch_size), strict=True):
        logits = model(images.to(parameter))
        labels = labels.to(logits.device)
        loss += float(cross_entropy(logits, labels, reduction="sum"))
        right += int((logits.argmax(1) == labels).sum())
    model.train(training)
    return loss / len(part), right / len(part)
