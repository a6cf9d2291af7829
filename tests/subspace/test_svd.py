import numpy as np
import pytest
import torch

from orthotrace.data.sources import digits
from orthotrace.subspace import SvdSubspace


def gpm_rank(rows: np.ndarray, basis: np.ndarray, energy: float) -> int:
    """The paper's criterion, as a loop (Saha et al. 2021, eq. 9)."""
    held = rows @ basis.T @ basis
    values = np.linalg.svd(rows - held, compute_uv=False)
    total = np.linalg.norm(rows) ** 2
    for k in range(len(values) + 1):
        if np.linalg.norm(held) ** 2 + np.sum(values[:k] ** 2) >= energy * total * (1 - 1e-12):
            return k
    raise AssertionError


@pytest.mark.parametrize("energy", [0.9, 0.95, 0.97, 0.99, 0.999])
def test_ranks_are_those_of_the_paper(energy):
    images = digits().train.images.flatten(1).double()
    space = SvdSubspace(64, energy=energy, dtype=torch.float64)
    for seed in range(3):
        pixels = torch.randperm(64, generator=torch.Generator().manual_seed(seed))
        rows = images[300 * seed : 300 * (seed + 1), pixels]
        before = space.basis.numpy()
        expected = gpm_rank(rows.numpy(), before, energy)
        space.observe(rows)
        space.consolidate()
        assert space.rank == len(before) + expected
        left = rows - rows @ space.basis.T @ space.basis
        assert float(left.square().sum()) <= (1 - energy) * float(rows.square().sum()) * (1 + 1e-9)


def test_holds_no_more_than_the_sample_spans():
    space = SvdSubspace(10, rows=6, dtype=torch.float64)
    space.observe(torch.eye(10, dtype=torch.float64)[:3])
    space.consolidate()
    assert space.rank == 3


def test_nothing_is_added_where_enough_is_held():
    space = SvdSubspace(4, energy=0.95, dtype=torch.float64)
    rows = torch.diag(torch.tensor([3.0, 2.0, 0.1, 0.1], dtype=torch.float64))
    for _ in range(2):
        space.observe(rows)
        space.consolidate()
        assert space.rank == 2


def test_infinite_inputs_are_refused():
    space = SvdSubspace(2, rows=1)
    space.observe(torch.tensor([[float("inf"), 1.0]]))
    with pytest.raises(ValueError, match="not finite"):
        space.consolidate()
