import itertools

import numpy as np
import pytest
import torch

from orthotrace.analysis.concepts.axes import (
    axis_correlations,
    hit_at_k,
    percentiles,
    precision_at_k,
    ranks_of,
    separability,
    top_images,
    whiteness,
)
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 6)) + 1
HAS = RNG.random((30, 3)) < 0.5
ONE_EACH = np.eye(3, dtype=bool)[np.arange(30) % 3]


def mean_cosine(features, of, i, j, self_pairs):
    values = []
    for a, b in itertools.product(np.flatnonzero(of[:, i]), np.flatnonzero(of[:, j])):
        if a != b or self_pairs:
            values.append(features[a] @ features[b] / np.linalg.norm(features[a]) / np.linalg.norm(features[b]))
    return np.mean(values)


@pytest.mark.parametrize("has", [HAS, ONE_EACH], ids=["several concepts", "one concept"])
@pytest.mark.parametrize("self_pairs", [False, True])
@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_separability_against_a_loop_over_images(has, self_pairs, kind):
    d = np.array([[mean_cosine(X, has, i, j, self_pairs) for j in range(3)] for i in range(3)])
    q = np.array([[d[i, j] / np.sqrt(d[i, i] * d[j, j]) for j in range(3)] for i in range(3)])
    found = separability(kind(X), has, self_pairs)
    assert np.allclose(found.cosines, d, atol=1e-12) and np.allclose(found.normalised, q, atol=1e-12)
    pairs = list(itertools.combinations(range(3), 2))
    assert found.similarity == pytest.approx(np.mean([abs(q[pair]) for pair in pairs]))
    assert found.inter == pytest.approx(np.mean([abs(d[pair]) for pair in pairs]))
    assert found.intra == pytest.approx(np.trace(d) / 3)


def test_with_self_pairs_it_is_the_cosine_of_mean_unit_vectors():
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    means = np.stack([unit[of].mean(axis=0) for of in ONE_EACH.T])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert np.allclose(separability(X, ONE_EACH, self_pairs=True).normalised, means @ means.T, atol=1e-12)


def test_a_concept_whose_images_are_not_alike_has_no_separability():
    points = np.array([[1.0, 0], [1, 0.1], [0, 1], [0, -1], [0.2, 1], [0.1, 1]])
    found = separability(points, np.eye(3)[[0, 0, 1, 1, 2, 2]])
    assert found.cosines[1, 1] == -1 and np.isnan(found.normalised[1]).all() and np.isnan(found.normalised[:, 1]).all()
    assert found.normalised[0, 0] == pytest.approx(1) and np.isnan(found.similarity)
    assert found.intra == pytest.approx(np.trace(found.cosines) / 3)


def test_images_without_a_concept_may_be_dark():
    with_dark = np.vstack([X, np.zeros((2, 6))])
    found = separability(with_dark, np.vstack([ONE_EACH, np.zeros((2, 3), bool)]))
    # Sums over more images are added up in another order: rounding, not bits.
    assert np.allclose(found.cosines, separability(X, ONE_EACH).cosines, rtol=0, atol=1e-14)


def test_correlations_of_axes_of_any_scale():
    scaled = X * np.array([1, -1e-6, 1e6, 1, 1, 1]) + np.array([0, 0, 0, 1e3, 0, 0])
    found = axis_correlations(scaled)
    assert np.allclose(found, np.abs(np.corrcoef(scaled.T)), atol=1e-9) and (np.diag(found) == 1).all()


def test_a_constant_axis_has_no_correlation():
    found = axis_correlations(torch.tensor(np.where(np.arange(6) == 2, 0.1, X), dtype=torch.float32))
    nan = np.isnan(found)
    assert nan[2].all() and nan[:, 2].all() and nan.sum() == 11


def test_whiteness_is_zero_after_whitening():
    centred = X - X.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / 30)
    assert whiteness(centred @ vectors / np.sqrt(values)) < 1e-12
    expected = np.linalg.norm(np.cov(X.T, ddof=0) - np.eye(6)) / np.sqrt(6)
    assert whiteness(X) == pytest.approx(expected) and expected > 0.1


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_percentiles_count_the_others_below(kind):
    values = np.round(X[:, :2] * 2)
    expected = [
        [np.mean([(b < a) + 0.5 * (a == b) for k, b in enumerate(column) if k != i]) for i, a in enumerate(column)]
        for column in values.T
    ]
    assert np.allclose(percentiles(kind(values)).T, expected, atol=1e-12)


# Percentiles of these on axis 0: 1, 2/3, 1/3, 0; on axis 1: 0, 2/3, 1, 1/3; on axis 2, which is large, all 1/2.
SMALL = np.array([[4.0, 0.0, 99.0], [3.0, 0.2, 99.0], [2.0, 0.3, 99.0], [1.0, 0.1, 99.0]])
OF = np.array([[1, 0], [1, 1], [0, 1], [1, 0]], bool)


def test_ranks_by_hand():
    """Image 1 has axes 0 and 1 equal, above axis 2: both are at rank 1.5."""
    first, second = ranks_of(SMALL, OF)
    assert first.tolist() == [1, 1.5, 3] and second.tolist() == [1.5, 1]


@pytest.mark.parametrize(("k", "expected"), [(1, [1 / 3, 1 / 2]), (2, [2 / 3, 1]), (3, [1, 1])])
def test_hits_by_hand(k, expected):
    assert hit_at_k(SMALL, OF, k) == pytest.approx(expected)
    # No axis gains by its units.
    assert hit_at_k(SMALL * [1, 1e3, 1] + [0, 50, 0], OF, k) == pytest.approx(expected)


@pytest.mark.parametrize(("k", "expected"), [(1, [1, 1]), (3, [2 / 3, 2 / 3]), (4, [3 / 4, 1 / 2])])
def test_precision_by_hand(k, expected):
    assert precision_at_k(SMALL, OF, k) == pytest.approx(expected)


def test_top_images_highest_first_and_of_equals_the_first():
    assert top_images(SMALL, 3).tolist() == [[0, 1, 2], [2, 1, 3], [0, 1, 2]]


HOLE = np.where(np.arange(30)[:, None] == 4, np.nan, X)
BAD = {
    "maps": (lambda: axis_correlations(np.ones((4, 3, 2, 2))), r"reduced over positions, are needed, got shape \(4, 3"),
    "NaN": (lambda: separability(HOLE, HAS), "the pattern of stimulus 4 is not finite"),
    "infinite": (lambda: percentiles(HOLE * np.inf), "the pattern of stimulus 0 is not finite"),
    "one image": (lambda: whiteness(X[:1]), r"at least 2 stimuli are needed, got shape \(1, 6\)"),
    "text": (lambda: top_images([["a"], ["b"]]), "real numbers"),
    "one concept": (lambda: separability(X, HAS[:, :1]), r"at least two concepts are needed \(got 1\)"),
    "image of a concept": (lambda: separability(X[:4], ONE_EACH[:4]), "concept 1 has 1 images"),
    "dark": (lambda: separability(np.where(np.arange(30)[:, None] == 7, 0, X), ONE_EACH), "image 7 are all 0"),
    "number": (lambda: ranks_of(X, HAS[:5]), r"each of 30 images and each concept is needed, got shape \(5, 3\)"),
    "labels": (lambda: precision_at_k(X, 2 * HAS), "true or false"),
    "axes": (lambda: hit_at_k(X[:, :2], HAS), "an axis for each of 3 concepts is needed, got 2 axes"),
    "no images": (lambda: ranks_of(X, HAS & [True, False, True]), "no image has concept 1"),
    "k of axes": (lambda: hit_at_k(X, HAS, 7), r"a k from 1 to 6, the number of axes, is needed \(got 7\)"),
    "k of images": (lambda: precision_at_k(X, HAS, 31), r"a k from 1 to 30, the number of images"),
    "k of none": (lambda: top_images(X, 0), r"\(got 0\)"),
}


@pytest.mark.parametrize("bad", BAD)
def test_refused_by_name(bad):
    call, line = BAD[bad]
    with pytest.raises(UserError, match=line):
        call()
