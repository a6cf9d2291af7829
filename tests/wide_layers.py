"""A layer whose gradients are made of projected inputs, for tests."""

from __future__ import annotations

import torch
from torch import nn

from orthotrace.protection.products import matrices
from orthotrace.protection.projected_inputs import ProjectedInputs
from orthotrace.subspace import NullSpace, SvdSubspace

FEATURES, OUTPUTS = 6, 40


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def holding(rows: int = 2, kind: type = SvdSubspace, **options) -> SvdSubspace:
    asked = {} if kind is NullSpace else {"rows": rows}
    space = kind(FEATURES, **asked, **options, dtype=torch.float64)
    space.begin()
    space.observe(drawn(rows, FEATURES, seed=1))
    space.consolidate()
    return space


def prepared(bias: bool = True, space=None) -> tuple[nn.Linear, ProjectedInputs]:
    torch.manual_seed(0)
    layer = nn.Linear(FEATURES, OUTPUTS, bias=bias, dtype=torch.float64)
    [part] = matrices("layer", layer)
    space = holding() if space is None else space
    return layer, ProjectedInputs(part, space, layer.weight.detach().clone(), torch.Generator())


def hooks(layer: nn.Module) -> int:
    return len(layer._forward_pre_hooks) + len(layer._forward_hooks)
