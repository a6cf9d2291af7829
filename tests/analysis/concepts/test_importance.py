import numpy as np
import pytest
import torch
from torch import nn

from orthotrace.analysis.concepts.importance import importance
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3))
LABELS = np.array(["b", "a"])[(np.arange(40) < 10).astype(int)]
WEIGHTS = np.array([2.0, 1.0, 0.0])
TARGET = X @ WEIGHTS + 0.5


def squared(z):
    return (z @ WEIGHTS - TARGET) ** 2


def test_a_linear_model_against_all_pairs_of_images():
    """The loss of image i with axis j of image k is (w_j (x_kj - x_ij) - 0.5)^2."""
    found = importance(squared, X, [0, 1, 2], LABELS, repeats=400)
    moved = X[None] - X[:, None]
    pairs = (WEIGHTS * moved - 0.5) ** 2
    off = ~np.eye(40, dtype=bool)
    expected = pairs[off].mean(axis=0) / 0.25
    assert found.loss == pytest.approx(0.25)
    assert np.all(np.abs(found.ratio - expected) <= 4 * found.spread / 20 + 1e-12) and found.ratio[2] == 1
    assert found.classes == ("a", "b") and found.by_class.shape == (2, 3)
    for row, label in zip(found.by_class, found.classes, strict=True):
        mean = pairs[label == LABELS].sum(axis=(0, 1)) / ((label == LABELS).sum() * 39) / 0.25
        assert np.allclose(row, mean, rtol=0.05)


def test_two_images_are_exchanged():
    found = importance(lambda z: (z[:, 0] - X[:2, 0]) ** 2 + 1, X[:2], [0], repeats=3)
    assert found.ratio[0] == pytest.approx(1 + (X[0, 0] - X[1, 0]) ** 2) and found.spread[0] == pytest.approx(0)


@pytest.mark.parametrize("dim", [1, -1])
def test_whole_maps_move_and_the_features_stay(dim):
    """A loss that tells when the positions of an axis come from different images, or another axis moves."""
    maps = np.arange(6.0)[:, None, None] + np.zeros((6, 4, 4))
    seen = []

    def losses(z):
        seen.append(z.copy())
        return np.ones(6)

    importance(losses, maps, [2], repeats=2, dim=dim)
    for z in seen[1:]:
        one = np.moveaxis(z, dim, 1)
        assert (one[:, 2] == one[:, 2, :1]).all() and (one[:, 2, 0] != np.arange(6)).all()
        assert sorted(one[:, 2, 0]) == list(range(6)) and (np.delete(one, 2, 1) == np.arange(6)[:, None, None]).all()
    assert np.array_equal(seen[0], maps) and not np.array_equal(seen[1], seen[2])


def test_a_network_that_works_in_place():
    torch.manual_seed(0)
    features = torch.randn(12, 5, 3, 3, requires_grad=True)
    before = features.detach().clone()
    labels = torch.arange(12) % 2
    head = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(45, 2))
    with torch.no_grad():
        head[2].weight[:, 9:18] = 0

    def losses(z):
        return nn.functional.cross_entropy(head(z), labels, reduction="none")

    found = importance(losses, features, range(5), labels)
    assert torch.equal(features.detach(), before) and found.ratio[1] == 1 and (found.ratio[[0, 2, 3, 4]] != 1).all()
    assert found.classes == (0, 1) and found.repeats == 5


def test_seeds_repeat_and_differ():
    one, again, other = (importance(squared, X, [0], seed=seed).ratio[0] for seed in (1, 1, 2))
    assert one == again != other


def test_what_has_no_spread_and_no_loss():
    found = importance(lambda z: np.where(LABELS == "a", 0.0, squared(z)), X, [0], LABELS, repeats=1)
    assert np.isnan(found.spread).all() and np.isnan(found.by_class[0, 0]) and found.by_class[1, 0] > 1
    assert importance(squared, X, [0]).classes == () and importance(squared, X, [0]).by_class.shape == (0, 1)


def test_axes_of_one_concept_move_together():
    both = importance(squared, X, [[0, 1], [2]], LABELS, repeats=3, seed=2)
    assert both.axes == ((0, 1), (2,)) and both.ratio.shape == (2,)
    moved = X.copy()
    order = np.random.default_rng(2).permutation(len(X))
    other = np.empty_like(order)
    other[order] = np.roll(order, 1)
    moved[:, :2] = X[other, :2]
    once = importance(squared, X, [[0, 1]], repeats=1, seed=2)
    assert once.ratio[0] == pytest.approx(squared(moved).mean() / squared(X).mean())


BAD = {
    "one image": (lambda: importance(squared, X[:1], [0]), r"at least two images are needed, got shape \(1, 3\)"),
    "axis": (lambda: importance(squared, X, [0, 3]), "there is no axis 3 of 3"),
    "below 0": (lambda: importance(squared, X, [-1]), "there is no axis -1 of 3"),
    "images": (lambda: importance(squared, X, [0], dim=0), "dimension 0 is the images"),
    "dimension": (lambda: importance(squared, X, [0], dim=-2), r"dimension -2 of shape \(40, 3\) has no axes"),
    "repeats": (lambda: importance(squared, X, [0], repeats=0), "at least one repeat"),
    "labels": (lambda: importance(squared, X, [0], LABELS[:3]), r"40 images and labels of shape \(3,\)"),
    "mean loss": (
        lambda: importance(lambda z: squared(z).mean(), X, [0]),
        r"each of 40 images is needed, got shape \(\)",
    ),
    "NaN": (lambda: importance(lambda z: squared(z) * np.nan, X, [0]), "finite and at least 0"),
    "negative": (lambda: importance(lambda z: -squared(z), X, [0]), "finite and at least 0"),
    "no loss": (lambda: importance(lambda z: 0 * z[:, 0], X, [0]), "the loss is 0 for all images"),
}


@pytest.mark.parametrize("bad", BAD)
def test_refused_by_name(bad):
    call, line = BAD[bad]
    with pytest.raises(UserError, match=line):
        call()
