"""Stacks of RDMs as arrays, checked for every comparison."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm.rdms import RDMs, check_comparable

Matrix = NDArray[np.float64]


def stacks(rdms: ArrayLike, others: ArrayLike | None) -> tuple[Matrix, Matrix]:
    """Two stacks as float64, the same object where there is but one, without the entries that all RDMs miss.

    Raises:
        ValueError: not stacks of vectors of one length, RDMs that are not comparable, or entries that are infinite or
            missing here and there; names the first.

    Example:
        >>> stacks([[1.0, np.nan, 3.0]], None)[0]
        array([[1., 3.]])
    """
    if isinstance(rdms, RDMs) and isinstance(others, RDMs):
        check_comparable(rdms, others)
    first = as_stack(rdms)
    second = first if others is None else as_stack(others)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"RDMs of one size are needed, got {first.shape[1]} and {second.shape[1]} entries")
    missing = np.isnan(first[0])
    for number, one in enumerate([*first, *(() if second is first else second)]):
        here = np.isnan(one)
        if not np.array_equal(here, missing):
            raise ValueError(f"RDM {number} misses other entries (NaN) than RDM 0: leave out stimuli that not all have")
    if missing.any():
        if missing.all():
            raise ValueError("RDM 0 has entries that are not finite: all of them")
        kept = first[:, ~missing]
        first, second = kept, kept if second is first else second[:, ~missing]
    return first, second


def as_array(rdms: ArrayLike) -> Any:
    """As an array of real numbers.

    Raises:
        ValueError: text, objects, or complex numbers.
    """
    if hasattr(rdms, "detach"):
        # A tensor, which ArrayLike does not know; torch is not imported for what comes without it.
        rdms = rdms.detach().cpu()  # type: ignore[union-attr]
    found = np.asarray(rdms)
    if found.dtype.kind not in "biuf":
        raise ValueError(f"RDMs of real numbers are needed, got {found.dtype}")
    return found


def as_stack(rdms: ArrayLike) -> Matrix:
    """As a stack (k, m) of float64 without infinite entries."""
    stack = as_array(rdms)
    if stack.ndim != 2 or not stack.size:
        raise ValueError(f"a stack (k, m) of upper triangles of RDMs is needed, got shape {stack.shape}")
    stack = stack.astype(np.float64, copy=False)
    for number, one in enumerate(stack):
        # A finite sum: all entries are finite.
        if not np.isfinite(one.sum()) and np.isinf(one).any():
            raise ValueError(f"RDM {number} has entries that are not finite")
    return stack


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
        raise ValueError(f"RDM {number} is {what}: its correlation is undefined")
