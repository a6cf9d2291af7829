"""RDMs of stimuli of which some have no dissimilarity, such as those that a layer does not answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from orthotrace.analysis.rdm.arrays import numbers
from orthotrace.analysis.rdm.memory import OutOfMemoryBoundError
from orthotrace.analysis.rdm.patterns import UndefinedPatternsError
from orthotrace.analysis.rdm.stacks import complete, opened
from orthotrace.analysis.rdm.triangles import start_of, stimuli_of
from orthotrace.core.errors import UserError


def partial_rdm(measure: Callable[..., ArrayLike], patterns: Tensor) -> NDArray[np.float64]:
    """An RDM in which the dissimilarities of stimuli without one are missing (NaN).

    A stimulus has none where the measure refuses its pattern (UndefinedPatternsError), or gives NaN for it and all
    others.

    Args:
        measure: of patterns (n, p), an upper triangle.
        patterns: (n, ...); the measure gets copies.

    Returns:
        (n (n - 1) / 2,).

    Raises:
        UserError: dissimilarities of another number, infinite ones, or NaN here and there; whatever else the measure
            raises goes on.

    Example:
        >>> import torch
        >>> from orthotrace.analysis.rdm.dissimilarity import correlation
        >>> partial_rdm(correlation, torch.tensor([[1.0, 2.0], [0.0, 0.0], [2.0, 1.0], [1.0, 3.0]])).round(6)
        array([nan,  2.,  0., nan, nan,  2.])
    """
    kept = np.arange(n := len(patterns))
    found = np.full(n * (n - 1) // 2, np.nan)
    while len(kept) > 2:
        part = patterns.clone() if len(kept) == n else patterns[kept]
        try:
            values = numbers(measure(part), "dissimilarities", missing=True)
        except UndefinedPatternsError as error:
            kept = np.delete(kept, error.stimuli)
            continue
        if values.shape != (number := len(kept) * (len(kept) - 1) // 2,):
            raise UserError(
                f"of {len(kept)} stimuli the measure must give {number} dissimilarities (got shape {values.shape})"
            )
        at = 0
        for place, row in enumerate(kept.tolist()):
            others = kept[place + 1 :]
            found[start_of(row, n) - row - 1 + others] = values[at : at + len(others)]
            at += len(others)
        break
    if not np.isfinite(without(found, undefined(found))).all():
        raise UserError("the measure gives dissimilarities that are not finite")
    return found


def undefined(rdm: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The stimuli without any dissimilarity in an upper triangle, (n,).

    Example:
        >>> undefined(np.array([np.nan, 2.0, np.nan])).tolist()
        [False, True, False]
    """
    n, missing = stimuli_of(len(rdm)), np.isnan(rdm)
    if not missing.any():
        return np.zeros(n, dtype=bool)
    counts = np.zeros(n, dtype=np.intp)
    for row in range(n):
        of = missing[start_of(row, n) : start_of(row + 1, n)]
        counts[row] += of.sum()
        counts[row + 1 :] += of
    return counts == n - 1


def without(rdm: NDArray[np.float64], stimuli: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Upper triangles (..., m) without some stimuli (n,).

    Example:
        >>> without(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), np.array([True, False, False, False]))
        array([4., 5., 6.])
    """
    n = stimuli_of(rdm.shape[-1])
    if not stimuli.any():
        return rdm
    return rdm[..., np.concatenate([~(stimuli[row + 1 :] | stimuli[row]) for row in range(n)])]


def on_shared(
    score: Callable[..., NDArray[np.float64]], rdms: ArrayLike, others: ArrayLike | None = None
) -> NDArray[np.float64]:
    """A comparison in which each pair of RDMs is compared on the entries that both have; NaN where it is undefined.

    Args:
        score: a function of compare.
        rdms: upper triangles, (k, m); what is missing is NaN.
        others: (l, m); None for the same.

    Returns:
        (k, l). NaN: they share fewer than three entries, or the score refuses the two, as where one is constant there.

    Raises:
        UserError: no stacks of one length; what the score raises for complete RDMs.

    Example:
        >>> from orthotrace.analysis.rdm.compare import pearson
        >>> whole = np.arange(6.0)
        >>> on_shared(pearson, [whole, [np.nan, 2.0, 0.0, np.nan, np.nan, 2.0], np.full(6, np.nan)]).round(3)
        array([[1.   , 0.277,   nan],
               [0.277, 1.   ,   nan],
               [  nan,   nan,   nan]])
    """
    first = opened(rdms)
    second = first if others is None else opened(others, "others")
    if first.shape[1] != second.shape[1] or (complete(first) and complete(second)):
        return score(rdms, others)
    try:
        return score(rdms, others)
    except UserError:
        # One of them is at fault: the others are not.
        found = np.array([[_or_nan(score, one, other) for other in second] for one in first])
    # The same pair has the same value, to the last digit.
    return found if others is not None else np.where(np.tri(len(found), k=-1, dtype=bool), found.T, found)


def _or_nan(score: Callable[..., NDArray[np.float64]], one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    if (~np.isnan(one) & ~np.isnan(other)).sum() < 3:
        return float("nan")
    try:
        return float(score(one[None], None if other is one else other[None])[0, 0])
    except OutOfMemoryBoundError:
        raise
    except UserError:
        return float("nan")
