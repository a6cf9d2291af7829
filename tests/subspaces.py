"""Subspaces that count directions, after tasks of random rows."""

import torch

from orthotrace.subspace import ComplementSubspace, HebbianSubspace, RegionSubspace, SvdSubspace

KINDS = {
    "svd": SvdSubspace,
    "complement": ComplementSubspace,
    "regions": RegionSubspace,
    "hebbian": HebbianSubspace,
}


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def learned(kind: str, *tasks: torch.Tensor, **options):
    space = KINDS[kind](tasks[0].shape[1], dtype=torch.float64, **options)
    for rows in tasks:
        space.begin()
        for batch in rows.split(20):
            space.observe(batch)
        space.consolidate()
    return space
