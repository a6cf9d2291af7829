"""Principal directions, and which of them span the inputs of each task (TRGP)."""

from typing import Any

import torch
from torch import Tensor

from orthotrace.subspace.svd import SvdSubspace


class RegionSubspace(SvdSubspace):
    """Holds what SvdSubspace holds, and for each task the rows that its own inputs need.

    Of all rows held after a task, old and new, its region are those of the most energy of its sample: the least
    number that reaches the energy, or as many as were asked for.

    Args: as for SvdSubspace.

    Source: Lin, Yang, Fan & Zhang, TRGP: Trust Region Gradient Projection, ICLR 2022, section 3.2 and appendix.

    Example:
        >>> subspace = RegionSubspace(3, energy=0.9)
        >>> for scale in ([3.0, 1.0, 0.1], [0.1, 1.0, 3.0]):
        ...     subspace.observe(torch.diag(torch.tensor(scale)))
        ...     subspace.consolidate()
        >>> subspace.region(0).abs().round(decimals=2), len(subspace.region(1))
        (tensor([[1., 0., 0.],
                [0., 1., 0.]]), 2)
    """

    members: Tensor

    def __init__(self, features: int, **options: Any) -> None:
        super().__init__(features, **options)
        # Of each task, whether a row is in its region: (tasks, rank).
        self.register_buffer("members", torch.zeros(0, 0, dtype=torch.bool))

    def region(self, task: int) -> Tensor:
        """Orthonormal rows (k, features) that span the inputs of a task, from 0."""
        return self.basis[self.members[task]]

    def take_up(self, rows: Tensor, new: Tensor, energies: Tensor) -> None:
        """Hold new rows, and note those of the task."""
        wanted = self.asked()
        self.hold(new)
        along = (rows @ self.basis.double().T).square().sum(0)
        order = along.argsort(descending=True, stable=True)
        if wanted is None:
            # What no row holds is energy too.
            total = float(rows.square().sum())
            unheld = (total - along.sum()).clamp_min(0)
            wanted = self.enough(along[order], total, float(unheld))
        member = torch.zeros(self.rank, dtype=torch.bool, device=rows.device)
        member[order[: min(wanted, self.rank)]] = True
        # A direction without energy spans nothing.
        member &= along > self.rounding(float(rows.square().sum()))
        before = torch.zeros(len(self.members), self.rank, dtype=torch.bool, device=rows.device)
        before[:, : self.members.shape[1]] = self.members
        self.members = torch.cat([before, member[None]])
