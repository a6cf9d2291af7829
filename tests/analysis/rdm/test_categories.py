import itertools

import numpy as np
import pytest
import torch

from orthotrace.analysis.rdm.categories import centroids, clustering_index
from orthotrace.analysis.rdm.dissimilarity import euclidean
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
LABELS = np.array(["b", "a", "c", "a", "b", "b", "c"])
X = RNG.standard_normal((7, 2, 3))


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_centroids_are_means(kind):
    found = centroids(kind(X), LABELS)
    expected = np.stack([X[label == LABELS].mean(0).ravel() for label in "abc"])
    assert np.allclose(found, expected, atol=1e-12)
    assert np.allclose(centroids(kind(X), np.searchsorted(list("abc"), LABELS)), expected, atol=1e-12)


def test_the_index_against_a_loop():
    distances = euclidean(X)
    within, between = [], []
    for value, (i, j) in zip(distances, itertools.combinations(range(7), 2), strict=True):
        (within if LABELS[i] == LABELS[j] else between).append(value)
    expected = (np.mean(between) - np.mean(within)) / (np.mean(between) + np.mean(within))
    assert clustering_index(distances, LABELS) == pytest.approx(expected, abs=1e-12)
    assert clustering_index(7.5 * distances, LABELS) == pytest.approx(expected, abs=1e-12)


def test_perfect_and_absent_clusters():
    points = np.repeat(np.eye(3), 2, axis=0)
    assert clustering_index(euclidean(points), np.repeat(np.arange(3), 2)) == 1
    assert clustering_index(np.ones(15), np.repeat(np.arange(3), 2)) == 0


BAD = {
    "labels": (lambda: centroids(X, LABELS[:5]), r"7 stimuli and labels of shape \(5,\)"),
    "two": (lambda: centroids(X, np.arange(7) % 2), "at least 3 categories"),
    "one": (lambda: clustering_index(np.ones(3), [1, 1, 1]), "at least 2 categories"),
    "alone": (lambda: clustering_index(np.ones(3), [1, 2, 3]), "no category has two stimuli"),
    "zeros": (lambda: clustering_index(np.zeros(3), [1, 1, 2]), "all dissimilarities are 0"),
    "below 0": (
        lambda: clustering_index([1.0, -1.0, 2.0], [1, 1, 2]),
        "rdm: dissimilarities of at least 0 are needed, got -1",
    ),
    "NaN": (lambda: clustering_index([1.0, np.nan, 2.0], [1, 1, 2]), "finite"),
    "stack": (lambda: clustering_index(np.ones((2, 3)), [1, 1, 2]), r"shape \(2, 3\)"),
}


@pytest.mark.parametrize("bad", BAD)
def test_refused_by_name(bad):
    call, line = BAD[bad]
    with pytest.raises(UserError, match=line):
        call()
