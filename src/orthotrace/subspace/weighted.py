"""Principal directions held by their importance (SGP)."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from orthotrace.core.errors import checked
from orthotrace.subspace.svd import SvdSubspace


class WeightedSubspace(SvdSubspace):
    """Takes from each step only as much of a direction as the direction is important.

    dW <- dW - dW M^T diag(l) M. With s the singular values of a task's sample along all rows, old and new,

        l' = (a + 1) s / (a s + max s),   l <- min(1, l + l') for the rows held before, l = l' for new ones.

    Args:
        features, energy, growth, rows, hold, dtype: as for CountedSubspace.
        alpha: a, at least 0; the larger, the sooner a direction counts as fully important.

    Source: Saha & Roy, Continual Learning with Scaled Gradient Projection, AAAI 2023, eq. 6 to 9.

    Example:
        >>> subspace = WeightedSubspace(3, rows=2, alpha=1.0)
        >>> subspace.observe(torch.diag(torch.tensor([3.0, 1.0, 0.1])))
        >>> subspace.consolidate()
        >>> subspace.importance
        tensor([1.0000, 0.5000])
    """

    exact = False
    importance: Tensor

    @checked
    def __init__(self, features: int, *, alpha: Annotated[float, Field(ge=0)] = 10.0, **options: Any) -> None:
        super().__init__(features, **options)
        self.alpha = alpha
        self.register_buffer("importance", torch.zeros(0, dtype=self.basis.dtype))

    def take_up(self, rows: Tensor, new: Tensor, energies: Tensor) -> None:
        """Hold new rows, and weigh all of them by the sample."""
        old = (rows @ self.basis.double().T).square().sum(0)
        values = torch.cat([old, energies]).sqrt()
        if len(values) and values.any():
            weights = (self.alpha + 1) * values / (self.alpha * values + values.max())
        else:
            weights = values
        before = torch.cat([self.importance.double(), torch.zeros_like(energies)])
        self.importance = (before + weights).clamp_max(1).to(self.basis)
        self.hold(new)

    def component(self, update: Tensor) -> Tensor:
        """The share of an update that is taken, dW M^T diag(l) M."""
        return ((update.to(self.basis.dtype) @ self.basis.T) * self.importance) @ self.basis
