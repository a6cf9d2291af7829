"""Inputs of few directions, the same inputs again, and states that are loaded: for every subspace."""

from __future__ import annotations

import copy

import pytest
import torch

from orthotrace.protection import Guard
from orthotrace.subspace import ComplementSubspace, HebbianSubspace, RegionSubspace, SvdSubspace

SUBSPACES = {
    "svd": SvdSubspace,
    "complement": ComplementSubspace,
    "regions": RegionSubspace,
    "hebbian": HebbianSubspace,
}


def see(space, rows, times=60):
    space.begin()
    for _ in range(times if isinstance(space, HebbianSubspace) else 1):
        space.observe(rows)


@pytest.mark.parametrize("options", [{"rows": 3}, {"energy": 1.0}])
@pytest.mark.parametrize("name", SUBSPACES)
def test_the_same_few_directions_again_take_no_more_rows(name, options):
    torch.manual_seed(0)
    space = SUBSPACES[name](20, **options)
    rows = torch.randn(200, 3) @ torch.randn(3, 20)
    for _ in range(3):
        see(space, rows)
        space.consolidate()
        assert space.rank == 3


@pytest.mark.parametrize("max_rows", [12, 30])
@pytest.mark.parametrize("seed", range(3))
def test_rows_that_find_nothing_to_learn_stay_outside_those_held(seed, max_rows):
    draws = torch.Generator().manual_seed(seed)
    axes = torch.linalg.qr(torch.randn(40, 40, generator=draws)).Q
    first = torch.randn(400, 10, generator=draws) @ axes[:10]
    # Few directions are new, and weak beside those held.
    z = torch.randn(400, 12, generator=draws) * torch.logspace(0, -1.5, 12)
    second = 10 * (z @ torch.randn(12, 10, generator=draws) / 12**0.5) @ axes[:10] + z @ axes[10:22]
    spaces = [HebbianSubspace(40, energy=0.99, max_rows=max_rows), SvdSubspace(40, energy=0.99)]
    for space in spaces:
        for rows in (first, second):
            see(space, rows)
            if isinstance(space, HebbianSubspace):
                assert float((space.learning @ space.basis.T).norm()) < 1e-4
            space.consolidate()
    assert spaces[0].rank == spaces[1].rank


@pytest.mark.parametrize("name", SUBSPACES)
def test_a_state_that_is_loaded_is_the_one_that_projects(name):
    spaces = [SUBSPACES[name](4, rows=3) for _ in range(2)]
    for space, kept in zip(spaces, ([0, 1, 2], [1, 2, 3]), strict=True):
        see(space, torch.eye(4)[kept])
        space.consolidate()
    update = torch.ones(1, 4)
    spaces[0].project(update)
    spaces[0].load_state_dict(spaces[1].state_dict())
    assert torch.allclose(spaces[0].project(update), torch.tensor([[1.0, 0, 0, 0]]), atol=1e-5)


@pytest.mark.parametrize("name", SUBSPACES)
def test_what_is_learned_is_part_of_no_gradient(name):
    space = SUBSPACES[name](3, rows=2)
    see(space, torch.ones(2, 3, requires_grad=True))
    space.consolidate()
    assert not space.held().requires_grad
    copy.deepcopy(space)


@pytest.mark.parametrize("rows", [0, 2])
def test_inputs_that_are_not_finite_are_never_swallowed(rows):
    space = HebbianSubspace(4, rows=rows)
    space.begin()
    with pytest.raises(ValueError, match="not finite"):
        space.observe(torch.full((2, 4), torch.nan))


@pytest.mark.parametrize("name", SUBSPACES)
def test_remembering_without_a_task_before_it_protects(name):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 4))
    guard = Guard(model, SUBSPACES[name], rows=2)
    for expected in (2, 4):
        old = torch.randn(50, 2) @ torch.randn(2, 6)
        guard.remember(model, *[old] * 20)
        assert guard.subspaces["0"].rank == expected


def test_shares_are_never_more_than_all():
    from orthotrace.linalg import energy_shares

    for seed in range(20):
        rows = torch.rand(12, 30, generator=torch.Generator().manual_seed(seed))
        space = SvdSubspace(30, energy=1.0)
        space.observe(rows)
        space.consolidate()
        moment = rows.double().T @ rows.double()
        assert max(energy_shares(moment, moment[:0], space.basis.double())) <= 1
