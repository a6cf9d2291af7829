"""A share of what every subspace takes, against dense products in float64."""

from __future__ import annotations

import inspect

import pytest
import torch

from orthotrace import subspace
from orthotrace.core.errors import UserError
from orthotrace.protection import Guard
from orthotrace.subspace import ConceptorSubspace, NullSpace, RecursiveSubspace, Subspace, SvdSubspace, TwoSidedSubspace

# Every subspace, with the options that it cannot do without.
SPACES = {
    name: (kind, {} if kind in (ConceptorSubspace, NullSpace, RecursiveSubspace, TwoSidedSubspace) else {"rows": 5})
    for name in subspace.__all__
    if inspect.isclass(kind := getattr(subspace, name)) and issubclass(kind, Subspace) and not inspect.isabstract(kind)
}


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def learned(name: str, **options) -> Subspace:
    kind, needed = SPACES[name]
    space = kind(8, dtype=torch.float64, **needed, **options)
    space.begin()
    space.observe(randn(30, 8) * torch.logspace(0, -2, 8))
    if isinstance(space, TwoSidedSubspace):
        space.see(randn(3, 8, seed=2))
    space.consolidate()
    return space


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("hold", [0.0, 0.3, 1.0])
def test_a_share_of_the_component_is_taken(name, hold):
    whole, part, update = learned(name), learned(name, hold=hold), randn(3, 8, seed=1)
    torch.testing.assert_close(part.project(update), update - hold * whole.inside(update), rtol=0, atol=1e-12)
    assert part.exact == (whole.exact and hold == 1) and part.active == (hold > 0)
    assert part.holds_constant == (hold > 0) and part.capacity == whole.capacity
    # What is seen does not depend on it.
    assert torch.equal(part.held(), whole.held())


@pytest.mark.parametrize("name", SPACES)
def test_all_of_it_is_as_without_to_the_bit(name):
    update = randn(3, 8, seed=1)
    assert torch.equal(learned(name, hold=1.0).inside(update), learned(name).component(update))


@pytest.mark.parametrize("hold", [-0.1, 1.1, "x", None])
@pytest.mark.parametrize("name", SPACES)
def test_a_share_outside_its_range(name, hold):
    with pytest.raises(UserError, match=r"^hold: input should be"):
        learned(name, hold=hold)


def test_under_a_guard_each_step_loses_its_share():
    layer = torch.nn.Linear(4, 2)
    guard = Guard(layer, SvdSubspace, rows=1, hold=0.25)
    guard.remember(layer, torch.tensor([[3.0, 0, 0, 0]]))
    optimizer = torch.optim.SGD(layer.parameters(), 1.0)
    before = layer.weight.detach().clone()
    with guard.protecting(optimizer):
        for _ in range(2):
            optimizer.zero_grad()
            layer(torch.ones(1, 4)).sum().backward()
            optimizer.step()
    moved = layer.weight.detach() - before
    torch.testing.assert_close(moved, torch.tensor([[-1.5, -2, -2, -2]] * 2))
