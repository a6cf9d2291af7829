"""Conceptors: a soft projection by the regularised second moment of the inputs (CODE-CL)."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from orthotrace.core.errors import checked
from orthotrace.linalg import principal
from orthotrace.subspace.sampled import SampledSubspace

# By which the aperture grows until it captures enough.
GROWTH = 1.1


class ConceptorSubspace(SampledSubspace):
    """Takes from each step what a conceptor of all inputs so far takes: directions by how much the inputs use them.

    With X the n rows of a task's sample, R = X^T X / n and the aperture a, dW <- dW - dW C where

        C = R (R + a^-2 I)^-1,   a <- 1.1 a until sum |C x| / sum |x| >= threshold,

    without its eigenvalues below the cut. Tasks are joined by the disjunction of conceptors (OR)

        C1 or C2 = (I + (C1 (I - C1)^-1 + C2 (I - C2)^-1)^-1)^-1,

    which adds a^2 R of one to that of the other: what one holds, their union holds at least as much. Directions that
    are kept count as held, whatever their share.

    Args:
        features: width of a row.
        aperture: a at the start, above 0; it must fit the scale of the inputs.
        threshold: in (0, 1).
        cut: in [0, 1).
        hold, dtype: as for Subspace.

    Source: Apolinario, Choudhary & Roy, CODE-CL: Conceptor-Based Gradient Projection for Deep Continual Learning,
    ICCV 2025, without the mixing of directions that tasks share; the algebra of Jaeger, Controlling Recurrent Neural
    Networks by Conceptors, 2014, section 3.9.

    Example:
        >>> subspace = ConceptorSubspace(2, aperture=1.0, threshold=0.5)
        >>> subspace.observe(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        >>> subspace.consolidate()
        >>> subspace.project(torch.tensor([[1.0, 1.0]]))
        tensor([[0.5000, 1.0000]])
    """

    exact = False
    odds: Tensor
    shares: Tensor

    @checked
    def __init__(
        self,
        features: int,
        *,
        aperture: Annotated[float, Field(gt=0)] = 6.0,
        threshold: Annotated[float, Field(gt=0, lt=1)] = 0.95,
        cut: Annotated[float, Field(ge=0, lt=1)] = 0.2,
        **options: Any,
    ) -> None:
        super().__init__(features, **options)
        self.aperture = aperture
        self.threshold = threshold
        self.cut = cut
        # Of each row held the eigenvalue c of the conceptor, and c / (1 - c), which rounding would lose near 1.
        self.register_buffer("odds", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("shares", torch.zeros(0, dtype=self.basis.dtype))

    def consolidate(self) -> None:
        """Join the conceptor of the task to those before.

        Raises:
            ValueError: nothing was observed, or the sample has NaN or infinite entries.
        """
        rows = self.seen()
        energies, directions = principal(rows)
        real = energies > self.rounding(float(rows.square().sum()))
        directions, moments = directions[real], energies[real] / len(rows)
        odds = self._aperture(rows, directions, moments) ** 2 * moments
        kept = odds >= self.cut * (1 + odds)
        scaled = (odds[kept].sqrt()[:, None] * directions[kept], self.odds.sqrt()[:, None] * self.basis.double())
        self.odds, basis = principal(torch.cat(scaled))
        self.basis = basis.to(self.basis)
        self.shares = (self.odds / (1 + self.odds)).to(self.basis)
        self.ended()

    def _aperture(self, rows: Tensor, directions: Tensor, moments: Tensor) -> float:
        """The least aperture, in steps, by which the conceptor keeps enough of the rows."""
        squares, norm = (rows @ directions.T).square(), float(rows.norm(dim=1).sum())
        found = self.aperture
        while len(moments):
            values = moments / (moments + found**-2)
            kept = float((squares @ values.square()).sqrt().sum())
            # Beyond, rounding keeps it from what was asked for.
            if kept >= self.threshold * norm or float(values.min()) > 1 - 1e-9:
                break
            found *= GROWTH
        return found

    def component(self, update: Tensor) -> Tensor:
        """What is taken of an update, dW C."""
        return ((update.to(self.basis.dtype) @ self.basis.T) * self.shares) @ self.basis
