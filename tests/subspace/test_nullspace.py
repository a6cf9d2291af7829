import numpy as np
import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.linalg import is_orthonormal
from orthotrace.subspace import NullSpace


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("factor", [1.0, 3.0, 10.0, 1e6])
def test_the_null_space_is_that_of_numpy(factor):
    space = NullSpace(10, factor=factor, dtype=torch.float64)
    scales = torch.logspace(0, -2, 10, dtype=torch.float64)
    seen = np.zeros((0, 10))
    for task in range(3):
        for batch in range(3):
            rows = randn(30 + task, 10, seed=10 * task + batch) * scales.roll(2 * task)
            space.observe(rows)
            seen = np.concatenate([seen, rows.numpy()])
        space.consolidate()
        values, vectors = np.linalg.eigh(seen.T @ seen / len(seen))
        free = vectors[:, values <= factor * values[0]]
        update = randn(4, 10, seed=99)
        assert np.allclose(space.covariance, seen.T @ seen / len(seen), atol=1e-12)
        assert np.allclose(space.project(update), update.numpy() @ free @ free.T, atol=1e-9)
        assert space.rank == 10 - free.shape[1] and is_orthonormal(space.basis, 1e-10)


def test_where_inputs_span_less_the_null_space_is_exactly_the_rest():
    space = NullSpace(8, factor=10.0)
    space.observe((randn(50, 3) @ randn(3, 8, seed=1)).float())
    space.consolidate()
    assert space.rank == 3


def test_what_is_below_the_rounding_of_the_largest_is_no_direction():
    """In float32 squares of .1 are none beside those of 1e4."""
    space = NullSpace(3)
    space.observe(torch.diag(torch.tensor([1e4, 0.1, 0.01])))
    space.consolidate()
    assert space.rank == 1 and int(space.tasks) == 1


def test_nothing_seen_yet_holds_nothing_and_zeros_hold_nothing():
    space = NullSpace(4)
    assert space.rank == 0
    space.observe(torch.zeros(5, 4))
    space.consolidate()
    assert space.rank == 0


def test_state_loads_within_a_task():
    one = NullSpace(5, factor=2.0)
    one.observe(randn(20, 5).float())
    one.consolidate()
    one.observe(randn(20, 5, seed=2).float())
    two = NullSpace(5, factor=2.0)
    two.load_state_dict(one.state_dict())
    for space in (one, two):
        space.observe(randn(20, 5, seed=3).float())
        space.consolidate()
    assert torch.equal(one.basis, two.basis) and one.rank > 0


def test_what_cannot_be():
    with pytest.raises(UserError, match="factor: input should be greater than or equal to 1"):
        NullSpace(3, factor=0.5)
    space = NullSpace(3)
    with pytest.raises(ValueError, match="no rows"):
        space.consolidate()
    space.observe(torch.full((2, 3), torch.inf))
    with pytest.raises(ValueError, match="not finite"):
        space.consolidate()
