"""Forgetting taken apart: whether what a network knew is gone, turned, or out of its readout's sight."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm.arguments import number
from orthotrace.analysis.rdm.arrays import finite, kinds_of, labels, representable, same_index
from orthotrace.core.errors import UserError

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearReadout:
    """Class scores from activations: x W^T + b.

    Attributes:
        weight: (classes, features).
        bias: (classes,).
        labels: of the classes, (classes,).

    Example:
        >>> readout = LinearReadout(np.eye(2), np.zeros(2), np.array([3, 7]))
        >>> readout.accuracy(np.array([[2.0, 1.0], [0.0, 1.0]]), np.array([3, 3]))
        0.5
    """

    weight: Matrix
    bias: Matrix
    labels: NDArray[Any]

    def accuracy(self, features: Matrix, right: NDArray[Any]) -> float:
        """Share of the rows whose class has the largest score, in [0, 1]."""
        return float((self.labels[(features @ self.weight.T + self.bias).argmax(1)] == right).mean())


@dataclass(frozen=True)
class ReadoutDiagnosis:
    """Accuracies on the same test images, in [0, 1], before and after later tasks were learned.

    What ``before`` has and ``refitted`` lacks is gone: no linear readout finds it. What ``refitted`` has and ``kept``
    lacks is there still, where the old readout does not look; as far as ``aligned`` has it, the representation has only
    turned.

    Attributes:
        before: the old readout on the old activations.
        kept: the old readout on the new activations.
        aligned: the old readout on the new activations, turned back by the best rotation.
        refitted: a readout fitted to the new activations.
    """

    before: float
    kept: float
    aligned: float
    refitted: float


@dataclass(frozen=True)
class DriftSplit:
    """How far activations have moved, and how much of it a readout sees.

    Attributes:
        size: |A' - A|_F / |A - mean|_F, at least 0.
        seen: share of |A' - A|_F^2 in the range of the readout, in [0, 1]; the rest lies in its null space. NaN where
            nothing has moved.
        expected: the share of a movement in all directions alike: dimensions of the range / features.
    """

    size: float
    seen: float
    expected: float


def fitted_readout(features: ArrayLike, classes: ArrayLike, strength: float = 1.0) -> LinearReadout:
    """The linear readout of activations by logistic regression.

        min over W, b of sum_i cross_entropy(W x_i / s + b, y_i) + |W|_F^2 / (2 strength),   s = root mean square of x

    In units of s a strength means the same for activations of any scale.

    Args:
        features: activations, (n, features).
        classes: of the images, (n,), of two kinds or more.
        strength: above 0; more fits closer.

    Raises:
        UserError: shapes that do not fit, entries that are not finite, or a single class.

    Example:
        >>> x = np.array([[0.0, 1.0], [0.0, 2.0], [1.0, 0.0], [2.0, 0.0]])
        >>> fitted_readout(x, [0, 0, 5, 5]).accuracy(x, np.array([0, 0, 5, 5]))
        1.0
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    x, y = _labelled(features, classes, "features", "classes")
    strength = number(strength, "strength", "a strength above 0", lambda one: one > 0)
    kinds, which = kinds_of(y, "classes")
    if len(kinds) < 2:
        raise UserError("a readout needs images of two classes or more", "classes")
    # Squares of very large and very small numbers are no numbers.
    largest = np.abs(x).max() or 1.0
    x = x / largest
    size = np.sqrt(np.mean(np.square(x))) or 1.0
    # Less their mean, which the bias takes up, it converges in fewer steps.
    mean = x.mean(axis=0)
    model = LogisticRegression(C=strength, max_iter=2000, tol=1e-6)
    # By several threads such small products take many times as long.
    with warnings.catch_warnings(), threadpool_limits(1):
        # Steps that end early classify as well.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((x - mean) / size, which)
    weight = model.coef_ / size
    bias = model.intercept_ - weight @ mean
    if len(weight) == 1:
        # Of two classes scikit-learn keeps the difference.
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    with np.errstate(over="ignore"):
        return LinearReadout(representable(weight / largest, "features"), np.asarray(bias), kinds)


def diagnose_readout(
    train: tuple[ArrayLike, ArrayLike],
    test: tuple[ArrayLike, ArrayLike],
    train_classes: ArrayLike,
    test_classes: ArrayLike,
    readout: LinearReadout | None = None,
    strength: float = 1.0,
) -> ReadoutDiagnosis:
    """Accuracy of the old, the turned and a new readout of a layer, on a task that was learned before others.

    The rotation is R = U V^T of the singular value decomposition (A' - mean)^T (A - mean) = U S V^T over the training
    images, without directions of which they tell nothing (Procrustes).

    Args:
        train: activations (n, features) of training images of the task, before and after later tasks.
        test: the same of test images.
        train_classes: of these training images, (n,).
        test_classes: of these test images.
        readout: the old one, such as the network's own head; None for the one that is fitted to the old activations.
        strength: of fitted_readout.

    Raises:
        UserError: as fitted_readout, or numbers of features that differ.

    Source: Davari et al., Probing representation forgetting, CVPR 2022, for readouts that are fitted again; Schönemann,
        A generalized solution of the orthogonal Procrustes problem, Psychometrika 31:1 (1966), for the rotation.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> classes = np.repeat([0, 1, 2], 20)
        >>> old = np.eye(3)[classes] + 0.1 * rng.standard_normal((60, 3))
        >>> new = old[:, [1, 2, 0]]  # the units have changed places
        >>> diagnose_readout((old, new), (old, new), classes, classes)
        ReadoutDiagnosis(before=1.0, kept=0.0, aligned=1.0, refitted=1.0)
    """
    old_train, y_train = _labelled(train[0], train_classes, "train[0]", "train_classes")
    new_train, _ = _labelled(train[1], train_classes, "train[1]", "train_classes")
    old_test, y_test = _labelled(test[0], test_classes, "test[0]", "test_classes")
    new_test, _ = _labelled(test[1], test_classes, "test[1]", "test_classes")
    widths = {one.shape[1] for one in (old_train, new_train, old_test, new_test)}
    if len(widths) > 1:
        raise UserError(f"activations of one layer are needed, got {sorted(widths)} features", "train")
    old = fitted_readout(old_train, y_train, strength) if readout is None else readout
    if old.weight.shape[1] not in widths:
        raise UserError(f"is of {old.weight.shape[1]} features, the layer has {widths.pop()}", "readout")
    return ReadoutDiagnosis(
        before=old.accuracy(old_test, y_test),
        kept=old.accuracy(new_test, y_test),
        aligned=old.accuracy(_turned(new_test, new_train, old_train), y_test),
        refitted=fitted_readout(new_train, y_train, strength).accuracy(new_test, y_test),
    )


def drift_split(before: ArrayLike, after: ArrayLike, weight: ArrayLike) -> DriftSplit:
    """Movement of activations in the range and in the null space of a readout.

        seen = |(A' - A) P|_F^2 / |A' - A|_F^2,   P = projection onto the rows of W - mean row of W

    What is added to all classes alike changes no decision, so that the mean row is left out.

    Args:
        before: activations (n, features).
        after: of the same images, later.
        weight: of the readout, (classes, features): the outputs among which it decides.

    Raises:
        UserError: shapes that do not fit, entries that are not finite, or activations before that are all alike.

    Example:
        >>> drift_split([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [-1.0, 0.0]])
        DriftSplit(size=1.0, seen=0.0, expected=0.5)
    """
    same_index(before=before, after=after)
    a, b, w = _matrix(before, "before"), _matrix(after, "after"), _matrix(weight, "weight")
    if a.shape != b.shape:
        raise UserError(f"has shape {b.shape}, before has {a.shape}: the same images and layer are needed", "after")
    if w.shape[1] != a.shape[1]:
        raise UserError(f"is of {w.shape[1]} features, the layer has {a.shape[1]}", "weight")
    # Squares of very large and very small numbers are no numbers.
    largest = max(np.abs(a).max(), np.abs(b).max()) or 1.0
    a, b = a / largest, b / largest
    spread = np.linalg.norm(a - a.mean(axis=0))
    if spread <= 1e-12 * np.sqrt(a.size):
        raise UserError("the activations of all images are alike: there is nothing that could move", "before")
    readout = _between_rows(w)
    moved = b - a
    size = np.linalg.norm(moved)
    share = min(float(np.square(moved / size @ readout.T).sum()), 1.0) if size else float("nan")
    return DriftSplit(float(size / spread), share, len(readout) / a.shape[1])


def _between_rows(w: Matrix) -> Matrix:
    """Orthonormal rows, (rank, features), that span the rows of W - mean row of W.

    Differences of neighbours span the same. Where two rows are nearly equal, theirs has all its digits: what the mean
    leaves of the two has not.
    """
    from scipy.linalg import qr
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import minimum_spanning_tree
    from scipy.spatial.distance import pdist, squareform

    # In units of a power of two, which rounds nothing.
    w = w / np.ldexp(1.0, np.frexp(np.abs(w).max())[1] - 1)
    # Equal rows have no edge between them, and no difference. Of a dense matrix, edges below 1e-8 would be none either.
    ends, others = minimum_spanning_tree(csr_array(squareform(pdist(w)))).nonzero()
    if not len(ends):
        return np.zeros((0, w.shape[1]))
    # The error of each difference is in proportion to its own size, as it is not by singular values.
    found: Any = qr((w[ends] - w[others]).T, mode="economic", pivoting=True)
    directions, left, _ = found
    sizes = np.abs(left.diagonal())
    return directions.T[sizes > max(w.shape) * np.finfo(np.float64).eps * max(1.0, sizes[0])]


def _matrix(values: ArrayLike, key: str) -> Matrix:
    """Activations (n, features) of finite numbers."""
    x = finite(values, key)
    if x.ndim != 2 or not x.size:
        raise UserError(f"a matrix (n, features) is needed, got shape {x.shape}", key)
    return x


def _labelled(values: ArrayLike, classes: ArrayLike, key: str, name: str) -> tuple[Matrix, NDArray[Any]]:
    """Activations and the class of each image."""
    same_index(**{key: values, name: classes})
    x = _matrix(values, key)
    return x, labels(classes, name, len(x), "images")


def _turned(features: Matrix, source: Matrix, target: Matrix) -> Matrix:
    """Activations under the rotation that brings the source nearest to the target."""
    middle = source.mean(axis=0)
    a, b = source - middle, target - target.mean(axis=0)
    # In units of their largest: products of very large and very small numbers are no numbers.
    a, b = (one / (np.abs(one).max() or 1.0) for one in (a, b))
    wide = a.shape[1] > len(a)
    # Of more features than images through the images: R = Q_a U V^T Q_b^T, with A^T = Q_a R_a and B^T = Q_b R_b.
    (q_a, r_a), (q_b, r_b) = (np.linalg.qr(one.T) if wide else (None, one.T) for one in (a, b))
    left, values, right = np.linalg.svd(r_a @ r_b.T)
    told = values > values[0] * max(a.shape) * np.finfo(np.float64).eps
    left, right = left[:, told], right[told]
    rotation = left @ right if q_a is None or q_b is None else (q_a @ left) @ (right @ q_b.T)
    return (features - middle) @ rotation + target.mean(axis=0)
