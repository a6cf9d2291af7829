import numpy as np
import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.subspace import RecursiveSubspace
from orthotrace.subspace.recursive import recursive_least_squares


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("alpha", [1e-3, 0.1, 1.0, 30.0])
def test_the_recursion_is_the_inverse(alpha):
    space = RecursiveSubspace(9, alpha=alpha, dtype=torch.float64)
    moment = np.eye(9)
    for task in range(3):
        for batch in range(40):
            rows = 1 + randn(11, 9, seed=100 * task + batch)
            space.observe(rows)
            mean = rows.numpy().mean(0)
            moment += np.outer(mean, mean) / alpha
        space.consolidate()
        expected = np.linalg.inv(moment)
        assert np.allclose(space.inverse, expected, rtol=0, atol=1e-10)
        update = randn(4, 9, seed=7)
        assert np.allclose(space.project(update), update.numpy() @ expected, atol=1e-10)
        assert space.rank == int((np.linalg.eigvalsh(expected) < 0.5).sum())


@pytest.mark.parametrize("sizes", [[1] * 60, [60], [7, 30, 23]])
@pytest.mark.parametrize("alpha", [1e-3, 1.0, 30.0])
def test_rows_at_once_are_rows_one_after_another_and_the_least_squares_of_all(sizes, alpha):
    rows, wanted = randn(60, 9), randn(60, 4, seed=1)
    inverse, weights = torch.eye(9, dtype=torch.float64), torch.zeros(4, 9, dtype=torch.float64)
    for some, values in zip(rows.split(sizes), wanted.split(sizes), strict=True):
        gain = recursive_least_squares(inverse, some, alpha)
        weights += (values - some @ weights.T).T @ gain.T
    expected = np.linalg.inv(np.eye(9) + rows.T.numpy() @ rows.numpy() / alpha)
    assert np.allclose(inverse, expected, rtol=0, atol=1e-10)
    # Ridge regression, as the least squares of rows with the penalty's rows below them.
    stacked = np.r_[rows.numpy(), alpha**0.5 * np.eye(9)]
    solved = np.linalg.lstsq(stacked, np.r_[wanted.numpy(), np.zeros((9, 4))], rcond=None)[0].T
    assert np.allclose(weights, solved, rtol=0, atol=1e-9)


def test_a_task_is_applied_from_the_next_one_on():
    space = RecursiveSubspace(3, alpha=0.1, dtype=torch.float64)
    update = randn(2, 3)
    space.observe(randn(5, 3, seed=1))
    assert not space.active
    space.consolidate()
    before = space.project(update)
    space.observe(randn(5, 3, seed=2))
    assert torch.equal(space.project(update), before) and space.active
    space.consolidate()
    assert not torch.allclose(space.project(update), before)


def test_state_loads_within_a_task():
    one = RecursiveSubspace(3, alpha=0.1)
    one.observe(randn(5, 3).float())
    one.consolidate()
    one.observe(randn(5, 3, seed=2).float())
    two = RecursiveSubspace(3, alpha=0.1)
    two.load_state_dict(one.state_dict())
    for space in (one, two):
        space.observe(randn(5, 3, seed=3).float())
        space.consolidate()
    assert torch.equal(one.inverse, two.inverse) and torch.equal(one.basis, two.basis)


def test_what_cannot_be():
    with pytest.raises(UserError, match="alpha: input should be greater than 0"):
        RecursiveSubspace(3, alpha=0)
    space = RecursiveSubspace(3)
    with pytest.raises(ValueError, match="no rows"):
        space.consolidate()
    space.observe(torch.full((2, 3), torch.nan))
    with pytest.raises(ValueError, match="not finite"):
        space.consolidate()


def test_an_empty_batch_changes_nothing():
    space = RecursiveSubspace(3)
    space.observe(torch.ones(2, 3))
    before = space.following.clone()
    space.observe(torch.zeros(0, 3))
    assert torch.equal(space.following, before)


def test_the_inverse_stays_symmetric():
    """Rounding adds up over thousands of batches otherwise."""
    inverse = torch.eye(30)
    for batch in range(20):
        recursive_least_squares(inverse, randn(11, 30, seed=batch).float(), 1e-2)
        assert torch.equal(inverse, inverse.T)
