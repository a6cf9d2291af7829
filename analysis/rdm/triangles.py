"""Triangles: the upper triangle of an RDM as a vector, row by row."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm.arrays import numbers
from orthotrace.core.errors import UserError


def stimuli_of(entries: int) -> int:
    """Number of stimuli n of an RDM with n (n - 1) / 2 entries.

    Raises:
        UserError: no triangle has this number of entries.

    Example:
        >>> stimuli_of(6)
        4
    """
    n = round((1 + math.sqrt(1 + 8 * entries)) / 2)
    if n * (n - 1) // 2 != entries:
        raise UserError(
            f"{entries} entries are no upper triangle of a matrix: with entries missing this is not possible"
        )
    return n


def checked_triangle(values: ArrayLike, stimuli: int, measure: str, missing: bool = False) -> NDArray[np.float64]:
    """The dissimilarities that a measure gave, checked; crossnobis alone has another number, as it compares conditions.

    Raises:
        UserError: another number of dissimilarities, or some that are not finite; those of crossnobis, and of patterns
            with missing channels, may be missing (NaN).
    """
    found = numbers(values, "dissimilarities")
    entries = stimuli * (stimuli - 1) // 2
    if measure != "crossnobis" and found.shape != (entries,):
        raise UserError(f"of {stimuli} stimuli {measure} must give {entries} dissimilarities (got shape {found.shape})")
    if not np.isfinite(found[~np.isnan(found)] if missing or measure == "crossnobis" else found).all():
        raise UserError(f"{measure} gives dissimilarities that are not finite")
    return found


def square(vector: ArrayLike) -> NDArray[np.float64]:
    """The full symmetric matrix of an upper triangle, with zeros on its diagonal.

    Raises:
        UserError: no upper triangle of numbers; some may be missing (NaN).

    Example:
        >>> square([1.0, 2.0, 3.0])[2]
        array([2., 3., 0.])
    """
    from scipy.spatial.distance import squareform

    values = numbers(vector, "vector", missing=True)
    if values.ndim != 1 or not values.size or np.isinf(values).any():
        raise UserError(f"an upper triangle (m,) without infinities is needed, got shape {values.shape}", "vector")
    stimuli_of(len(values))
    return squareform(values, checks=False)


def places_of(first: NDArray[np.intp], second: NDArray[np.intp], stimuli: int) -> NDArray[np.intp]:
    """Where the pairs of two different stimuli are in an upper triangle.

    Example:
        >>> places_of(np.array([0, 2, 2]), np.array([1, 0, 1]), 3)
        array([0, 1, 2])
    """
    low, high = np.minimum(first, second), np.maximum(first, second)
    return low * (2 * stimuli - low - 1) // 2 + high - low - 1


def ranks(stack: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1 within each row of (k, m), ties sharing their mean.

    Example:
        >>> ranks(np.array([[0.5, 0.1, 0.5]]))
        array([[2.5, 1. , 2.5]])
    """
    # scipy.stats.rankdata gives the same, three to four times slower.
    found = np.empty_like(stack)
    m = stack.shape[1]
    for one, into in zip(stack, found, strict=True):
        order = np.argsort(one)
        ordered = one[order]
        # Where a run of equal values begins, and where the next does.
        starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        if len(starts) == m:
            into[order] = np.arange(1, m + 1)
            continue
        ends = np.append(starts[1:], m)
        into[order] = np.repeat((starts + ends + 1) / 2, ends - starts)
    return found
