"""All but the null space of the inputs so far (Adam-NSCL)."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from orthotrace.core.distributed import all_reduce_sum
from orthotrace.core.errors import checked
from orthotrace.linalg import is_finite
from orthotrace.subspace.base import NoRowsError, Subspace


class NullSpace(Subspace):
    """Leaves free the directions in which the inputs of all tasks so far have the least energy.

    With C the uncentred covariance over all rows of all tasks, free are the eigenvectors U of eigenvalues at most
    ``factor`` times the smallest: dW <- dW U U^T. The rows held are the other ones, found anew after each task.

    Args:
        features: width of a row.
        factor: a, at least 1; the larger, the more is free.
        hold: as for Subspace.
        dtype: of the rows held; the covariance is in float64.

    Source: Wang, Li, Sun & Xu, Training Networks in Null Space of Feature Covariance for Continual Learning,
    CVPR 2021, section 4.3: a = 10, or 30 for 20 tasks.

    Example:
        >>> subspace = NullSpace(3, factor=10.0)
        >>> subspace.observe(torch.diag(torch.tensor([3.0, 0.2, 0.1])))
        >>> subspace.consolidate()
        >>> subspace.capacity
        Capacity(rank=1, features=3)
    """

    nested = False
    covariance: Tensor
    running: Tensor
    seen: Tensor
    seen_before: Tensor

    @checked
    def __init__(self, features: int, *, factor: Annotated[float, Field(ge=1)] = 10.0, **options: Any) -> None:
        super().__init__(features, **options)
        self.factor = factor
        # Of all tasks that have ended, as a mean over their rows; the sum over those of the running task.
        self.register_buffer("covariance", torch.zeros(0, features, dtype=torch.float64))
        self.register_buffer("running", torch.zeros(0, features, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("seen_before", torch.zeros((), dtype=torch.int64))

    def observe(self, rows: Tensor) -> None:
        """Add rows (n, features) to the covariance."""
        rows = self.taken(rows)
        # The products of a batch in its own type, the sum over batches in float64.
        moment = (rows.T @ rows).double()
        self.running = self.running + moment if len(self.running) else moment
        self.seen += len(rows)

    def consolidate(self) -> None:
        """Hold all but the null space of what was seen so far.

        Raises:
            ValueError: nothing was observed, or something that is not finite.
        """
        # A process that saw nothing has its part in the sum all the same.
        if not len(self.running):
            self.running = self.running.new_zeros(self.features, self.features)
        all_reduce_sum(self.running, self.seen)
        if not int(self.seen):
            self.running = self.running[:0].clone()
            raise NoRowsError()
        if not is_finite(self.running):
            raise ValueError(
                "the inputs observed in this task are not finite; lower the learning rate, or strengths and noise"
            )
        before, now = int(self.seen_before), int(self.seen)
        mean = self.running / now
        self.covariance = (self.covariance * before + mean * now) / (before + now) if before else mean
        self.seen_before += self.seen
        self.seen.zero_()
        self.running = self.running[:0].clone()
        values, vectors = torch.linalg.eigh(self.covariance)
        # Below the rounding of the inputs and of their products no eigenvalue tells anything: all are zero alike.
        floor = torch.finfo(self.basis.dtype).eps * float(values[-1].clamp_min(0))
        least = max(float(values[0]), floor)
        self.basis = vectors.T[values > self.factor * least].flip(0).to(self.basis).contiguous()
        self.tasks += 1
