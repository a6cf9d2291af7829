"""Concept axes: how separate their concepts are, how uncorrelated the axes, which images activate them.

Their purity is in purity.py, their importance to the network in importance.py, their drift over tasks in drift.py.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from orthotrace.analysis.rdm.arrays import real, representable, same_index
from orthotrace.analysis.rdm.patterns import matrix
from orthotrace.analysis.rdm.stacks import moderate
from orthotrace.core.errors import UserError

Matrix = NDArray[np.float64]
Activations = Tensor | ArrayLike
# Mean cosines that rounding makes.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Separability:
    """Similarity of the features of concepts.

    Attributes:
        normalised: Q, (k, k), 1 on the diagonal; NaN where it is undefined.
        cosines: d, (k, k), in [-1, 1].
        similarity: mean over pairs of concepts of |Q|, the inter/intra-concept similarity; NaN if one is undefined.
        inter: mean over pairs of concepts of |d|.
        intra: mean over concepts of d within them.
    """

    normalised: Matrix
    cosines: Matrix
    similarity: float
    inter: float
    intra: float


def separability(features: Activations, has: ArrayLike, self_pairs: bool = False) -> Separability:
    """Similarity of the features of different concepts, relative to that within concepts.

        Q_ij = d_ij / sqrt(d_ii d_jj),  d_ij = mean cosine of an image of concept i and another of concept j

    An image makes no pair with itself, also where it has both concepts; so Q is not biased towards 0 with few images,
    and can leave [-1, 1] by chance. With self pairs d_ij is the product of the concepts' mean unit vectors, and Q their
    cosine. Where d_ii is 0 or less, a concept's images are no more alike than any, and its row and column are NaN.

    Args:
        features: (images, channels); the paper takes the mean over positions, after the normalisation.
        has: which image has which concept, (images, k), k >= 2.
        self_pairs: count them, as the published figures do (inter/intra-concept similarity 0.35 with concept
            whitening, 0.94 with batch normalisation).

    Raises:
        UserError: fewer than two concepts, a concept with fewer than two images, features that are not finite or all 0
            for an image, or shapes that do not fit.

    Source: Chen, Bei & Rudin, Nature Machine Intelligence 2 (2020) 772; its public code for self pairs and |Q|.

    Example:
        >>> found = separability([[1.0, 0.1], [1.0, -0.1], [0.5, 1.0], [0.5, 1.1]], np.eye(2)[[0, 0, 1, 1]])
        >>> round(found.similarity, 2)
        0.43
    """
    x, of = _matrix(features), _concepts(has, features)
    counts = of.sum(axis=0)
    if of.shape[1] < 2:
        raise UserError(f"at least two concepts are needed (got {of.shape[1]})")
    if counts.min() < 2:
        raise UserError(f"concept {int(np.argmin(counts))} has {counts.min()} images: at least two are needed")
    x = moderate(x)
    size = np.linalg.norm(x, axis=1)
    member = of.any(axis=1)
    if not size[member].all():
        raise UserError(f"the features of image {int(np.flatnonzero(member & (size == 0))[0])} are all 0: no cosine")
    sums = of.T.astype(np.float64) @ (x / np.where(size > 0, size, 1)[:, None])
    # Images that two concepts share; of a concept with itself all.
    shared = np.zeros((len(counts), len(counts))) if self_pairs else of.T.astype(np.float64) @ of
    cosines = (sums @ sums.T - shared) / (np.outer(counts, counts) - shared)
    within = np.diag(cosines)
    root = np.sqrt(np.where(within > ROUNDING, within, np.nan))
    normalised = cosines / root / root[:, None]
    pairs = np.triu_indices(len(within), 1)
    similarity, inter = (float(np.abs(one[pairs]).mean()) for one in (normalised, cosines))
    return Separability(normalised, cosines, similarity, inter, float(within.mean()))


def axis_correlations(activations: Activations) -> Matrix:
    """Absolute Pearson correlations between axes over images.

    Args:
        activations: (images, axes).

    Returns:
        (axes, axes), in [0, 1]; NaN in the row and column of an axis that is constant.

    Raises:
        UserError: fewer than two images, or entries that are not finite.

    Example:
        >>> axis_correlations([[1.0, -2.0, 5.0], [2.0, -4.0, 5.0], [3.0, -6.0, 5.0]])
        array([[ 1.,  1., nan],
               [ 1.,  1., nan],
               [nan, nan, nan]])
    """
    x = moderate(_matrix(activations).T).T
    constant = np.ptp(x, axis=0) == 0
    x = x - x.mean(axis=0)
    # Large and small axes alike keep their digits.
    x = x / np.where(constant, np.nan, np.abs(x).max(axis=0))
    x = x / np.linalg.norm(x, axis=0)
    found = np.abs(x.T @ x).clip(None, 1)
    np.fill_diagonal(found, np.where(constant, np.nan, 1))
    return found


def whiteness(features: Activations) -> float:
    """How far features are from white: 0 with uncorrelated channels of variance 1.

        |cov - I|_F / sqrt(channels),  cov with 1/n, as whitening layers estimate it

    Args:
        features: (n, channels); of a layer that whitens over images and positions, both are rows.

    Raises:
        UserError: fewer than two rows, or entries that are not finite or too large to square.

    Example:
        >>> whiteness([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        0.0
    """
    x = _matrix(features)
    with np.errstate(over="ignore", invalid="ignore"):
        x = x - x.mean(axis=0)
        found = np.linalg.norm(x.T @ x / len(x) - np.eye(x.shape[1])) / np.sqrt(x.shape[1])
    return float(representable(found, "features"))


def percentiles(activations: Activations) -> Matrix:
    """Where each image stands among all on each axis: the share of the others that have less, ties half.

    Over layers or tasks, the percentile of an image on a concept's axis is its trajectory.

    Args:
        activations: (images, axes).

    Returns:
        (images, axes), in [0, 1]; 0.5 on a constant axis.

    Raises:
        UserError: fewer than two images, or entries that are not finite.

    Example:
        >>> percentiles([[1.0, 5.0], [2.0, 5.0], [9.0, 5.0]])
        array([[0. , 0.5],
               [0.5, 0.5],
               [1. , 0.5]])
    """
    from scipy.stats import rankdata

    x = _matrix(activations)
    return (rankdata(x, axis=0) - 1) / (len(x) - 1)


def ranks_of(activations: Activations, has: ArrayLike) -> list[Matrix]:
    """Rank of each concept's axis among all axes, for every image of the concept; 1 is the highest.

    Axes differ in scale, so an image's percentiles over all images are compared, not its activations. Axes that are
    equal share the mean of their ranks.

    Args:
        activations: of test images, (images, axes); the first k axes are those of the k concepts.
        has: which image has which concept, (images, k).

    Returns:
        Of each concept, (its images,), in [1, axes].

    Raises:
        UserError: a concept without images or without an axis, entries that are not finite, or shapes that do not fit.

    Example:
        >>> ranks_of([[3.0, 0.0], [1.0, 1.0], [2.0, 2.0]], [[True, False], [False, True], [True, False]])
        [array([1., 2.]), array([1.])]
    """
    of = _concepts(has, activations, axes=True)
    places = percentiles(activations)
    found = []
    for concept, images in enumerate(of.T):
        if not images.any():
            raise UserError(f"no image has concept {concept}: its axis has no rank")
        shown = places[images]
        own = shown[:, [concept]]
        found.append(1 + (shown > own).sum(axis=1) + ((shown == own).sum(axis=1) - 1) / 2)
    return found


def hit_at_k(activations: Activations, has: ArrayLike, k: int = 1) -> Matrix:
    """Share of each concept's images whose concept's axis is among the k highest, by ranks_of.

    Args, Raises: as ranks_of; k from 1 to the number of axes.

    Returns:
        (concepts,), in [0, 1].

    Example:
        >>> hit_at_k([[3.0, 0.0], [1.0, 1.0], [2.0, 2.0]], [[True, False], [False, True], [True, False]])
        array([0.5, 1. ])
    """
    ranks = ranks_of(activations, has)
    _count(k, _matrix(activations).shape[1], "axes")
    return np.array([float((one <= k).mean()) for one in ranks])


def precision_at_k(activations: Activations, has: ArrayLike, k: int = 10) -> Matrix:
    """Share of the k top-activating images of each concept's axis that have the concept, by top_images.

    A concept with fewer than k images cannot reach 1.

    Args, Raises: as ranks_of, but a concept may have no images; k from 1 to the number of images.

    Returns:
        (concepts,), in [0, 1].

    Example:
        >>> precision_at_k([[3.0, 0.0], [1.0, 1.0], [2.0, 2.0]], [[True, False], [False, True], [True, False]], k=2)
        array([1. , 0.5])
    """
    of = _concepts(has, activations, axes=True)
    top = top_images(activations, k)[: of.shape[1]]
    return np.array([float(images[places].mean()) for images, places in zip(of.T, top, strict=True)])


def top_images(activations: Activations, k: int = 10) -> NDArray[np.intp]:
    """Places of the k top-activating images of each axis, highest first; of equals the first.

    Args:
        activations: (images, axes).
        k: from 1 to the number of images.

    Returns:
        (axes, k).

    Raises:
        UserError: a k out of its range, or entries that are not finite.

    Example:
        >>> top_images([[3.0, 0.0], [1.0, 1.0], [2.0, 2.0]], k=2)
        array([[0, 2],
               [2, 1]])
    """
    x = _matrix(activations)
    _count(k, len(x), "images")
    return np.argsort(-x, axis=0, kind="stable")[:k].T


def _matrix(values: Activations) -> Matrix:
    """Activations (images, axes) in float64."""
    given = values if isinstance(values, Tensor) else real(values, "activations")
    if given.ndim != 2:
        raise UserError(
            f"activations (images, axes), reduced over positions, are needed, got shape {tuple(given.shape)}"
        )
    return matrix(given, least=2, key="activations").double().cpu().numpy()


def _concepts(has: ArrayLike, activations: Activations, axes: bool = False) -> NDArray[np.bool_]:
    """Which image has which concept; with axes, each concept needs one."""
    same_index(activations=activations, has=has)
    of, x = real(has, "has"), _matrix(activations)
    if of.ndim != 2 or len(of) != len(x) or not np.isin(of, (0, 1)).all():
        raise UserError(f"true or false for each of {len(x)} images and each concept is needed, got shape {of.shape}")
    if axes and x.shape[1] < of.shape[1]:
        raise UserError(f"an axis for each of {of.shape[1]} concepts is needed, got {x.shape[1]} axes")
    return of.astype(bool)


def _count(k: int, most: int, of: str) -> None:
    if not isinstance(k, (int, np.integer)) or not 1 <= k <= most:
        raise UserError(f"a k from 1 to {most}, the number of {of}, is needed (got {k})")
