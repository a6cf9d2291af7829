"""Stacks of RDMs as arrays, checked for every comparison; pairs of RDMs by the entries that both have."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm.arrays import index_of, numbers, same_index
from orthotrace.analysis.rdm.rdms import RDMs, check_comparable
from orthotrace.analysis.rdm.stored import Stack, StoredStack
from orthotrace.analysis.rdm.triangles import places_of, square, stimuli_of
from orthotrace.core.errors import UserError

Matrix = NDArray[np.float64]
# Entries at once: a block of some RDMs stays in the cache; and how many are read from files together.
BLOCK, READ = 4096, 2**22

# A score of all pairs of two stacks without gaps, (k, s) and (l, s), given which entries these are; None for all.
Score = Callable[[Any, Any, NDArray[np.bool_] | None], Matrix]


class _UndefinedError(UserError):
    """Nothing is left of an RDM to compare."""

    def __init__(self, number: int, what: str, of: str = "") -> None:
        super().__init__(f"RDM {number}{of} is {what}: its correlation is undefined")
        self.number, self.what = number, what


def stacks(rdms: ArrayLike, others: ArrayLike | None) -> tuple[Any, Any]:
    """Two stacks as float64, the same object where there is but one; entries that are missing are NaN.

    RDMs in files are given back as they are.

    Raises:
        UserError: not stacks of vectors of one length, RDMs that are not comparable, entries that are infinite, or an
            RDM of which all are missing; names the first.

    Example:
        >>> stacks([[1.0, np.nan, 3.0]], None)[0]
        array([[ 1., nan,  3.]])
    """
    check_together(rdms, others)
    first = opened(rdms)
    second = first if others is None else opened(others, "others")
    if first.shape[1] != second.shape[1]:
        raise UserError(f"RDMs of one size are needed, got {first.shape[1]} and {second.shape[1]} entries")
    if isinstance(first, StoredStack) or isinstance(second, StoredStack):
        return first, second
    for number, one in enumerate([*first, *(() if second is first else second)]):
        if np.isnan(one).all():
            raise UserError(f"RDM {number} has no entries: all are missing (NaN)")
    return first, second


def opened(rdms: Any, name: str = "rdms") -> Any:
    """A stack: in files as it is, else as as_stack gives it."""
    return rdms if isinstance(rdms, StoredStack) else as_stack(rdms, name)


def complete(stack: Stack) -> bool:
    """Whether no entry is missing.

    Example:
        >>> complete(np.array([[1.0, np.nan]]))
        False
    """
    return stack.complete() if isinstance(stack, StoredStack) else not np.isnan(stack).any()


def over_shared(rdms: ArrayLike, others: ArrayLike | None, score: Score) -> Matrix:
    """Scores of all pairs of RDMs, each over the entries that both have: in one call for all that share the same ones.

    Raises:
        UserError: as stacks, two RDMs that share no entry, or what the score refuses; names the first RDM.

    Example:
        >>> over_shared([[1.0, np.nan, 3.0], [2.0, 2.0, np.nan]], None, lambda a, b, there: a @ b.T)
        array([[10.,  2.],
               [ 2.,  8.]])
    """
    first, second = stacks(rdms, others)
    same = second is first
    if complete(first) and (same or complete(second)):
        return score(first, second, None)
    if isinstance(first, StoredStack) or isinstance(second, StoredStack):
        return each_pair(len(first), len(second), lambda i, j: _of_two(first, second, i, j, score), same)
    found = np.empty((len(first), len(second)))
    groups = _alike(first)
    for at, (rows, has) in enumerate(groups):
        for columns, also in groups[at:] if same else _alike(second):
            there = has & also
            if not there.any():
                of = "" if same else " of the others"
                raise UserError(f"RDM {rows[0]} and RDM {columns[0]}{of} share no entry: they cannot be compared")
            part = first[np.ix_(rows, there)]
            other = part if same and columns is rows else second[np.ix_(columns, there)]
            try:
                scores = score(part, other, there)
            except _UndefinedError as error:
                numbers_of = [*rows, *(columns if same else columns + len(first))]
                of = ", of the entries that it shares with others,"
                raise _UndefinedError(int(numbers_of[error.number]), error.what, of) from error
            found[np.ix_(rows, columns)] = scores
            if same:
                found[np.ix_(columns, rows)] = scores.T
    return found


def _of_two(first: Stack, second: Stack, i: int, j: int, score: Score) -> float:
    """Of RDMs in files, some of which lack entries, two at a time are in memory."""
    one = first[i]
    other = one if second is first and i == j else second[j]
    if not (~np.isnan(one) & ~np.isnan(other)).any():
        raise UserError(f"RDM {i} and RDM {j}{'' if second is first else ' of the others'} share no entry")
    try:
        return float(over_shared(one[None], None if other is one else other[None], score)[0, 0])
    except _UndefinedError as error:
        place = i if error.number == 0 else j + (0 if second is first else len(first))
        raise _UndefinedError(place, error.what, ", of the entries that it shares with others,") from error


def blocks(first: Stack, second: Stack, width: int = BLOCK) -> Iterator[tuple[Matrix, Matrix]]:
    """Both stacks by blocks of their entries; of files many blocks are read together."""
    read = max(1, READ // (width * max(len(first), len(second)))) * width
    for start in range(0, first.shape[1], read):
        some = first[:, start : start + read]
        beside = some if second is first else second[:, start : start + read]
        for at in range(0, some.shape[1], width):
            part = some[:, at : at + width]
            yield part, part if second is first else beside[:, at : at + width]


def means_of(stack: Stack) -> Matrix:
    """The mean of each RDM, (k, 1)."""
    total = np.zeros((len(stack), 1))
    for part, _ in blocks(stack, stack):
        total += part.sum(axis=1, keepdims=True)
    return total / stack.shape[1]


def _alike(stack: Matrix) -> list[tuple[NDArray[np.intp], NDArray[np.bool_]]]:
    """The places of RDMs that have the same entries, and which these are."""
    has, group = np.unique(~np.isnan(stack), axis=0, return_inverse=True)
    return [(np.flatnonzero(group.ravel() == number), one) for number, one in enumerate(has)]


def shared_stimuli(there: NDArray[np.bool_]) -> NDArray[np.intp] | None:
    """The stimuli all of whose pairs are there, if no pair of others is; None where single pairs are missing.

    Example:
        >>> shared_stimuli(np.array([False, True, False, False, False, False])), shared_stimuli(np.array([1, 1, 0]) > 0)
        (array([0, 2]), None)
    """
    kept = np.flatnonzero(square(there).any(axis=0))
    return kept if len(kept) * (len(kept) - 1) // 2 == there.sum() else None


def of_shared_stimuli(stack: Matrix) -> tuple[Matrix, int]:
    """RDMs of the stimuli that have an entry in all of them, and how many these are; single entries may still be NaN.

    Raises:
        UserError: they share no entry.

    Example:
        >>> nan = np.nan
        >>> of_shared_stimuli(np.array([[1.0, 2.0, nan, 3.0, nan, nan], [4.0, 5.0, 6.0, 7.0, 8.0, nan]]))
        (array([[1., 2., 3.],
               [4., 5., 7.]]), 3)
    """
    n = stimuli_of(stack.shape[1])
    there = ~np.isnan(stack).any(axis=0)
    if there.all():
        return stack, n
    if not there.any():
        raise UserError("the RDMs share no entry: they cannot be compared")
    kept = np.flatnonzero(square(there).any(axis=0))
    rows, columns = (kept[places] for places in np.triu_indices(len(kept), 1))
    return stack[:, places_of(rows, columns, n)], len(kept)


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
    """RDMs whose squares are numbers: those with very large or very small entries in units near their largest."""
    sizes = sizes_of(stack)
    plain = (sizes > 1e-50) & (sizes < 1e50)
    return stack if plain.all() else stack / np.where(plain, 1.0, powers(sizes))


def each_pair(rows: int, columns: int, score: Callable[[int, int], float], same: bool) -> Matrix:
    """A score of every row with every column; of the same RDMs each pair is computed once."""
    found = np.empty((rows, columns))
    for i, j in np.ndindex(rows, columns):
        found[i, j] = found[j, i] if same and j < i else score(i, j)
    return found


def sizes_of(stack: Stack) -> Matrix:
    """The largest entry of each RDM in size, (k, 1); 1 where all are 0."""
    largest = np.zeros((len(stack), 1))
    for part, _ in blocks(stack, stack):
        extremes = np.fmax.reduce(part, axis=1, keepdims=True), -np.fmin.reduce(part, axis=1, keepdims=True)
        largest = np.fmax(largest, np.maximum(*extremes))
    return np.where(largest == 0, 1.0, largest)


def powers(sizes: Matrix) -> Matrix:
    """The largest power of two in each size: to divide by it rounds nothing.

    Example:
        >>> powers(np.array([1.0, 3.0, 0.1]))
        array([1.    , 2.    , 0.0625])
    """
    return np.ldexp(1.0, np.frexp(sizes)[1] - 1)


def refuse_nothing(number: int, found: float, size: float, what: str) -> None:
    """Refuse an RDM of which nothing is left to correlate but rounding."""
    if found <= 1e-12 * size:
        raise _UndefinedError(number, what)
