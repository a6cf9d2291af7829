"""Patterns with missing channels (NaN): two of them are compared by the channels that both have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orthotrace.analysis.rdm.arrays import scaled_back, unit_of
from orthotrace.core.errors import UserError

Matrix = NDArray[np.float64]
# Of patterns a and b, (k, p), 0 where one of both misses a channel; which they share; and how many, (k, 1).
Score = Callable[[Matrix, Matrix, NDArray[np.bool_], Matrix], Matrix]
# Entries at once.
ENTRIES = 2**20


def over_channels(x: Matrix, measure: str) -> Matrix:
    """Dissimilarities, (n (n - 1) / 2,), of patterns (n, p) by the channels that two of them share.

    Sums are scaled by p over the number of shared channels, so that none is smaller for what is missing. NaN where two
    share no channel, or one has no correlation or direction in those.

    Raises:
        UserError: no two patterns can be compared, or results that overflow.

    Example:
        >>> over_channels(np.array([[0.0, 0.0, 1.0], [3.0, 4.0, np.nan], [np.nan, np.nan, 2.0]]), "squared_euclidean")
        array([37.5,  3. ,  nan])
    """
    score, power = SCORES[measure]
    has = ~np.isnan(x)
    filled = np.where(has, x, 0)
    if power:
        unit = unit_of(filled)
    else:
        unit, most = 1.0, np.abs(filled).max(axis=1, keepdims=True)
        filled = filled / np.where(most > 0, most, 1)
    filled = filled / unit
    n, p = x.shape
    found, step = [], max(1, ENTRIES // p)
    for i in range(n):
        for start in range(i + 1, n, step):
            rest = slice(start, start + step)
            both = has[i] & has[rest]
            number = both.sum(axis=1, keepdims=True).astype(np.float64)
            with np.errstate(invalid="ignore", divide="ignore"):
                values = score(np.where(both, filled[i], 0), np.where(both, filled[rest], 0), both, number)
            found.append(np.where(number[:, 0] > 0, values, np.nan))
    result = np.concatenate(found)
    there = ~np.isnan(result)
    if power:
        result[there] = scaled_back(result[there], unit, power, "patterns")
    return checked(result)


def checked(result: Matrix) -> Matrix:
    """Dissimilarities some of which are missing, if not all.

    Raises:
        UserError: all are.

    Example:
        >>> checked(np.array([1.0, np.nan]))
        array([ 1., nan])
    """
    if np.isnan(result).all():
        raise UserError("no two patterns can be compared by the channels that both have: too many are missing")
    return result


def _correlation(a: Matrix, b: Matrix, both: Any, number: Matrix) -> Matrix:
    a, b = (np.where(both, one - one.sum(axis=1, keepdims=True) / number, 0) for one in (a, b))
    # In units of each: what rounding leaves of a constant pattern.
    least = 4 * np.finfo(np.float64).eps * np.sqrt(number)
    return _directions(a, b, least) / 2


def _directions(a: Matrix, b: Matrix, least: Any = 0.0) -> Matrix:
    """2 - 2 cos, by the difference of the patterns of length 1: nearly parallel ones keep their digits."""
    sizes = [np.sqrt((one * one).sum(axis=1, keepdims=True)) for one in (a, b)]
    first, second = (one / np.where(size > least, size, np.nan) for one, size in zip((a, b), sizes, strict=True))
    return ((first - second) ** 2).sum(axis=1)


def _norms(a: Matrix, b: Matrix, both: Any, number: Matrix) -> Matrix:
    first, second = (np.sqrt((one * one).sum(axis=1)) for one in (a, b))
    return np.abs(first - second) * np.sqrt(a.shape[1] / number[:, 0])


def _squares(a: Matrix, b: Matrix, both: Any, number: Matrix) -> Matrix:
    return ((a - b) ** 2).sum(axis=1) * (a.shape[1] / number[:, 0])


def _cityblock(a: Matrix, b: Matrix, both: Any, number: Matrix) -> Matrix:
    return np.abs(a - b).sum(axis=1) * (a.shape[1] / number[:, 0])


# By measure: of patterns, in units of the largest entry of each where the power is 0; else of the whole to this power.
SCORES: dict[str, tuple[Score, int]] = {
    "correlation": (_correlation, 0),
    "cosine": (lambda a, b, both, number: _directions(a, b) / 2, 0),
    "unit_euclidean": (lambda a, b, both, number: np.sqrt(_directions(a, b)), 0),
    "squared_euclidean": (_squares, 2),
    "euclidean": (lambda *given: np.sqrt(_squares(*given)), 1),
    "norm_difference": (_norms, 1),
    "cityblock": (_cityblock, 1),
}
