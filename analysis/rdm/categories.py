"""Categories of stimuli: their centroids, and how well they cluster."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from orthotrace.analysis.rdm.arrays import kinds_of, numbers, same_index, unit_of
from orthotrace.analysis.rdm.arrays import labels as checked_labels
from orthotrace.analysis.rdm.patterns import matrix
from orthotrace.analysis.rdm.products import largest
from orthotrace.analysis.rdm.triangles import stimuli_of
from orthotrace.core.errors import UserError


def centroids(patterns: Tensor | ArrayLike, labels: ArrayLike) -> Tensor:
    """Mean activations of each category.

    The consistency of RDMs of centroids, beside that of all stimuli, shows whether networks agree on their categories
    alone or on each exemplar.

    Args:
        patterns: activations (n, ...), flattened to (n, p).
        labels: of each stimulus, (n,); categories come in their sorted order.

    Returns:
        (categories, p), float64.

    Raises:
        UserError: labels of another number, fewer than three categories, or what patterns.matrix refuses.

    Source: Mehrer, Spoerer, Kriegeskorte & Kietzmann, Nature Communications 11:5725 (2020).

    Example:
        >>> centroids([[0.0, 0.0], [2.0, 0.0], [5.0, 1.0], [7.0, 7.0]], ["a", "a", "b", "c"])
        tensor([[1., 0.],
                [5., 1.],
                [7., 7.]], dtype=torch.float64)
    """
    same_index(patterns=patterns, labels=labels)
    x = matrix(patterns)
    kinds, which = _kinds(labels, len(x), 3)
    place = torch.from_numpy(which).to(x.device)
    # Sums in float64 for every type: a category may be large. In units of the largest where they are no numbers.
    most = float(largest(x).amax())
    unit = most if most > 1e300 else 1.0
    sums = torch.zeros(len(kinds), x.shape[1], dtype=torch.float64, device=x.device)
    sums.index_add_(0, place, x.double() / unit)
    counts = torch.from_numpy(np.bincount(which)).to(x.device)
    return sums / counts[:, None] * unit


def clustering_index(rdm: ArrayLike, labels: ArrayLike) -> float:
    """How much farther stimuli of two categories are apart than those of one.

        (d_between - d_within) / (d_between + d_within),  means over pairs

    Args:
        rdm: upper triangle, (n (n - 1) / 2,), at least 0.
        labels: of each stimulus, (n,).

    Returns:
        In [-1, 1]; 0 where categories make no difference.

    Raises:
        UserError: labels of another number, one category, no category with two stimuli, or dissimilarities that are
            below 0, missing, or all 0.

    Source: Mehrer, Spoerer, Kriegeskorte & Kietzmann, Nature Communications 11:5725 (2020).

    Example:
        >>> round(clustering_index([1.0, 3.0, 3.0, 3.0, 3.0, 1.0], ["a", "a", "b", "b"]), 6)
        0.5
    """
    values = numbers(rdm, "rdm")
    if values.ndim != 1 or not np.isfinite(values).all():
        raise UserError(f"an upper triangle of finite dissimilarities is needed, got shape {values.shape}", "rdm")
    if (values < 0).any():
        raise UserError(f"dissimilarities of at least 0 are needed, got {values.min():.4g}", "rdm")
    values = values / unit_of(values)
    n = stimuli_of(len(values))
    _, which = _kinds(labels, n, 2)
    same = np.concatenate([which[row + 1 :] == which[row] for row in range(n)])
    if not same.any():
        raise UserError("no category has two stimuli: there is no distance within one")
    within, between = float(values[same].mean()), float(values[~same].mean())
    if within + between == 0:
        raise UserError("all dissimilarities are 0: the index is undefined")
    return (between - within) / (between + within)


def _kinds(labels: ArrayLike, number: int, least: int) -> tuple[NDArray, NDArray[np.intp]]:
    kinds, which = kinds_of(checked_labels(labels, "labels", number), "labels")
    if len(kinds) < least:
        raise UserError(f"at least {least} categories are needed (got {len(kinds)})")
    return kinds, which
