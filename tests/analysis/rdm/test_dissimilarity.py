import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from orthotrace.analysis.rdm.dissimilarity import (
    MEASURES,
    cityblock,
    correlation,
    cosine,
    custom,
    euclidean,
    norm_difference,
    squared_euclidean,
    unit_euclidean,
)
from orthotrace.core.errors import UserError

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
    (X[:2], "at least 3 stimuli"),
    (X[0], "at least 3 stimuli"),
    (np.where(np.arange(30)[:, None] == 7, 3.3, X), "stimulus 7 is constant"),
    (np.where(np.arange(30)[:, None] == 4, 0.0, X), "stimulus 4 is constant"),
    (np.where(np.arange(30)[:, None] == 5, np.nan, X), "stimulus 5 is not finite"),
    (X[:, :1], "2 features"),
    (X[:, :0], "2 features"),
    (X + 1j, "real numbers"),
    (torch.tensor(X + 1j), "real numbers"),
    ([["a", "b"]] * 3, "real numbers"),
]


@pytest.mark.parametrize(("patterns", "line"), BAD)
def test_patterns_without_a_correlation_are_named(patterns, line):
    with pytest.raises(UserError, match=line):
        correlation(patterns)


@pytest.mark.parametrize("kind", [bool, np.int64, np.uint8])
def test_patterns_of_whole_numbers(kind):
    values = (X > 0).astype(kind)
    assert np.allclose(correlation(values), pdist(values.astype(float), "correlation"), atol=1e-12)
    assert np.allclose(correlation(torch.tensor(values)), correlation(values))


def unit(a):
    return a / np.linalg.norm(a)


# Each measure of two patterns, written down anew.
NAIVE = {
    correlation: lambda a, b: 1 - np.corrcoef(a, b)[0, 1],
    cosine: lambda a, b: 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b),
    euclidean: lambda a, b: np.linalg.norm(a - b),
    squared_euclidean: lambda a, b: sum((one - other) ** 2 for one, other in zip(a, b, strict=True)),
    unit_euclidean: lambda a, b: np.linalg.norm(unit(a) - unit(b)),
    norm_difference: lambda a, b: abs(np.linalg.norm(a) - np.linalg.norm(b)),
    cityblock: lambda a, b: np.abs(a - b).sum(),
}


def naive(measure, x):
    return np.array([measure(x[i], x[j]) for i in range(len(x)) for j in range(i + 1, len(x))])


def test_every_measure_has_its_oracle():
    assert set(MEASURES.values()) == set(NAIVE)


@pytest.mark.parametrize("block", [3, 10_000])
@pytest.mark.parametrize("measure", NAIVE, ids=lambda measure: measure.__name__)
def test_against_a_naive_loop(measure, block):
    options = {} if measure is cityblock else {"block": block}
    found = measure(X.reshape(30, 5, 8), **options)
    assert np.allclose(found, naive(NAIVE[measure], X), rtol=1e-10, atol=1e-10)
    single = measure(torch.tensor(X, dtype=torch.float32), **options)
    assert np.allclose(single, found, atol=1e-5 * found.max())
    assert np.allclose(custom(X, NAIVE[measure]), found, atol=1e-10)


@pytest.mark.parametrize("measure", [euclidean, squared_euclidean])
def test_stimuli_that_are_nearly_the_same(measure):
    x = 1000 + 1e-3 * RNG.standard_normal((6, 50))
    assert np.allclose(measure(x), naive(NAIVE[measure], x), rtol=1e-7)
    x[1] = x[0]
    assert measure(x)[0] == 0 or measure(x)[0] < 1e-8


@pytest.mark.parametrize("scale", [1e-150, 1e150])
@pytest.mark.parametrize("measure", [cosine, unit_euclidean, euclidean, norm_difference])
def test_the_scale_of_the_patterns(measure, scale):
    factor = scale if measure in (euclidean, norm_difference) else 1
    assert np.allclose(measure(scale * X) / factor, measure(X), rtol=1e-9)


@pytest.mark.parametrize("value", [1e-30, 1e-3, 3.3, 1e7, 1e20])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_constant_pattern_of_any_size_is_told(value, kind):
    x = (value * X).astype(kind)
    x[2] = value / 3
    with pytest.raises(UserError, match="stimulus 2 is constant"):
        correlation(x)
    # A pattern that varies little about a large mean is not constant.
    x = X + 1e6
    assert np.allclose(correlation(x), naive(NAIVE[correlation], x), atol=1e-8)


def test_a_pattern_of_zeros_has_no_direction():
    x = X.copy()
    x[3] = 0
    for measure in (cosine, unit_euclidean):
        with pytest.raises(UserError, match="stimulus 3 is zero"):
            measure(x)
    assert np.isfinite(euclidean(x)).all()


def test_a_distance_that_is_no_number_is_named():
    with pytest.raises(UserError, match="the distance of stimuli 0 and 2 is nan"):
        custom(X[:3], lambda a, b: np.nan if np.array_equal(b, X[2]) else 1.0)


@pytest.mark.parametrize("scale", [1e-170, 1e-30, 1e30, 1e200])
def test_lengths_of_any_size(scale):
    assert np.allclose(euclidean(X * scale) / scale, euclidean(X), rtol=1e-9)
    for measure in (correlation, cosine, unit_euclidean):
        assert np.allclose(measure(X * scale), measure(X), atol=1e-9)
    if not 1e-100 < scale < 1e100:
        with pytest.raises(UserError, match="overflow or underflow"):
            squared_euclidean(X * scale)


@pytest.mark.parametrize("kind", [">f4", ">f8", np.longdouble, bool])
def test_arrays_of_all_kinds(kind):
    given = (X > 1).astype(kind) if kind is bool else X.astype(kind)
    assert np.allclose(correlation(given[::-1]), pdist(given[::-1].astype(float), "correlation"), atol=1e-5)


def test_an_array_that_may_not_be_written_is_read_without_a_warning():
    given = X.copy()
    given.flags.writeable = False
    assert np.allclose(correlation(given), correlation(X))
