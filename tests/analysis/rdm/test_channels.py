"""Patterns with missing channels, against a loop over pairs by the channels that both have."""

import numpy as np
import pytest
import torch

from orthotrace.analysis import rdm
from orthotrace.analysis.rdm import channels
from orthotrace.analysis.rdm.dissimilarity import MEASURES
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((9, 12)) + 0.5
GAPS = np.where(RNG.random(X.shape) < 0.3, np.nan, X)
GAPS[4] = X[4]
# The number of channels over that of shared ones, for sums; its root, for lengths.
SCALE = {"squared_euclidean": 1.0, "cityblock": 1.0, "euclidean": 0.5, "norm_difference": 0.5}


def naive(name, x):
    found = []
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            both = ~np.isnan(x[i]) & ~np.isnan(x[j])
            # A third stimulus, which no measure of pairs looks at.
            part = np.stack([x[i, both], x[j, both], np.arange(both.sum()) ** 2 + 1.0])
            value = MEASURES[name](part)[0] if both.sum() > 1 else np.nan
            found.append(value * (x.shape[1] / both.sum()) ** SCALE.get(name, 0))
    return np.array(found)


def test_every_measure_takes_missing_channels():
    assert set(MEASURES) == set(channels.SCORES)


@pytest.mark.parametrize("entries", [2**20, 30])
@pytest.mark.parametrize("name", MEASURES)
def test_by_the_channels_that_both_have(name, entries, monkeypatch):
    monkeypatch.setattr(channels, "ENTRIES", entries)
    found = MEASURES[name](GAPS, missing=True)
    assert np.allclose(found, naive(name, GAPS), rtol=1e-10, atol=1e-10)
    masked = np.ma.masked_invalid(GAPS)
    assert np.array_equal(MEASURES[name](masked, missing=True), found)
    assert np.array_equal(MEASURES[name](torch.tensor(GAPS).reshape(9, 3, 4), missing=True), found)
    # What is not missing is as it was, and missing channels are asked for.
    assert np.array_equal(MEASURES[name](X, missing=True), MEASURES[name](X))
    with pytest.raises(UserError, match=r"stimulus \d is not finite|masked"):
        MEASURES[name](GAPS)


def test_distances_of_patterns_that_miss_channels_at_random_are_those_of_the_whole_on_average():
    x = np.random.default_rng(1).standard_normal((2, 4000))
    x = np.vstack([x, x[0] + 1])
    holes = np.where(np.random.default_rng(2).random(x.shape) < 0.5, np.nan, x)
    for name in ("squared_euclidean", "euclidean", "cityblock"):
        assert np.allclose(MEASURES[name](holes, missing=True), MEASURES[name](x), rtol=0.1)
    per_feature = rdm.squared_euclidean(holes, per_feature=True, missing=True)
    assert np.allclose(per_feature, rdm.squared_euclidean(holes, missing=True) / 4000)


@pytest.mark.parametrize("scale", [1e-170, 1e-30, 1e30, 1e200])
@pytest.mark.parametrize("name", MEASURES)
def test_patterns_of_any_size(name, scale):
    power = {"squared_euclidean": 2, "euclidean": 1, "cityblock": 1, "norm_difference": 1}.get(name, 0)
    if power == 2 and not 1e-100 < scale < 1e100:
        with pytest.raises(UserError, match="overflow or underflow"):
            MEASURES[name](GAPS * scale, missing=True)
        return
    right = MEASURES[name](GAPS, missing=True)
    assert np.allclose(MEASURES[name](GAPS * scale, missing=True) / scale**power, right, rtol=1e-9, atol=1e-12)


NOTHING = np.array([[1.0, 2.0, 4.0, np.nan], [3.0, 1.0, np.nan, np.nan], [np.nan, np.nan, np.nan, 5.0], [2.0, 2, 7, 1]])


def test_what_two_patterns_do_not_share_is_missing():
    for name in MEASURES:
        found = MEASURES[name](NOTHING, missing=True)
        # The third has no channel of the first two; alone with the fourth in one, it has no correlation.
        assert np.isnan(found[[1, 3]]).all() and np.isnan(found[5]) == (name == "correlation")
        assert np.isfinite(found[0])
        # The fourth is constant in the channels of the second.
        assert np.isnan(found[4]) == (name == "correlation")
        with pytest.raises(UserError, match="no two patterns can be compared"):
            MEASURES[name](np.where(np.eye(3) > 0, 1.0, np.nan), missing=True)
    found = rdm.RDMs.of({"one": NOTHING, "whole": X[:4]}, "correlation", missing=True)
    assert np.isnan(found.dissimilarities).sum(1).tolist() == [4, 0] and "4 entries missing" in repr(found)


def test_a_measure_of_ones_own_sees_shared_channels():
    found = rdm.custom(NOTHING, lambda a, b: len(a), missing=True)
    assert np.array_equal(found, [2, np.nan, 3, np.nan, 2, 1], equal_nan=True)
    with pytest.raises(UserError, match="no two patterns"):
        rdm.custom(np.where(np.eye(3) > 0, 1.0, np.nan), lambda a, b: 1.0, missing=True)
    with pytest.raises(UserError, match="distance of stimuli 1 and 3 is nan"):
        rdm.custom(NOTHING, lambda a, b: np.nan if b[0] == 2 and len(a) == 2 else 1.0, missing=True)


def test_rdms_with_missing_entries_have_means():
    found = rdm.RDMs([[1.0, np.nan, 3.0], [3.0, np.nan, np.nan]]).mean()
    assert np.array_equal(found.dissimilarities, [[2, np.nan, 3]], equal_nan=True)
