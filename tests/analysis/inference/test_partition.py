import itertools

import numpy as np
import pytest

from orthotrace.analysis.inference import variance_partition
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(3)
MODELS = RNG.random((4, 66))
DATA = MODELS[:2].sum(0) + MODELS[1] * MODELS[3] + RNG.random((3, 66))


def explained(y, models):
    """R^2 by the normal equations, in quadruple steps: a dense solution of its own."""
    x = np.column_stack([np.ones(len(y)), *models]).astype(np.longdouble)
    a, b = (x.T @ x), x.T @ y.astype(np.longdouble)
    for i in range(len(a)):
        for j in range(len(a)):
            if i != j:
                factor = a[j, i] / a[i, i]
                a[j], b[j] = a[j] - factor * a[i], b[j] - factor * b[i]
    rest = y - x @ (b / np.diag(a))
    return 1 - (rest @ rest) / ((y - y.mean()) @ (y - y.mean()))


def test_against_a_dense_oracle():
    names = list("abcd")
    found = variance_partition(DATA, MODELS, names)
    # The parts are the solution of one linear system: a row for each set of models, a column for each part.
    sets = [kept for size in range(1, 5) for kept in itertools.combinations(range(4), size)]
    system = np.array([[float(bool(set(one) & set(part))) for part in sets] for one in sets])
    for number, y in enumerate(DATA):
        right = np.linalg.solve(system, np.array([float(explained(y, MODELS[list(one)])) for one in sets]))
        mine = [found.shares[tuple(names[place] for place in part)][number] for part in sets]
        assert np.allclose(mine, right, rtol=0, atol=1e-10)
        assert found.total[number] == pytest.approx(sum(right), abs=1e-10)


def test_models_without_a_correlation_share_nothing():
    basis = np.linalg.qr(np.column_stack([np.ones(66), RNG.random((66, 3))]))[0][:, 1:].T
    y = 3 * basis[0] + 2 * basis[1] + basis[2]
    found = variance_partition(y[None], basis[:2], ["a", "b"])
    assert found.unique["a"][0] == pytest.approx(9 / 14) and found.unique["b"][0] == pytest.approx(4 / 14)
    assert found.shares["a", "b"][0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("models", "names", "line"),
    [
        (RNG.random((11, 66)), None, "at most 10 models"),
        (MODELS, ["a", "b", "c"], "one name of each of the 4"),
        (MODELS, ["a", "b", "c", "a"], "no two the same"),
    ],
)
def test_names_and_numbers_of_models(models, names, line):
    with pytest.raises(UserError, match=line):
        variance_partition(DATA, models, names)
