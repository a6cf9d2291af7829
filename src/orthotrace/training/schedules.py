"""How the learning rate changes within a task; every task starts anew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from orthotrace.core.errors import UserError, checked


class Constant:
    """The learning rate stays."""

    monitor: str | None = None
    # Whether it is a test of rates, after which the network is put back, see RangeTest.
    tests_rates: ClassVar[bool] = False

    def factor(self, epoch: float, epochs: int) -> float:
        """Factor on the learning rate at a moment of a task, in epochs from its start."""
        return 1.0

    def scheduler(self, optimizer: Optimizer, epochs: int, steps: int) -> LRScheduler | None:
        """For one task.

        Args:
            optimizer: of the task.
            epochs: of the task.
            steps: of the optimizer in one epoch.
        """
        if type(self) is Constant:
            return None
        return LambdaLR(optimizer, lambda step: self.factor(step / steps, epochs))


@checked
@dataclass(eq=False)
class Step(Constant):
    """Multiplied by a factor every so many epochs, or at given ones.

    Args:
        every: epochs between steps.
        at: or the epochs after which a step comes.
        gamma: the factor, above 0.

    Raises:
        UserError: both or neither of every and at; a value out of its range.

    Example:
        >>> [Step(at=[2, 3], gamma=0.5).factor(epoch, 4) for epoch in range(4)]
        [1.0, 1.0, 0.5, 0.25]
    """

    every: Annotated[int, Field(ge=1)] | None = None
    at: Sequence[Annotated[int, Field(ge=1)]] | None = None
    gamma: Annotated[float, Field(gt=0)] = 0.1

    def __post_init__(self) -> None:
        if (self.every is None) == (self.at is None):
            raise UserError("give either every or at", "every")

    def factor(self, epoch: float, epochs: int) -> float:
        """Gamma to the number of steps so far."""
        passed = int(epoch + 1e-9)
        steps = passed // self.every if self.every else sum(place <= passed for place in self.at or ())
        return self.gamma**steps


@checked
@dataclass(eq=False)
class Cosine(Constant):
    """Rises linearly from 0 through a warm-up, then falls along half a cosine.

    Args:
        warmup: epochs of the rise, at least 0.
        floor: factor at the end, in [0, 1].

    Raises:
        UserError: a value out of its range.

    Source: Loshchilov & Hutter, SGDR, ICLR 2017, eq. 5, without restarts.

    Example:
        >>> [round(Cosine(warmup=1).factor(epoch, 3), 2) for epoch in (0, 0.5, 1, 2, 3)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    warmup: Annotated[float, Field(ge=0)] = 0.0
    floor: Annotated[float, Field(ge=0, le=1)] = 0.0

    def factor(self, epoch: float, epochs: int) -> float:
        """Of the warm-up, then of the cosine."""
        if epoch < self.warmup:
            return epoch / self.warmup
        done = min(1.0, (epoch - self.warmup) / max(epochs - self.warmup, 1e-9))
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2

    def scheduler(self, optimizer: Optimizer, epochs: int, steps: int) -> LRScheduler | None:
        """For one task; its first step is not at rate 0."""
        if self.warmup >= epochs:
            raise UserError(f"{self.warmup:g} of {epochs} epochs leaves none to fall in", "warmup")
        # Of a step the end counts while the rate rises: a step at rate 0 would be lost.
        return LambdaLR(
            optimizer,
            lambda step: self.factor((step + (step < self.warmup * steps)) / steps, epochs),
        )


@checked
@dataclass(eq=False)
class Cyclical(Constant):
    """Rises from a lower to the full learning rate and falls back, again and again, linearly.

    Args:
        period: epochs of a rise and a fall, above 0.
        floor: factor at the lowest point, in [0, 1].

    Raises:
        UserError: a value out of its range.

    Source: Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017 (triangular).

    Example:
        >>> [Cyclical(period=2, floor=0.5).factor(epoch, 4) for epoch in (0, 0.5, 1, 2, 3)]
        [0.5, 0.75, 1.0, 0.5, 1.0]
    """

    period: Annotated[float, Field(gt=0)] = 2.0
    floor: Annotated[float, Field(ge=0, le=1)] = 0.1

    def factor(self, epoch: float, epochs: int) -> float:
        """Height of the triangle."""
        place = epoch % self.period / self.period
        return self.floor + (1 - self.floor) * (1 - abs(2 * place - 1))


@checked
@dataclass(eq=False)
class Plateau(Constant):
    """Multiplied by a factor when the validation score has not become better for so many epochs.

    Args:
        patience: epochs without a better score, at least 0.
        gamma: the factor, in (0, 1).
        lowest: learning rate that is not undercut.
        monitor: the score: "loss" or "accuracy".

    Raises:
        UserError: a value out of its range.
    """

    patience: Annotated[int, Field(ge=0)] = 5
    gamma: Annotated[float, Field(gt=0, lt=1)] = 0.5
    lowest: Annotated[float, Field(ge=0)] = 0.0
    monitor: Literal["loss", "accuracy"] = "loss"  # pyright: ignore[reportIncompatibleVariableOverride]

    def scheduler(self, optimizer: Optimizer, epochs: int, steps: int) -> LRScheduler | None:
        """For one task; stepped with the score after each epoch."""
        mode = "min" if self.monitor == "loss" else "max"
        return ReduceLROnPlateau(
            optimizer, mode, factor=self.gamma, patience=self.patience, threshold=0.0, min_lr=self.lowest
        )
