"""Synaptic intelligence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from orthotrace.core.errors import checked
from orthotrace.core.seeds import Seeds
from orthotrace.data.streams import Stream
from orthotrace.methods.base import Method, Outcome, Slots, after_steps, trainable
from orthotrace.methods.context import TaskContext
from orthotrace.methods.ewc import add_gradient


class SI(Method):
    """A quadratic penalty whose weights are each parameter's share in lowering the loss, summed along the way.

    omega_k = - sum over steps of g_k dtheta_k, with g the gradient of the loss alone; after a task
    Omega_k <- Omega_k + max(omega_k, 0) / (Delta_k^2 + damping) with Delta the way that the task went; and
    penalty = strength sum_k Omega_k (theta_k - theta*_k)^2 with theta* the weights after the latest task.

    Args:
        strength: of the penalty (the paper's c), at least 0.
        damping: the paper's xi, above 0.

    Raises:
        UserError: an argument out of its range.

    Source: Zenke, Poole & Ganguli, Continual Learning Through Synaptic Intelligence, ICML 2017, eqs. 3 to 5.
    """

    @checked
    def __init__(
        self, strength: Annotated[float, Field(ge=0)] = 0.1, damping: Annotated[float, Field(gt=0)] = 0.1
    ) -> None:
        super().__init__()
        self.strength = strength
        self.damping = damping

    def setup(self, model: nn.Module, seeds: Seeds, stream: Stream) -> None:
        """Make room for the penalty and for what a task adds."""
        super().setup(model, seeds, stream)
        self.importance = Slots(model)
        self.start = Slots(model)
        self.path = Slots(model)

    @torch.no_grad()
    def begin_task(self, context: TaskContext) -> None:
        """Remember where the task starts."""
        for start, path, parameter in zip(self.start, self.path, trainable(self.model), strict=True):
            start.copy_(parameter)
            path.zero_()

    def task_counts(self, context: TaskContext) -> Sequence[Tensor]:
        """The sums along the way, which belong to the weights that it has led to."""
        return list(self.path)

    def attach(self, optimizers: Sequence[Optimizer]) -> Callable[[], None]:
        """Follow the steps of these optimizers."""
        return after_steps(optimizers, self._stepped)

    @torch.no_grad()
    def on_gradients(self, context: TaskContext) -> None:
        """Note the gradient and the weights of this step, then add the gradient of the penalty."""
        self._before = [
            None if parameter.grad is None else (parameter.grad.clone(), parameter.clone())
            for parameter in trainable(self.model)
        ]
        if context.number:
            for parameter, importance, start in zip(trainable(self.model), self.importance, self.start, strict=True):
                add_gradient(parameter, importance * (parameter - start), 2 * self.strength)

    @torch.no_grad()
    def _stepped(self) -> None:
        for parameter, before, path in zip(trainable(self.model), self._before, self.path, strict=True):
            if before is not None:
                gradient, weights = before
                path.addcmul_(gradient, parameter - weights, value=-1)

    @torch.no_grad()
    def end_task(self, context: TaskContext) -> Outcome:
        """Turn what the task added into importance."""
        for importance, start, path, parameter in zip(
            self.importance, self.start, self.path, trainable(self.model), strict=True
        ):
            importance.add_(path.clamp(min=0) / ((parameter - start).square() + self.damping))
        return Outcome()
