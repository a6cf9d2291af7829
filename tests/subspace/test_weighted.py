import numpy as np
import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.subspace import SvdSubspace, WeightedSubspace


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def importances(tasks: list[np.ndarray], energy: float, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """The paper's accumulation as a loop over directions, by singular value decompositions."""
    basis, kept = np.zeros((0, tasks[0].shape[1])), np.zeros(0)
    for rows in tasks:
        old = [np.linalg.norm(rows @ one) for one in basis]
        left = rows - rows @ basis.T @ basis
        _, values, directions = np.linalg.svd(left, full_matrices=False)
        total, count = np.linalg.norm(rows) ** 2, 0
        while np.linalg.norm(rows - left) ** 2 + np.sum(values[:count] ** 2) < energy * total * (1 - 1e-12):
            count += 1
        s = np.array([*old, *values[:count]])
        fresh = [(alpha + 1) * one / (alpha * one + s.max()) for one in s]
        kept = np.array([min(1.0, now + then) for now, then in zip(fresh, [*kept, *[0.0] * count], strict=True)])
        basis = np.concatenate([basis, directions[:count]])
    return basis, kept


@pytest.mark.parametrize("alpha", [0.0, 1.0, 3.0, 10.0])
def test_importances_are_those_of_the_paper(alpha):
    scales = torch.logspace(0, -1.5, 12, dtype=torch.float64)
    tasks = [randn(40, 12, seed=task) * scales.roll(3 * task) for task in range(4)]
    space = WeightedSubspace(12, energy=0.9, alpha=alpha, dtype=torch.float64)
    for rows in tasks:
        space.observe(rows)
        space.consolidate()
    basis, kept = importances([rows.numpy() for rows in tasks], 0.9, alpha)
    assert np.allclose(space.importance, kept, atol=1e-9)
    update = randn(5, 12, seed=9).numpy()
    expected = update - update @ basis.T @ np.diag(kept) @ basis
    assert np.allclose(space.project(torch.from_numpy(update)), expected, atol=1e-9)


def test_with_a_large_alpha_it_is_gpm():
    spaces = [WeightedSubspace(6, rows=3, alpha=1e12, dtype=torch.float64), SvdSubspace(6, rows=3, dtype=torch.float64)]
    for space in spaces:
        space.observe(randn(20, 6))
        space.consolidate()
    update = randn(2, 6, seed=1)
    assert torch.allclose(spaces[0].project(update), spaces[1].project(update), atol=1e-9)


def test_inputs_without_energy_hold_nothing_and_state_loads():
    space = WeightedSubspace(4, rows=2)
    for rows in (torch.zeros(3, 4), torch.eye(4)[:2], torch.zeros(3, 4)):
        space.observe(rows)
        space.consolidate()
    assert space.importance.tolist() == [1, 1]
    fresh = WeightedSubspace(4, rows=2)
    fresh.load_state_dict(space.state_dict())
    assert torch.equal(fresh.project(torch.ones(1, 4)), space.project(torch.ones(1, 4)))


def test_alpha_is_not_negative():
    with pytest.raises(UserError, match="alpha: input should be greater than or equal to 0"):
        WeightedSubspace(4, rows=2, alpha=-1)
