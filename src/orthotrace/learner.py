"""The LightningModule: forward, loss, metrics of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from orthotrace.data.sources import Images
from orthotrace.errors import UserError, nearest
from orthotrace.methods import Method
from orthotrace.seeds import derived


class Learner(pl.LightningModule):
    """Trains a network by a method, on whichever task it is at.

    Args:
        model: the network, images to logits.
        method: how it learns one task after another; already set up with the model.
        optimizer: makes an optimizer from parameters; a fresh one for each task.
        seed: of what is drawn while training.
        rates: learning rates of single layers or parameters by name, in place of the optimizer's.

    Raises:
        UserError: a rate for a name that matches no parameter, or that is not positive.

    Attributes:
        validation: images on which an epoch is judged, or None.
        place: (task, epoch), both from 0.
        record: called with the metrics of every epoch.
    """

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        optimizer: Callable[..., Optimizer],
        seed: int = 0,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.groups = parameter_groups(model, rates or {})
        self.model = model
        self.method = method
        self.make_optimizer = optimizer
        self.seed = seed
        self.validation: Images | None = None
        self.place: tuple[int, int] = (0, 0)
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
        return self.make_optimizer(self.groups)

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


def parameter_groups(model: nn.Module, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """The trainable parameters, grouped by learning rate, as optimizers take them.

    Args:
        model: whose parameters.
        rates: name of a layer or a parameter -> its learning rate; the longest name that matches counts.

    Raises:
        UserError: a name that matches no trainable parameter, or a rate that is not positive.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
        >>> [(len(group["params"]), group.get("lr")) for group in parameter_groups(model, {"0.weight": 0.5})]
        [(3, None), (1, 0.5)]
    """
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    layers = {name.rpartition(".")[0] for name in parameters}
    for name, rate in rates.items():
        if not any(f"{parameter}.".startswith(f"{name}.") for parameter in parameters):
            raise UserError(f"no parameter has the name '{name}'; {nearest(name, [*parameters, *layers])}", "rates")
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or rate <= 0:
            raise UserError(f"the rate of {name} must be a positive number (got {rate})", "rates")
    groups: dict[str | None, list[nn.Parameter]] = {None: []}
    for parameter, value in parameters.items():
        names = [name for name in rates if f"{parameter}.".startswith(f"{name}.")]
        groups.setdefault(max(names, key=len, default=None), []).append(value)
    return [
        {"params": values} if name is None else {"params": values, "lr": rates[name]}
        for name, values in groups.items()
        if values
    ]


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
