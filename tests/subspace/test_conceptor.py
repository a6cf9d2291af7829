import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.subspace import ConceptorSubspace

EYE = torch.eye(8, dtype=torch.float64)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rows_of(task: int) -> torch.Tensor:
    return randn(40, 8, seed=task) * torch.logspace(0.5, -1.5, 8, dtype=torch.float64).roll(3 * task)


def conceptor(rows: torch.Tensor, aperture: float, threshold: float, cut: float) -> torch.Tensor:
    """The paper's, by dense inverses."""
    moment = rows.T @ rows / len(rows)
    while True:
        found = moment @ torch.linalg.inv(moment + aperture**-2 * EYE)
        if float((rows @ found).norm(dim=1).sum()) >= threshold * float(rows.norm(dim=1).sum()):
            break
        aperture *= 1.1
    left, values, right = torch.linalg.svd(found)
    return left @ torch.diag(torch.where(values < cut, 0, values)) @ right


def either(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Jaeger's disjunction by de Morgan: not (not A and not B), A and B = (A^-1 + B^-1 - I)^-1."""
    inverse = torch.linalg.inv
    return EYE - inverse(inverse(EYE - first) + inverse(EYE - second) - EYE)


@pytest.mark.parametrize("threshold", [0.5, 0.95])
@pytest.mark.parametrize("cut", [0.0, 0.2])
@pytest.mark.parametrize("aperture", [0.5, 6.0])
def test_it_is_the_conceptor_of_the_paper(threshold, cut, aperture):
    options = {"aperture": aperture, "threshold": threshold, "cut": cut}
    space, expected = ConceptorSubspace(8, dtype=torch.float64, **options), 0 * EYE
    for task in range(3):
        space.observe(rows_of(task)[:25])
        space.observe(rows_of(task)[25:])
        space.consolidate()
        expected = either(expected, conceptor(rows_of(task), **options))
        torch.testing.assert_close(space.inside(EYE), expected, rtol=0, atol=1e-8)
        assert space.rank == int((torch.linalg.eigvalsh(expected) > 1e-10).sum())
    # What is held by one task is held at least as much with the others.
    first = conceptor(rows_of(0), **options)
    assert float(torch.linalg.eigvalsh(expected - first).min()) > -1e-9


def test_near_one_nothing_is_lost_and_a_state_loads():
    space = ConceptorSubspace(4, aperture=1e4)
    for _ in range(3):
        space.observe(100 * torch.eye(4)[:2])
        space.consolidate()
    assert space.rank == 2 and space.shares.isfinite().all() and space.odds.isfinite().all()
    fresh = ConceptorSubspace(4)
    fresh.load_state_dict(space.state_dict())
    assert torch.equal(fresh.project(torch.ones(1, 4)), space.project(torch.ones(1, 4)))


def test_a_threshold_that_rounding_cannot_reach_ends_the_search():
    space = ConceptorSubspace(4, threshold=1 - 1e-15)
    space.observe(randn(20, 4) * torch.tensor([1.0, 1.0, 1.0, 2e-7]))
    space.consolidate()
    assert space.rank == 3 and float(space.shares.min()) > 0.999


def test_inputs_without_energy_hold_nothing():
    space = ConceptorSubspace(4)
    for rows in (torch.zeros(3, 4), torch.eye(4)[:2], torch.zeros(3, 4)):
        space.observe(rows)
        space.consolidate()
    assert space.rank == 2 and not space.exact
    with pytest.raises(ValueError, match="no rows were observed"):
        space.consolidate()


@pytest.mark.parametrize(
    ("key", "value"), [("aperture", 0), ("threshold", 1), ("threshold", 0), ("cut", 1), ("cut", -1)]
)
def test_options_out_of_range(key, value):
    with pytest.raises(UserError, match=f"^{key}: input should be"):
        ConceptorSubspace(4, **{key: value})
