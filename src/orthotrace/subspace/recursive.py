"""A projector that a recursion builds from the mean inputs of batches (OWM)."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from orthotrace.core.distributed import all_reduce_sum
from orthotrace.core.errors import checked
from orthotrace.linalg import is_finite
from orthotrace.subspace.base import NoRowsError, Subspace


def recursive_least_squares(inverse: Tensor, rows: Tensor, alpha: float) -> Tensor:
    """One step of recursive least squares for several rows at once; P is changed in place, and the gain returned.

        K = P R^T (alpha I + R P R^T)^-1,   P <- P - K R P

    the same as row after row. From P = I on, P = (I + R^T R / alpha)^-1 of all rows so far. W <- W + (Y - W R^T) K^T
    from W = 0 on is the least squares solution of R W^T = Y^T with the penalty alpha |W|^2, whatever came when.

    Args:
        inverse: P, (features, features), symmetric, in float64.
        rows: R, (n, features).
        alpha: above 0.

    Returns:
        K, (features, n).

    Source: Zeng, Chen, Cui & Yu, Nature Machine Intelligence 2019, eq. 2 and 3, for one row; Woodbury's identity.

    Example:
        >>> inverse = torch.eye(2, dtype=torch.float64)
        >>> recursive_least_squares(inverse, torch.tensor([[0.0, 1.0]]).double(), alpha=1.0).T, inverse.diagonal()
        (tensor([[0.0000, 0.5000]], dtype=torch.float64), tensor([1.0000, 0.5000], dtype=torch.float64))
    """
    seen = inverse @ rows.T
    inner = rows @ seen
    inner.diagonal().add_(alpha)
    gain = torch.linalg.solve(inner, seen.T).T
    inverse.addmm_(gain, seen.T, alpha=-1)
    # Rounding would let it drift from what it is.
    inverse.copy_((inverse + inverse.T) / 2)
    return gain


class RecursiveSubspace(Subspace):
    """Takes from each step what the inverse of the inputs' regularised second moment takes.

    dW <- dW P with P = (I + sum r r^T / alpha)^-1 over the mean inputs r of batches, by recursive least squares

        k = P r,   P <- P - k k^T / (alpha + r^T k),   P = I at the start.

    What a task shows is applied from the next one on. A direction counts as held where P leaves less than half of it.

    Args:
        features: width of a row.
        alpha: above 0; the smaller, the more is held.
        hold: as for Subspace: dW <- dW - hold dW (I - P).
        dtype: of the projector; the recursion is in float64.

    Source: Zeng, Chen, Cui & Yu, Continual learning of context-dependent processing in neural networks, Nature
    Machine Intelligence 2019, eq. 1 to 3. The public code begins with I / alpha, which divides the learning rate.

    Example:
        >>> subspace = RecursiveSubspace(2, alpha=1.0)
        >>> for _ in range(3):
        ...     subspace.observe(torch.tensor([[0.0, 1.0]]))
        >>> subspace.consolidate()
        >>> subspace.project(torch.tensor([[1.0, 1.0]]))
        tensor([[1.0000, 0.2500]])
    """

    exact = False
    nested = False
    inverse: Tensor
    following: Tensor
    taken_away: Tensor

    @checked
    def __init__(self, features: int, *, alpha: Annotated[float, Field(gt=0)] = 1.0, **options: Any) -> None:
        super().__init__(features, **options)
        self.alpha = alpha
        empty = torch.zeros(0, features)
        # P as it is applied, P as the running task has left it, and I - P.
        self.register_buffer("inverse", empty.double())
        self.register_buffer("following", empty.double())
        self.register_buffer("taken_away", empty.to(self.basis))

    @property
    def active(self) -> bool:
        """Whether project changes anything."""
        return len(self.inverse) > 0 and self.removes > 0

    def observe(self, rows: Tensor) -> None:
        """One step of the recursion by the mean of a batch of inputs, (n, features)."""
        rows = self.taken(rows)
        total, count = rows.sum(0, dtype=torch.float64), torch.tensor(len(rows), device=rows.device)
        all_reduce_sum(total, count)
        if not int(count):
            return
        mean = total / count
        if not len(self.following):
            identity = torch.eye(self.features, dtype=torch.float64, device=rows.device)
            self.following = self.inverse.clone() if len(self.inverse) else identity
        k = self.following @ mean
        self.following.addr_(k, k, alpha=-1 / float(self.alpha + mean @ k))

    def consolidate(self) -> None:
        """Apply what the task has left from now on.

        Raises:
            ValueError: nothing was observed, or something that is not finite.
        """
        if not len(self.following):
            raise NoRowsError()
        if not is_finite(self.following):
            raise ValueError(
                "the inputs observed in this task are not finite; lower the learning rate, or strengths and noise"
            )
        self.inverse = (self.following + self.following.T) / 2
        self.following = self.following[:0].clone()
        values, vectors = torch.linalg.eigh(self.inverse)
        self.basis = vectors.T[values < 0.5].to(self.basis).contiguous()
        identity = torch.eye(self.features, dtype=torch.float64, device=self.inverse.device)
        self.taken_away = (identity - self.inverse).to(self.basis)
        self.tasks += 1

    def component(self, update: Tensor) -> Tensor:
        """What is taken of an update, dW (I - P)."""
        return update.to(self.basis.dtype) @ self.taken_away
