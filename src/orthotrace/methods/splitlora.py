"""Adapters within the free directions, which are as many as balance forgetting and learning (SplitLoRA)."""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from orthotrace.core.errors import checked
from orthotrace.layers.lora import Adapter
from orthotrace.methods.adapters import AdapterMethod
from orthotrace.subspace import SvdSubspace
from orthotrace.subspace.complement import complement


class SplitLoRA(AdapterMethod):
    """Fixes A to random combinations of the free directions, and trains B alone.

    A = Q U, U the k free directions as rows and Q (rank, k) drawn from a normal distribution of variance 1 / (3 k). How
    many directions are free is what minimises the cost of forgetting and of what cannot be learned, see
    subspace.counts.optimum_count. The paper splits the space of gradients, which of a Linear layer is spanned by its
    inputs; here directions that were once held stay so.

    Args:
        plasticity: of that optimum, above 0; the larger, the fewer directions are held.
        samples: training images drawn at the begin and at the end of each task, at least 1.

    Source: Qiu et al., SplitLoRA, ICLR 2026, with plasticity 20.
    """

    less = "raise method.plasticity"

    @checked
    def __init__(
        self, plasticity: Annotated[float, Field(gt=0)] = 20.0, samples: Annotated[int, Field(ge=1)] = 300
    ) -> None:
        super().__init__(samples=samples)
        self.plasticity = plasticity

    def subspace(self, features: int, **options: Any) -> SvdSubspace:
        """As many principal directions as are the optimum."""
        return SvdSubspace(features, rank="optimum", plasticity=self.plasticity, **options)

    def design(self, adapter: Adapter, space: SvdSubspace, rows: Tensor, draw: torch.Generator) -> None:
        """Random combinations of the free directions."""
        down = adapter.low_rank.down
        free = complement(space.held().double())
        mixed = torch.randn(len(down), len(free), dtype=torch.float64, generator=draw).to(free)
        with torch.no_grad():
            down.copy_(mixed @ free / math.sqrt(3 * len(free)))
