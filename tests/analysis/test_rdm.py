import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from analysis.rdm import correlation, square

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 12)) @ RNG.standard_normal((12, 40)) + 1


@pytest.mark.parametrize("shape", [(30, 40), (30, 5, 8)])
@pytest.mark.parametrize("block", [1, 7, 40, 10_000])
def test_against_scipy(shape, block):
    assert np.allclose(correlation(X.reshape(shape), block), pdist(X, "correlation"), atol=1e-12)


def test_float32_and_tensors():
    assert np.allclose(correlation(torch.tensor(X, dtype=torch.float32)), pdist(X, "correlation"), atol=2e-6)
    assert np.allclose(correlation(X.tolist()), pdist(X, "correlation"), atol=1e-12)


def test_invariances_that_hold_and_one_that_does_not():
    base = correlation(X)
    assert np.allclose(correlation(X[:, RNG.permutation(40)]), base, atol=1e-12)
    assert np.allclose(correlation(X * RNG.uniform(1, 9, (30, 1)) + RNG.standard_normal((30, 1))), base, atol=1e-12)
    assert not np.allclose(correlation(X + RNG.standard_normal(40)), base, atol=1e-3)
    assert not np.allclose(correlation(X @ np.linalg.qr(RNG.standard_normal((40, 40)))[0]), base, atol=1e-3)


@pytest.mark.parametrize("scale", [1e-200, 1e-12, 1e12, 1e200])
def test_scale_changes_nothing(scale):
    assert np.allclose(correlation(scale * X), correlation(X), atol=1e-12)


BAD = [
    (X[:2], "at least three stimuli"),
    (X[0], "at least three stimuli"),
    (np.where(np.arange(30)[:, None] == 7, 3.3, X), "stimulus 7 is constant"),
    (np.where(np.arange(30)[:, None] == 4, 0.0, X), "stimulus 4 is constant"),
    (np.where(np.arange(30)[:, None] == 5, np.nan, X), "stimulus 5 is not finite"),
    (X[:, :1], "two features"),
    (X[:, :0], "two features"),
    (X + 1j, "real numbers"),
    (torch.tensor(X + 1j), "real numbers"),
    ([["a", "b"]] * 3, "real numbers"),
]


@pytest.mark.parametrize(("patterns", "line"), BAD)
def test_patterns_without_a_correlation_are_named(patterns, line):
    with pytest.raises(ValueError, match=line):
        correlation(patterns)


@pytest.mark.parametrize("kind", [bool, np.int64, np.uint8])
def test_patterns_of_whole_numbers(kind):
    values = (X > 0).astype(kind)
    assert np.allclose(correlation(values), pdist(values.astype(float), "correlation"), atol=1e-12)
    assert np.allclose(correlation(torch.tensor(values)), correlation(values))


def test_square():
    matrix = square(correlation(X))
    assert matrix.shape == (30, 30) and np.allclose(matrix, matrix.T) and not matrix.diagonal().any()
