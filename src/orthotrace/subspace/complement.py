"""Principal directions, stored as the smaller of what is held and what is free (DualGPM)."""

from typing import Any

import torch
from torch import Tensor

from orthotrace.linalg import orthonormalise
from orthotrace.subspace.svd import SvdSubspace


class ComplementSubspace(SvdSubspace):
    """Holds what SvdSubspace holds, in at most half as many rows as there are features.

    Once more than half of the directions are held, the free ones C are kept instead: dW M^T M = dW - (dW C^T) C, and
    new directions are found within C and leave it.

    Args: as for SvdSubspace.

    Source: Liang & Li, Adaptive Plasticity Improvement for Continual Learning, CVPR 2023, section 3.2 (DualGPM).

    Example:
        >>> subspace = ComplementSubspace(3, rows=2)
        >>> subspace.observe(torch.diag(torch.tensor([3.0, 1.0, 0.1])))
        >>> subspace.consolidate()
        >>> subspace.capacity, len(subspace.basis), len(subspace.rest)
        (Capacity(rank=2, features=3), 0, 1)
    """

    rest: Tensor
    turned: Tensor

    def __init__(self, features: int, **options: Any) -> None:
        super().__init__(features, **options)
        # The free directions, once they are what is kept.
        self.register_buffer("rest", self.basis[:0].clone())
        self.register_buffer("turned", torch.zeros((), dtype=torch.bool))
        self._turned: tuple[Tensor, bool] | None = None

    @property
    def keeps_rest(self) -> bool:
        """Whether the free directions are what is kept."""
        # Looked up at every step: on a GPU each look would wait for it.
        if self._turned is None or self._turned[0] is not self.rest:
            self._turned = (self.rest, bool(self.turned))
        return self._turned[1]

    @property
    def rank(self) -> int:
        """Rows held."""
        return self.features - len(self.rest) if self.keeps_rest else len(self.basis)

    def held(self) -> Tensor:
        """The rows held, (rank, features)."""
        return complement(self.rest) if self.keeps_rest else self.basis

    def component(self, update: Tensor) -> Tensor:
        """The component of an update in the rows held."""
        if not self.keeps_rest:
            return super().component(update)
        update = update.to(self.rest.dtype)
        return update - (update @ self.rest.T) @ self.rest

    def left_over(self, rows: Tensor) -> Tensor:
        """Rows (n, features) in float64, without their component in the rows held."""
        if not self.keeps_rest:
            return super().left_over(rows)
        rest = self.rest.double()
        return (rows.double() @ rest.T) @ rest

    def hold(self, new: Tensor) -> None:
        """Take up orthonormal rows outside the rows held."""
        if self.keeps_rest:
            rest = self.rest.double()
            if len(new):
                # What is left of the free directions, in their own coordinates.
                rest = orthonormalise(complement(orthonormalise(new @ rest.T)) @ rest)
            self.rest = rest.to(self.rest)
            return
        super().hold(new)
        if 2 * len(self.basis) > self.features:
            self.turned.fill_(True)
            self._turned = None
            self.rest = complement(self.basis.double()).to(self.basis)
            self.basis = self.basis[:0].clone()

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._turned = None
        super()._load_from_state_dict(*args, **kwargs)


def complement(rows: Tensor) -> Tensor:
    """Orthonormal rows that span all that is orthogonal to orthonormal rows.

    Args:
        rows: (k, width).

    Returns:
        (width - k, width).

    Example:
        >>> complement(torch.eye(3)[:2]).abs().round(decimals=4)
        tensor([[0., 0., 1.]])
    """
    return torch.linalg.qr(rows.T, mode="complete").Q[:, len(rows) :].T.contiguous()
