"""How much of a layer's inputs is held, beside the most that could be."""

from __future__ import annotations

import torch
from torch import Tensor

from orthotrace.core.distributed import all_reduce_sum, rank_and_world_size
from orthotrace.core.precision import full_precision
from orthotrace.linalg import energy_shares, row_energy_shares


class InputEnergy:
    """The energy of the inputs of a layer in all directions, seen batch by batch.

    Kept are the inputs themselves while they are fewer than their width: the eigenvalues that count are those of the
    smaller matrix. From then on, and in several processes, it is their second moment.

    Example:
        >>> energy = InputEnergy()
        >>> energy.add(torch.tensor([[3.0, 0.0, 4.0]]))
        >>> energy.shares(torch.zeros(0, 3), torch.tensor([[1.0, 0.0, 0.0]]))
        (0.36, 1.0)
    """

    def __init__(self) -> None:
        self._rows: list[Tensor] = []
        self._moment: Tensor | None = None

    def add(self, rows: Tensor) -> None:
        """See inputs, (n, width)."""
        count = sum(map(len, self._rows)) + len(rows)
        if self._moment is None and count < rows.shape[1] and rank_and_world_size()[1] == 1:
            self._rows.append(rows)
            return
        for some in [*self._rows, rows]:
            # The sum over batches in float64; the products of one batch need no more than float32.
            with full_precision(some.device.type):
                product = (some.T @ some).double()
            self._moment = product if self._moment is None else self._moment.add_(product)
        self._rows = []

    def shares(self, frozen: Tensor, held: Tensor) -> tuple[float, float] | None:
        """What is held, and the most that could be, see energy_shares; None where the inputs were all zero.

        Args:
            frozen: rows held before, (rank, width).
            held: rows held now, (rank + k, width).
        """
        if self._moment is None and rank_and_world_size()[1] > 1:
            # A process that saw none takes part in the sum: the others wait for it.
            self._moment = held.new_zeros(held.shape[1], held.shape[1], dtype=torch.float64)
        if self._moment is not None:
            all_reduce_sum(self._moment)
            return energy_shares(self._moment, frozen.double(), held.double()) if self._moment.any() else None
        rows = torch.cat(self._rows) if self._rows else held[:0]
        with full_precision(rows.device.type):
            return row_energy_shares(rows, frozen, held) if rows.any() else None
