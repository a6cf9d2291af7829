"""Patterns that are nearly parallel, as those of deep networks without training: every measure beside float64."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from orthotrace.analysis import rdm, similarity
from orthotrace.analysis.rdm import compare, patterns, rounding
from orthotrace.analysis.rdm.whitened import crossnobis, mahalanobis

# Smooth, as images are: networks agree on some of their differences.
IMAGES = interpolate(torch.rand(40, 3, 3, 3, generator=torch.Generator().manual_seed(0)), (12, 12), mode="bilinear")


def mlp(depth=12, width=64):
    layers, before = [nn.Flatten()], 432
    for _ in range(depth):
        layers += [nn.Linear(before, width), nn.ReLU()]
        before = width
    return nn.Sequential(*layers)


def cnn():
    layers, before = [], 3
    for width, stride in ((16, 1), (16, 1), (16, 2), (32, 1), (32, 1), (32, 2), (32, 1), (32, 1), (10, 1)):
        layers += [nn.Conv2d(before, width, 3, stride, 1), nn.ReLU()]
        before = width
    return nn.Sequential(*layers)


def read(make, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        return make()(IMAGES).flatten(1)


def clusters(seed):
    """Four groups, nearly parallel within: blocks by rows have pairs of both kinds."""
    g = torch.Generator().manual_seed(seed)
    shared = torch.Generator().manual_seed(9)
    own = torch.randn(40, 200, generator=shared) + 0.5 * torch.randn(40, 200, generator=g)
    return torch.randn(4, 200, generator=shared).repeat_interleave(10, 0) + 1e-4 * own


MADE = {
    "mlp": lambda seed: read(mlp, seed),
    "cnn": lambda seed: read(cnn, seed),
    "early": lambda seed: read(lambda: mlp(1, 300), seed),
    "clusters": clusters,
    "one outlier": lambda seed: torch.cat(
        [read(mlp, seed)[1:], torch.randn(1, 64, generator=torch.Generator().manual_seed(seed))]
    ),
}


@pytest.fixture(scope="module", params=MADE)
def pair(request):
    return [MADE[request.param](seed) for seed in (0, 1)]


@pytest.fixture
def float32(monkeypatch):
    """Products in float32, as of large arrays."""
    monkeypatch.setattr(patterns, "LARGE", 0)


def consistency(measure, pair):
    stack = np.stack([measure(one) for one in pair])
    return float(compare.squared_pearson(stack)[0, 1]), float(compare.spearman(stack)[0, 1])


@pytest.mark.parametrize("name", rdm.MEASURES)
def test_consistency_is_that_of_float64(pair, float32, name):
    measure = rdm.MEASURES[name]
    found = consistency(measure, pair)
    right = consistency(measure, [one.double() for one in pair])
    # Where next to nothing is shared, beside 1.
    assert found[0] == pytest.approx(right[0], rel=1e-6, abs=1e-9)
    assert found[1] == pytest.approx(right[1], abs=1e-4)


def exact(x, centre):
    """1 - cosine by differences of long doubles, pair by pair."""
    x = x.double().numpy().astype(np.longdouble)
    x = x - x.mean(axis=1, keepdims=True) if centre else x
    x = x / np.sqrt((x * x).sum(axis=1, keepdims=True))
    return np.array([((x[i] - x[j]) ** 2).sum() / 2 for i in range(len(x)) for j in range(i + 1, len(x))])


@pytest.mark.parametrize(("measure", "centre"), [(rdm.correlation, True), (rdm.cosine, False)])
@pytest.mark.parametrize("closeness", [1e-3, 1e-6, 1e-9])
def test_every_entry_keeps_its_digits_in_float64(measure, centre, closeness):
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.standard_normal(30) + closeness * rng.standard_normal((300, 30)))
    # More than one block of rows; lengths differ.
    x *= torch.from_numpy(rng.uniform(0.5, 2, (300, 1)))
    assert np.allclose(measure(x), exact(x, centre), rtol=1e-5 if closeness < 1e-8 else 1e-8, atol=0)


@pytest.mark.parametrize(("measure", "centre"), [(rdm.correlation, True), (rdm.cosine, False)])
def test_a_few_near_pairs_keep_their_digits_too(measure, centre):
    """Among patterns that are far apart they are computed one by one, each with its own mean and length."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((300, 30))
    x[7] = x[290] + 1e-6 * rng.standard_normal(30)
    x = rng.uniform(0.5, 2, (300, 1)) * (x + (rng.uniform(-3, 3, (300, 1)) if centre else 0.0))
    x = torch.from_numpy(x)
    assert np.allclose(measure(x), exact(x, centre), rtol=1e-8, atol=0)


@pytest.mark.parametrize(("measure", "centre"), [(rdm.correlation, True), (rdm.cosine, False)])
def test_twins_among_near_patterns_keep_their_digits_too(measure, centre):
    """Also what the patterns leave over without their common mean has pairs that nearly agree."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal(30) + 1e-3 * rng.standard_normal((300, 30))
    x[290] = x[270] + 1e-9 * rng.standard_normal(30)
    x = torch.from_numpy(x)
    assert np.allclose(measure(x), exact(x, centre), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", similarity.MEASURES)
def test_similarity_is_that_of_float64(pair, float32, name):
    measure = similarity.MEASURES[name]
    options = {"neighbours": 5} if "knn" in name or "cknna" in name else {}
    # Of fewer features than stimuli, where a measure needs it.
    few = name in ("cca", "cca_squared", "pwcca", "pwcca_mean", "regression")
    given = [one[:, -10:] if few else one for one in pair]
    try:
        right = measure(*(one.double() for one in given), **options)
    except rdm.dissimilarity.UserError:
        pytest.xfail("undefined for these")
    assert measure(*given, **options) == pytest.approx(right, rel=1e-6)


def test_what_nothing_is_parallel_of_is_not_computed_again(float32, monkeypatch):
    def no_more(*given, **options):
        raise AssertionError("computed again")

    monkeypatch.setattr(rounding.WidePatterns, "of", no_more)
    x = torch.randn(60, 2000, generator=torch.Generator().manual_seed(0))
    x[1] = x[0] + torch.randn(2000, generator=torch.Generator().manual_seed(1))
    for measure in (rdm.correlation, rdm.cosine, rdm.euclidean, rdm.unit_euclidean):
        measure(x)
        measure(x.double())


def test_only_the_blocks_concerned_are_computed_again(float32, monkeypatch):
    monkeypatch.setattr(rounding, "ROWS", 10)
    x = torch.randn(40, 2000, generator=torch.Generator().manual_seed(0))
    x[10:20] = x[10] + 1e-4 * x[10:20]
    right = rdm.correlation(x.double())
    seen = []
    differences = rounding.WidePatterns.squared_differences

    def counted(self, rows, columns):
        seen.append(len(rows))
        return differences(self, rows, columns)

    monkeypatch.setattr(rounding.WidePatterns, "squared_differences", counted)
    found = rdm.RDMs(rdm.correlation(x)).matrices()[0]
    rest = np.ones((40, 40), dtype=bool)
    rest[10:20, 10:20] = False
    right = rdm.RDMs(right).matrices()[0]
    assert np.allclose(found[~rest], right[~rest], rtol=1e-9, atol=0)
    # The others are as float32 gave them.
    assert 1e-12 < np.abs(found - right)[rest].max() < 1e-6
    # The block is by its products, and what is still too near by differences: at most its own pairs.
    assert sum(seen) <= 45 + 15


@pytest.mark.parametrize("shift", [1e4, 1e7])
def test_a_large_mean_takes_no_digits(shift):
    rng = np.random.default_rng(2)
    small = np.round(rng.standard_normal((12, 9)) * 2**20) / 2**20
    conditions, folds, precision = np.arange(12) // 3, np.arange(12) % 3, np.diag(rng.uniform(0.5, 2, 9))
    own = {0: precision, 1: np.eye(9), 2: 2 * precision}
    for call in (
        lambda x: mahalanobis(x, precision),
        lambda x: mahalanobis(x, own, folds=folds),
        lambda x: crossnobis(x, conditions, folds),
        lambda x: crossnobis(x, conditions, folds, own),
        rdm.euclidean,
    ):
        right = call(small)
        assert np.allclose(call(small + shift), right, rtol=0, atol=1e-8 * np.abs(right).max())


@pytest.mark.parametrize("name", ["correlation", "cosine", "unit_euclidean"])
def test_missing_channels_of_parallel_patterns(name):
    rng = np.random.default_rng(3)
    x = rng.standard_normal(30) + 1e-6 * rng.standard_normal((8, 30))
    gaps = np.hstack([x, np.full((8, 1), 1.0)])
    gaps[:, -1] = np.nan
    gaps[0, -1] = 1.0
    assert np.allclose(rdm.MEASURES[name](gaps, missing=True), rdm.MEASURES[name](x), rtol=1e-6, atol=0)
