"""Adapters within the inputs of the new task that earlier tasks do not use (InfLoRA)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from orthotrace.core.distributed import all_gather_rows
from orthotrace.layers.lora import Adapter
from orthotrace.linalg import orthonormalise, principal
from orthotrace.methods.adapters import AdapterMethod
from orthotrace.subspace import ComplementSubspace, SvdSubspace

# The size of a row of A as it is drawn for LoRA: uniform with variance 1 / (3 features).
SIZE = 1 / math.sqrt(3)


class InfLoRA(AdapterMethod):
    """Fixes A to the principal directions of the new task's inputs outside the rows held, and trains B alone.

    With inputs R of the task and rows held M, A = V_r^T / sqrt(3), V_r the first r right singular vectors of
    R - R M^T M. What is held is stored as the smaller of what is held and what is free (DualGPM).

    Args: as for AdapterMethod. The paper's energy grows from .95 to 1 over the tasks.

    Source: Liang & Li, InfLoRA, CVPR 2024.
    """

    def subspace(self, features: int, **options: Any) -> SvdSubspace:
        """Principal directions, or their complement."""
        return ComplementSubspace(features, energy=self.energy, growth=self.growth, **options)

    def design(self, adapter: Adapter, space: SvdSubspace, rows: Tensor, draw: torch.Generator) -> None:
        """The principal directions of what the rows held leave over."""
        down = adapter.low_rank.down
        # Of all processes: each must find the same.
        rows = all_gather_rows(rows)
        energies, directions = principal(space.left_over(rows))
        total = float(rows.double().square().sum())
        found = directions[energies > space.rounding(total)][: len(down)]
        if len(found) < len(down):
            # The task has no inputs there: any free direction.
            rest = random_free(space, len(down) - len(found), draw)
            found = torch.cat([found, orthonormalise(rest, found)])
        with torch.no_grad():
            # Once more: of a direction with little energy a part would be the rounding of what is held.
            down.copy_(SIZE * orthonormalise(found, space.held().double()))


def random_free(space: SvdSubspace, count: int, draw: torch.Generator) -> Tensor:
    """Random orthonormal rows outside those held, (count, features), in float64.

    Example:
        >>> space = SvdSubspace(3, rows=2)
        >>> space.observe(torch.eye(3)[:2])
        >>> space.consolidate()
        >>> random_free(space, 1, torch.Generator()).abs().round(decimals=4)
        tensor([[0., 0., 1.]], dtype=torch.float64)
    """
    rows = torch.randn(count, space.features, dtype=torch.float64, generator=draw).to(space.basis.device)
    return orthonormalise(space.left_over(rows))
