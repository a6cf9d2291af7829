import numpy as np
import pytest
import statistics_cases as naive

from orthotrace.analysis.similarity import cknna, mutual_knn
from orthotrace.analysis.similarity.invariances import check
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(5)
X = RNG.standard_normal((25, 6))
Y = X @ RNG.standard_normal((6, 9)) + RNG.standard_normal((25, 9))


@pytest.mark.parametrize("neighbours", [1, 4, 10, 23])
def test_against_naive_loops(neighbours):
    assert mutual_knn(X, Y, neighbours) == pytest.approx(float(naive.mutual_knn(X, Y, neighbours)), abs=1e-14)
    assert cknna(X, Y, neighbours) == pytest.approx(float(naive.cknna(X, Y, neighbours)), abs=1e-13)


@pytest.mark.parametrize("measure", [mutual_knn, cknna])
def test_declarations_hold(measure):
    check(measure)


def test_of_those_that_are_as_near_the_first_counts():
    # Stimulus 0 has 1, 2 and 3 at the same angle.
    one = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, -1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    other = one.copy()
    other[1] = [5.0, 1.0, 0.0]
    assert mutual_knn(one, other, 1) == mutual_knn(2 * one, other, 1) == 1.0
    # Another order of the same patterns, another first.
    last = np.array([4, 3, 2, 1, 0])
    from orthotrace.analysis.similarity.neighbours import _distances, _nearest

    for given, first in ((one, 1), (one[last], 1)):
        row = _nearest(_distances(given, given, 1)[0], 1)[0 if given is one else 4]
        assert np.flatnonzero(row).tolist() == [first]


def test_patterns_that_are_nearly_parallel_keep_their_neighbours():
    base = RNG.standard_normal(6)
    near = base + 1e-9 * X
    steps = near - base
    # The angle is by the part across the common direction.
    across = steps - np.outer(steps @ base / (base @ base), base)
    apart = ((across[:, None] - across[None]) ** 2).sum(-1) + np.diag(np.full(25, np.inf))
    right = np.argsort(apart, axis=1)[:, :3]
    from orthotrace.analysis.similarity.neighbours import _distances, _nearest

    found = _nearest(_distances(near, near, 3)[0], 3)
    assert all(set(row) == set(np.flatnonzero(one)) for row, one in zip(right, found, strict=True))


@pytest.mark.parametrize("measure", [mutual_knn, cknna])
@pytest.mark.parametrize("neighbours", [0, 24, 1.5, "3"])
def test_a_number_of_neighbours_that_there_is_not(measure, neighbours):
    with pytest.raises(UserError, match="neighbours from 1 to 23 of 25 stimuli"):
        measure(X, Y, neighbours)


@pytest.mark.parametrize("measure", [mutual_knn, cknna])
def test_patterns_without_a_direction(measure):
    with pytest.raises(UserError, match="stimulus 3 is zero"):
        measure(np.where(np.arange(25)[:, None] == 3, 0, X), Y)
    with pytest.raises(UserError, match="the first has 24, the second 25"):
        measure(X[:24], Y)
