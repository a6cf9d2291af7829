"""A projector of a layer's inputs and one of its outputs, from their second moments averaged over tasks."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from orthotrace.core.distributed import all_reduce_sum
from orthotrace.core.errors import checked
from orthotrace.linalg import is_finite
from orthotrace.subspace.base import NoRowsError, Subspace


class TwoSidedSubspace(Subspace):
    """Takes from each step what changes used outputs, or follows from used inputs.

    dW <- P_out dW P_in with P = alpha (alpha I + S)^-1. S_in is the second moment of the layer's inputs x, the mean of
    x x^T over a task, then over the tasks so far; S_out is that of its outputs without the bias, W S W^T of each task
    with the weights W at its end, averaged alike. A direction whose moment is far above alpha is held, one far below
    it is free.

    What a task shows is applied from the next one on. An input direction counts as held where P_in leaves less than
    half of it.

    Args:
        features: width of a row.
        alpha: above 0; the smaller, the more is held.
        hold: as for Subspace: of what is taken.
        dtype: of the projectors; moments are in float64.

    Source: Duncker, Driscoll, Shenoy, Sahani & Sussillo, Organizing recurrent network dynamics by task-computation to
    enable continual learning, NeurIPS 2020.

    Example:
        >>> subspace = TwoSidedSubspace(2, alpha=1.0)
        >>> subspace.observe(torch.tensor([[0.0, 1.0]]))
        >>> subspace.see(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
        >>> subspace.consolidate()
        >>> subspace.project(torch.ones(2, 2))
        tensor([[0.5000, 0.2500],
                [1.0000, 0.5000]])
    """

    exact = False
    by_row = False
    nested = False
    moment: Tensor
    seen: Tensor
    weight: Tensor
    inputs: Tensor
    outputs: Tensor
    left: Tensor
    right: Tensor

    @checked
    def __init__(self, features: int, *, alpha: Annotated[float, Field(gt=0)] = 0.001, **options: Any) -> None:
        super().__init__(features, **options)
        self.alpha = alpha
        none = torch.zeros(0, 0, dtype=torch.float64)
        # Of the running task: the sum of x x^T, how many x, and the weights at its end.
        self.register_buffer("moment", none)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("weight", none.clone())
        # Means over the tasks so far, and what is applied.
        self.register_buffer("inputs", none.clone())
        self.register_buffer("outputs", none.clone())
        self.register_buffer("left", none.to(self.basis))
        self.register_buffer("right", none.to(self.basis))

    @property
    def active(self) -> bool:
        """Whether project changes anything."""
        return len(self.right) > 0 and self.removes > 0

    def observe(self, rows: Tensor) -> None:
        """Add inputs, (n, features), to the moment of the task."""
        rows = self.taken(rows)
        product = (rows.T @ rows).double()
        self.moment = product if not len(self.moment) else self.moment + product
        self.seen += len(rows)

    def see(self, weight: Tensor) -> None:
        """The layer's weights at the end of the task, (out, features)."""
        self.weight = weight.detach().double().clone()

    def consolidate(self) -> None:
        """Apply what the task has left from now on.

        Raises:
            ValueError: no inputs or no weights were seen, or something that is not finite.
        """
        if not len(self.weight):
            raise ValueError("the weights at the end of the task were not seen: call see before")
        if not len(self.moment):
            self.moment = torch.zeros(self.features, self.features, dtype=torch.float64, device=self.weight.device)
        count = self.seen.clone()
        all_reduce_sum(self.moment, count)
        if not int(count):
            raise NoRowsError()
        inputs = self.moment / int(count)
        outputs = self.weight @ inputs @ self.weight.T
        if not (is_finite(inputs) and is_finite(outputs)):
            raise ValueError(
                "the inputs observed in this task are not finite; lower the learning rate, or strengths and noise"
            )
        tasks = int(self.tasks)
        self.inputs = inputs if not tasks else (tasks * self.inputs + inputs) / (tasks + 1)
        self.outputs = outputs if not tasks else (tasks * self.outputs + outputs) / (tasks + 1)
        right, self.basis = self._projector_of(self.inputs)
        self.left, self.right = self._projector_of(self.outputs)[0].to(self.basis), right.to(self.basis)
        self.moment, self.weight = self.moment[:0].clone(), self.weight[:0].clone()
        self.seen.zero_()
        self.tasks += 1

    def _projector_of(self, moment: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha (alpha I + S)^-1, and the directions of which it leaves less than half."""
        values, vectors = torch.linalg.eigh((moment + moment.T) / 2)
        kept = self.alpha / (self.alpha + values.clamp_min(0))
        return (vectors * kept) @ vectors.T, vectors.T[kept < 0.5].to(self.basis).contiguous()

    def component(self, update: Tensor) -> Tensor:
        """What is taken of an update, dW - P_out dW P_in."""
        update = update.to(self.basis.dtype)
        return update - self.left @ update @ self.right
