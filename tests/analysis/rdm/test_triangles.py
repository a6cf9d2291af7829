import numpy as np
import pytest
from scipy.stats import rankdata

from orthotrace.analysis.rdm.triangles import ranks, square, stimuli_of
from orthotrace.core.errors import UserError


@pytest.mark.parametrize("n", [2, 3, 40])
def test_square_and_its_side(n):
    vector = np.random.default_rng(n).random(n * (n - 1) // 2)
    matrix = square(vector)
    assert stimuli_of(len(vector)) == n == len(matrix)
    assert np.array_equal(matrix, matrix.T) and not matrix.diagonal().any()
    assert np.array_equal(matrix[np.triu_indices(n, 1)], vector)


def test_no_triangle():
    with pytest.raises(UserError, match="64 entries are no upper triangle"):
        stimuli_of(64)


RNG = np.random.default_rng(0)
RANKED = {
    "few numbers": RNG.standard_normal(100),
    "few levels": RNG.integers(3, size=5000).astype(float),
    "many levels": RNG.integers(10**9, size=5000).astype(float),
    "normal": RNG.standard_normal(20000),
    "float32": RNG.standard_normal(20000).astype(np.float32).astype(float),
    "one integer has a few different numbers": np.concatenate(
        [RNG.random(5000), [0.0, 1.0], 0.5 + RNG.permutation(12) * 2.0**-53]
    ),
    "several integers have": np.concatenate(
        [RNG.random(5000), [0.0, 1.0], *(at + RNG.integers(12, size=40) * 2.0**-53 for at in (0.25, 0.5, 0.75))]
    ),
    "one integer has many": np.concatenate([[-1e3, 1e3], 0.5 + RNG.permutation(5000) * 2.0**-53]),
    "less than half share a few": np.concatenate([1e3 * RNG.random(6000), 0.5 + RNG.permutation(3000) * 2.0**-53]),
    "two levels": RNG.integers(2, size=5000).astype(float),
    "near": 1 + RNG.standard_normal(5000) * 1e-14,
    "far apart": RNG.standard_normal(100) * 10.0 ** RNG.integers(-300, 300, 100),
    "a range that is no number": np.array([-1.7e308, 1.7e308, 0.0, 1.0]),
    "a range whose inverse is none": np.array([0.0, 5e-324, 1e-323, 5e-324]),
    "zeros of both signs": np.array([0.0, -0.0, 1.0, -1.0, 0.0]),
    "equal": np.ones(7),
    "one": np.array([3.0]),
}


@pytest.mark.parametrize("case", RANKED)
def test_ranks(case):
    one = RANKED[case]
    stack = np.stack([one, one[::-1], -one])
    assert np.array_equal(ranks(stack), rankdata(stack, axis=1))
    # Neither written to, nor asked to be.
    view = stack[::-1, ::-1]
    view.flags.writeable = False
    assert np.array_equal(ranks(view), rankdata(view, axis=1))
