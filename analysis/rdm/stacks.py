"""Stacks of RDMs as arrays, checked for every comparison."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm.arrays import index_of, numbers, same_index
from orthotrace.analysis.rdm.rdms import RDMs, check_comparable
from orthotrace.core.errors import UserError

Matrix = NDArray[np.float64]


def stacks(rdms: ArrayLike, others: ArrayLike | None) -> tuple[Matrix, Matrix]:
    """Two stacks as float64, the same object where there is but one, without the entries that all RDMs miss.

    Raises:
        UserError: not stacks of vectors of one length, RDMs that are not comparable, or entries that are infinite or
            missing here and there; names the first.

    Example:
        >>> stacks([[1.0, np.nan, 3.0]], None)[0]
        array([[1., 3.]])
    """
    check_together(rdms, others)
    first = as_stack(rdms)
    second = first if others is None else as_stack(others, "others")
    if first.shape[1] != second.shape[1]:
        raise UserError(f"RDMs of one size are needed, got {first.shape[1]} and {second.shape[1]} entries")
    missing = np.isnan(first[0])
    for number, one in enumerate([*first, *(() if second is first else second)]):
        here = np.isnan(one)
        if not np.array_equal(here, missing):
            raise UserError(f"RDM {number} misses other entries (NaN) than RDM 0: leave out stimuli that not all have")
    if missing.any():
        if missing.all():
            raise UserError("RDM 0 has entries that are not finite: all of them")
        kept = first[:, ~missing]
        first, second = kept, kept if second is first else second[:, ~missing]
    return first, second


def check_together(rdms: ArrayLike, others: ArrayLike | None) -> None:
    """Refuse RDMs that are not comparable, and frames whose columns are of other pairs, or in another order."""
    if isinstance(rdms, RDMs) and isinstance(others, RDMs):
        check_comparable(rdms, others)
    if index_of(rdms) is not None and index_of(others) is not None:
        # Frames, which ArrayLike does not know.
        same_index(rdms=rdms.T, others=others.T)  # type: ignore[union-attr]


def as_stack(rdms: ArrayLike, name: str = "rdms") -> Matrix:
    """As a stack (k, m) of float64 without infinite entries; those that are missing are NaN."""
    stack = numbers(rdms, name, missing=True)
    if stack.ndim != 2 or not stack.size:
        raise UserError(f"a stack (k, m) of upper triangles of RDMs is needed, got shape {stack.shape}", name)
    for number, one in enumerate(stack):
        if np.isinf(one).any():
            raise UserError(f"RDM {number} has entries that are not finite", name)
    return stack


def moderate(stack: Matrix) -> Matrix:
    """RDMs whose squares are numbers: those with very large or very small entries in units of their largest."""
    sizes = sizes_of(stack)
    plain = (sizes > 1e-50) & (sizes < 1e50)
    return stack if plain.all() else stack / np.where(plain, 1.0, sizes)


def each_pair(rows: int, columns: int, score: Callable[[int, int], float], same: bool) -> Matrix:
    """A score of every row with every column; of the same RDMs each pair is computed once."""
    found = np.empty((rows, columns))
    for i, j in np.ndindex(rows, columns):
        found[i, j] = found[j, i] if same and j < i else score(i, j)
    return found


def sizes_of(stack: Matrix) -> Matrix:
    """The largest entry of each RDM in size, (k, 1); 1 where all are 0."""
    largest = np.maximum(stack.max(axis=1, keepdims=True), -stack.min(axis=1, keepdims=True))
    return np.where(largest == 0, 1.0, largest)


def refuse_nothing(number: int, found: float, size: float, what: str) -> None:
    """Refuse an RDM of which nothing is left to correlate but rounding."""
    if found <= 1e-12 * size:
        raise UserError(f"RDM {number} is {what}: its correlation is undefined")
