from __future__ import annotations

import numpy as np
import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.subspace.two_sided import TwoSidedSubspace


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def taught(alpha: float, tasks: int, dtype: torch.dtype = torch.float64, **options: float) -> TwoSidedSubspace:
    space = TwoSidedSubspace(7, alpha=alpha, dtype=dtype, **options)
    for task in range(tasks):
        for batch in range(3):
            space.observe((1 + randn(11 + batch, 7, seed=10 * task + batch)).to(dtype))
        space.see(randn(4, 7, seed=90 + task).to(dtype))
        space.consolidate()
    return space


@pytest.mark.parametrize("alpha", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("tasks", [1, 3])
def test_both_projectors_are_the_inverses(alpha, tasks):
    space = taught(alpha, tasks)
    moments = []
    for task in range(tasks):
        rows = np.concatenate([1 + randn(11 + batch, 7, seed=10 * task + batch).numpy() for batch in range(3)])
        into = np.mean([np.outer(row, row) for row in rows], axis=0)
        weight = randn(4, 7, seed=90 + task).numpy()
        moments.append((into, np.mean([np.outer(weight @ row, weight @ row) for row in rows], axis=0)))
    right, left = (
        alpha * np.linalg.inv(alpha * np.eye(size) + np.mean([of[place] for of in moments], axis=0))
        for place, size in enumerate((7, 4))
    )
    update = randn(4, 7, seed=5)
    assert np.allclose(space.project(update), left @ update.numpy() @ right, rtol=0, atol=1e-12)
    assert space.rank == int((np.linalg.eigvalsh(right) < 0.5).sum())


@pytest.mark.parametrize("hold", [0.0, 0.4])
def test_a_share_is_taken(hold):
    whole, part, update = taught(0.1, 2), taught(0.1, 2, hold=hold), randn(4, 7, seed=5)
    expected = update - hold * (update - whole.project(update))
    assert torch.allclose(part.project(update), expected, rtol=0, atol=1e-12) and part.active == (hold > 0)


def test_a_direction_that_was_never_used_is_free_on_both_sides():
    space = TwoSidedSubspace(3, alpha=1e-3, dtype=torch.float64)
    space.observe(torch.tensor([[1.0, 2.0, 0.0]], dtype=torch.float64))
    space.see(torch.tensor([[1.0, 1.0, 5.0], [0.0, 0.0, 3.0]], dtype=torch.float64))
    space.consolidate()
    update = torch.zeros(2, 3, dtype=torch.float64)
    update[1, 2] = 1.0
    assert torch.allclose(space.project(update), update, atol=1e-12)
    # From a used input into a used output almost nothing stays.
    used = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    assert float(space.project(used).abs().max()) < 1e-5


def test_a_task_is_applied_from_the_next_one_on():
    space = taught(0.1, 1)
    before = space.project(update := randn(4, 7, seed=5))
    space.observe(randn(5, 7, seed=2))
    space.see(randn(4, 7, seed=3))
    assert torch.equal(space.project(update), before)
    space.consolidate()
    assert not torch.allclose(space.project(update), before)


def test_state_loads_within_a_task():
    one = taught(0.1, 2, torch.float32)
    one.observe(randn(5, 7).float())
    two = TwoSidedSubspace(7, alpha=0.1)
    two.load_state_dict(one.state_dict())
    for space in (one, two):
        space.observe(randn(5, 7, seed=3).float())
        space.see(randn(4, 7, seed=4).float())
        space.consolidate()
    update = randn(4, 7).float()
    assert torch.equal(one.project(update), two.project(update)) and torch.equal(one.basis, two.basis)


def test_what_cannot_be():
    with pytest.raises(UserError, match="alpha: input should be greater than 0"):
        TwoSidedSubspace(3, alpha=0)
    space = TwoSidedSubspace(3)
    space.observe(torch.ones(2, 3))
    with pytest.raises(ValueError, match="weights at the end of the task were not seen"):
        space.consolidate()
    empty = TwoSidedSubspace(3)
    empty.see(torch.ones(2, 3))
    with pytest.raises(ValueError, match="no rows were observed"):
        empty.consolidate()
    space.see(torch.ones(2, 3))
    space.observe(torch.full((2, 3), torch.inf))
    with pytest.raises(ValueError, match="not finite"):
        space.consolidate()
