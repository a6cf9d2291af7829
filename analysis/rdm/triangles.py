"""Triangles: the upper triangle of an RDM as a vector, row by row."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm.arrays import numbers
from orthotrace.analysis.rdm.pieces import each
from orthotrace.core.errors import UserError

# Of an integer that has a number and its place: the rest are the sign, and one for rounding.
BITS = 62
# Numbers below which a call of a thread takes longer than the rest.
SMALL = 4096


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


def put(triangle: NDArray[np.float64], tile: tuple[slice, slice], values: NDArray[np.float64], stimuli: int) -> None:
    """Write a tile of the matrix into its upper triangle; of one on the diagonal what is above it.

    Example:
        >>> triangle = np.zeros(6)
        >>> put(triangle, (slice(0, 2), slice(1, 4)), np.arange(6.0).reshape(2, 3), 4)
        >>> triangle
        array([0., 1., 2., 4., 5., 0.])
    """
    rows, columns = tile
    for row in range(rows.start, rows.stop):
        first = max(columns.start, row + 1)
        at = start_of(row, stimuli) - row - 1
        triangle[at + first : max(at + first, at + columns.stop)] = values[row - rows.start, first - columns.start :]


def start_of(row: int, stimuli: int) -> int:
    """Where the entries of a row begin in an upper triangle.

    Example:
        >>> [start_of(row, 4) for row in range(4)]
        [0, 3, 5, 6]
    """
    return row * (2 * stimuli - row - 1) // 2


def ranks(stack: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1 within each row of (k, m), ties sharing their mean.

    Example:
        >>> ranks(np.array([[0.5, 0.1, 0.5]]))
        array([[2.5, 1. , 2.5]])
    """
    # scipy.stats.rankdata gives the same, several times slower.
    found = np.empty_like(stack)
    if stack.shape[1] < SMALL:
        for one, into in zip(stack, found, strict=True):
            _rank(one, into)
    else:
        each(lambda number: _rank(stack[number], found[number]), len(stack))
    return found


def _rank(one: NDArray[np.float64], into: NDArray[np.float64]) -> None:
    order, again = _sorted(one)
    found = np.arange(1.0, len(one) + 1)
    if again.any():
        starts, ends = (np.flatnonzero(at) for at in (~again[:-1] & again[1:], again[:-1] & ~again[1:]))
        found[again[:-1] | again[1:]] = np.repeat((starts + ends) / 2 + 1, ends - starts + 1)
    into[order] = found


def _sorted(one: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """What sorts numbers, and whether an entry equals the one before it, (m + 1,): none does that is not there.

    A number and its place are put into one integer: numpy sorts integers by vector instructions, several times faster
    than it finds what sorts numbers, or torch does.
    """
    again = np.zeros(len(one) + 1, dtype=bool)
    low, high = float(one.min()), float(one.max())
    bits = (len(one) - 1).bit_length()
    # As even as the numbers themselves; equal numbers are equal integers, and none is smaller for a larger number.
    scale = (2.0 ** (BITS - bits) - 2) / (high - low) if low < high < np.inf else 0.0
    if len(one) < SMALL or not 0 < scale < np.inf or not high - low < np.inf:
        # Few; or so far apart, or so near, that their range or its inverse is no number.
        order = np.argsort(one)
        ordered = one[order]
        np.equal(ordered[1:], ordered[:-1], out=again[1:-1])
        return order, again
    keys = one - low
    keys *= scale
    both = keys.astype(np.int64)
    del keys
    both <<= bits
    both |= np.arange(len(one))
    both.sort()
    integers = both >> bits
    shared = np.zeros(len(one), dtype=bool)
    np.equal(integers[1:], integers[:-1], out=shared[1:])
    del integers
    shared[:-1] |= shared[1:]
    both &= (1 << bits) - 1
    # Numbers with one integer are equal, or some of them may be in the wrong order: all that share one are sorted among
    # their places, which are in the order of the integers already.
    places = slice(None) if 2 * np.count_nonzero(shared) > len(one) else np.flatnonzero(shared)
    some = both[places]
    ordered = one[some]
    if (ordered[1:] < ordered[:-1]).any():
        moved = np.argsort(ordered)
        both[places] = some[moved]
        ordered = ordered[moved]
    equal = np.zeros(len(ordered), dtype=bool)
    np.equal(ordered[1:], ordered[:-1], out=equal[1:])
    again[:-1][places] = equal
    return both, again
