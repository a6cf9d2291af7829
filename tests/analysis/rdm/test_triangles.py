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


@pytest.mark.parametrize("levels", [3, 10**9])
def test_ranks(levels):
    stack = np.random.default_rng(0).integers(levels, size=(4, 50)).astype(float)
    assert np.array_equal(ranks(stack), rankdata(stack, axis=1))
