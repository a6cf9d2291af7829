"""Dissimilarities between runs, against loops."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from orthotrace.analysis.rdm import RDMs, mahalanobis
from orthotrace.analysis.rdm.between import cross_run, split_half
from orthotrace.analysis.rdm.dissimilarity import MEASURES
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((5, 8)), RNG.standard_normal((4, 8))
P = (lambda a: a @ a.T)(RNG.standard_normal((8, 12)))
Q = (lambda a: a @ a.T)(RNG.standard_normal((8, 12)))


def one(name, a, b):
    return MEASURES[name](np.stack([a, b, a + np.arange(8)]))[0]


@pytest.mark.parametrize("name", MEASURES)
def test_every_pattern_of_one_run_with_every_pattern_of_the_other(name):
    found = cross_run(X, Y, name)
    assert np.allclose(found, [[one(name, a, b) for b in Y] for a in X], rtol=1e-10, atol=1e-10)
    assert np.allclose(cross_run(Y, X, name), found.T, rtol=1e-10, atol=1e-10)
    assert np.allclose(cross_run(X[:1], Y[:1], name), found[:1, :1], rtol=1e-10, atol=1e-10)
    # Beside itself, a run has the RDM.
    assert np.allclose(cross_run(X, X, name), RDMs(MEASURES[name](X)).matrices()[0], atol=1e-7)
    assert np.array_equal(cross_run(torch.tensor(X).reshape(5, 2, 4), Y.tolist(), name), found)


def test_reliable_conditions_are_near_themselves():
    truth = 5 * RNG.standard_normal((6, 40))
    first, second = (truth + RNG.standard_normal(truth.shape) for _ in range(2))
    found = cross_run(first, second)
    assert (np.diag(found) < 0.15).all() and found[~np.eye(6, dtype=bool)].min() > 0.4


CONDITIONS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 3])
FOLDS = np.array(["a"] * 6 + ["b"] * 3 + ["c"] * 3)
Z = RNG.standard_normal((12, 8))


def by_loops(x, distance):
    total, number = np.zeros((4, 4)), np.zeros((4, 4))
    for f, g in itertools.permutations("abc", 2):
        for i, j in np.ndindex(4, 4):
            a, b = x[(f == FOLDS) & (i == CONDITIONS)], x[(g == FOLDS) & (j == CONDITIONS)]
            if len(a) and len(b):
                total[i, j] += distance(np.nanmean(a, 0), np.nanmean(b, 0), f, g)
                number[i, j] += 1
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


@pytest.mark.parametrize("name", MEASURES)
def test_conditions_between_folds_some_of_which_lack_some(name):
    found = split_half(Z, CONDITIONS, FOLDS, name)
    right = by_loops(Z, lambda a, b, f, g: one(name, a, b))
    assert np.allclose(found, right, rtol=1e-10, atol=1e-10, equal_nan=True)
    assert np.array_equal(found, found.T, equal_nan=True)
    # The last condition is in one fold: it has no reliability.
    assert np.argwhere(np.isnan(found)).tolist() == [[3, 3]]


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_between_folds_with_their_own_noise_and_missing_channels():
    precisions = {"a": P, "b": Q, "c": P + Q}

    def distance(a, b, f, g):
        p = np.linalg.inv((np.linalg.inv(precisions[f]) + np.linalg.inv(precisions[g])) / 2)
        return (a - b) @ p @ (a - b) / 8

    found = split_half(Z, CONDITIONS, FOLDS, mahalanobis, precision=precisions)
    assert np.allclose(found, by_loops(Z, distance), rtol=1e-10, equal_nan=True)
    gaps = Z.copy()
    gaps[[0, 7], [1, 3]] = np.nan
    found = split_half(gaps, CONDITIONS, FOLDS, "squared_euclidean", missing=True)

    def shared(a, b, f, g):
        both = ~np.isnan(a) & ~np.isnan(b)
        return ((a - b)[both] ** 2).sum() * 8 / both.sum()

    assert np.allclose(found, by_loops(gaps, shared), rtol=1e-10, equal_nan=True)
    with pytest.raises(UserError, match="measurements: .* is not finite"):
        split_half(gaps, CONDITIONS, FOLDS)


FRAME = pd.DataFrame(X, index=list("abcde"))
BAD = {
    "features": (lambda: cross_run(X, Y[:, :5]), "second: patterns of one number of features are needed, got 8 and 5"),
    "order": (lambda: cross_run(FRAME, FRAME.iloc[::-1]), "second: its index is not that of first"),
    "constant": (lambda: cross_run(X, np.ones((4, 8))), "second: the pattern of stimulus 0 is constant"),
    "constant first": (lambda: cross_run(np.ones((4, 8)), Y), "first: the pattern of stimulus 0 is constant"),
    "measure": (lambda: cross_run(X, Y, "euclidan"), "there is no measure 'euclidan'"),
    "one fold": (lambda: split_half(Z, CONDITIONS, [0] * 12), "two conditions and two folds are needed"),
    "labels": (lambda: split_half(Z, CONDITIONS[:-1], FOLDS), "conditions: 12 measurements and labels of shape"),
    "precision": (
        lambda: split_half(Z, CONDITIONS, FOLDS, mahalanobis, precision={"a": P, "b": Q}), "none of fold 'c'"
    ),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_refused_by_name(bad):
    call, line = BAD[bad]
    with pytest.raises(UserError, match=line):
        call()


def test_frames_of_other_conditions_are_taken():
    other = pd.DataFrame(X, index=list("vwxyz"))
    assert np.array_equal(cross_run(FRAME, other), cross_run(X, X))
