import pytest
import torch

from orthotrace.linalg import is_orthonormal
from orthotrace.subspace import ComplementSubspace, SvdSubspace
from orthotrace.subspace.complement import complement


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("options", [{"rows": 3}, {"rows": [7, 1, 5, 2]}, {"energy": 0.6, "growth": 0.1}])
def test_holds_what_the_subspace_holds_in_half_the_memory(options):
    spaces = [kind(16, dtype=torch.float64, **options) for kind in (SvdSubspace, ComplementSubspace)]
    turned = []
    for task in range(4):
        rows = randn(30, 16, seed=task) * torch.logspace(0, -1, 16, dtype=torch.float64).roll(4 * task)
        for space in spaces:
            space.observe(rows)
            space.consolidate()
        plain, dual = spaces
        assert dual.rank == plain.rank and dual.free == plain.free
        update = randn(5, 16, seed=100 + task)
        assert torch.allclose(dual.project(update), plain.project(update), atol=1e-10)
        assert torch.allclose(dual.held().T @ dual.held(), plain.basis.T @ plain.basis, atol=1e-10)
        assert is_orthonormal(dual.held(), 1e-10)
        # Never more than half of the features.
        assert len(dual.basis) + len(dual.rest) <= 8
        bytes_kept = sum(value.numel() * value.element_size() for value in dual.state_dict().values())
        assert bytes_kept <= 16 * 8 * 8 + 64
        turned.append(dual.keeps_rest)
    assert turned[0] is False or options["rows"] == [7, 1, 5, 2]
    assert turned[-1]


def test_state_loads_whichever_is_kept():
    space = ComplementSubspace(6, rows=[2, 3], dtype=torch.float64)
    for task in range(2):
        space.observe(randn(20, 6, seed=task))
        space.consolidate()
        fresh = ComplementSubspace(6, rows=[2, 3], dtype=torch.float64)
        fresh.load_state_dict(space.state_dict())
        update = randn(3, 6, seed=9)
        assert torch.equal(fresh.project(update), space.project(update)) and fresh.rank == space.rank
        # A subspace that has projected forgets what it was.
        space.load_state_dict(ComplementSubspace(6, rows=[2, 3], dtype=torch.float64).state_dict())
        assert space.rank == 0
        space.load_state_dict(fresh.state_dict())
        assert torch.equal(fresh.project(update), space.project(update))


def test_until_nothing_is_free():
    space = ComplementSubspace(5, energy=1.0, dtype=torch.float64)
    space.observe(torch.eye(5, dtype=torch.float64))
    space.consolidate()
    assert space.rank == 5 and len(space.rest) == 0
    assert float(space.project(randn(2, 5)).abs().max()) < 1e-12
    space.observe(randn(9, 5))
    space.consolidate()
    assert space.rank == 5


@pytest.mark.parametrize("count", [0, 1, 4, 7])
def test_complement(count):
    rows = torch.linalg.qr(randn(7, max(count, 1))).Q.T[:count]
    rest = complement(rows)
    assert rest.shape == (7 - count, 7) and is_orthonormal(torch.cat([rows, rest]), 1e-10)


def test_a_layer_that_is_full_is_full_when_it_is_loaded():
    space = ComplementSubspace(4, energy=1.0)
    space.observe(torch.eye(4))
    space.consolidate()
    fresh = ComplementSubspace(4, energy=1.0)
    # What was looked up before the load must not be kept.
    assert not fresh.active
    fresh.load_state_dict(space.state_dict())
    assert fresh.rank == 4 and float(fresh.project(torch.ones(1, 4)).abs().max()) < 1e-6
