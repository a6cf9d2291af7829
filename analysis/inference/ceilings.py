"""Noise ceilings: how well any model could do, given how much the RDMs of several subjects differ."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm import compare
from orthotrace.analysis.rdm.stacks import moderate
from orthotrace.analysis.rdm.triangles import ranks
from orthotrace.core.errors import UserError

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Ceiling:
    """Bounds of the mean score that the true model would reach.

    Attributes:
        lower: the mean score of the pooled RDM of all other subjects.
        upper: the mean score of the pooled RDM of all subjects, fitted to itself.

    Example:
        >>> Ceiling(-0.1, 0.4).has_chance, Ceiling(0.1, 0.4).has_chance
        (True, False)
    """

    lower: float
    upper: float

    @property
    def has_chance(self) -> bool:
        """Whether a score of 0, that of RDMs that have nothing in common, is not below the lower bound.

        The subjects then agree no better than chance, and a model that reaches the ceiling says nothing. By some
        methods chance is above 0: see above_chance.
        """
        return self.lower <= 0


# What is said of such a ceiling, wherever it is drawn or printed.
CHANCE = (
    "Chance (0) lies within the noise ceiling: its lower bound is {lower:.3f}, so the reference's own RDMs agree no "
    "better than chance, and a model within the ceiling need not be better than chance."
)


def warning(limits: Ceiling | None, method: str = "pearson") -> str:
    """What is to be said of 0 beside scores: that it lies within the noise ceiling, or that it is not chance.

    Example:
        >>> warning(Ceiling(-0.1, 0.4))[:65], warning(Ceiling(0.1, 0.4))
        ('Chance (0) lies within the noise ceiling: its lower bound is -0.1', '')
    """
    return CHANCE.format(lower=limits.lower) if limits is not None and limits.has_chance else above_chance(method)


def above_chance(method: str) -> str:
    """That RDMs which have nothing in common score above 0, for the methods by which they do.

    Example:
        >>> above_chance("squared_pearson"), above_chance("pearson")
        ('By squared_pearson RDMs that have nothing in common score above 0: 0 is not chance.', '')
    """
    if method not in ("cosine", "cosine_cov", "squared_pearson", "bures"):
        return ""
    unless = ", unless their dissimilarities are unbiased, as of crossnobis" if method.startswith("cosine") else ""
    return f"By {method} RDMs that have nothing in common score above 0{unless}: 0 is not chance."


def ceiling(rdms: ArrayLike, method: str = "pearson") -> Ceiling:
    """Noise ceiling of the RDMs of several subjects.

    For Pearson and cosine, whitened or not, in closed form, from the similarities C of the RDMs:

        upper = mean_j sum_k C_kj / sqrt(sum_kl C_kl),  lower = the same over all but j

    For others, and where RDMs miss different entries, with the pooled RDM: the mean over those that have an entry of
    RDMs of one length, or centred and of one spread, or of ranks. For Kendall's tau that is close to the best but not
    it, and so it is for whitened comparisons. For squared Pearson, by which RDMs that are the opposite of each other
    agree, it is a weighted sum: by the first eigenvector of C.

    Args:
        rdms: upper triangles, (k, m), k >= 2.
        method: a name of POOLS.

    Raises:
        UserError: fewer than two RDMs, a method without a pooled RDM, or what the comparison refuses.

    Source: Nili et al., PLoS Computational Biology 10:e1003553 (2014).

    Example:
        >>> found = ceiling([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]])
        >>> round(found.lower, 6), round(found.upper, 6)
        (0.5, 0.866025)
    """
    check_ceiling(method)
    # Sums follow the order in memory, which a frame has by columns.
    stack = np.ascontiguousarray(moderate(compare.stacks(rdms, None)[0]))
    if len(stack) < 2:
        raise UserError(f"a noise ceiling needs two RDMs or more (got {len(stack)})")
    if method in CLOSED and (np.isnan(stack) == np.isnan(stack[0])).all():
        lower, upper = bounds(compare.METHODS[method](stack)[None], np.ones((1, len(stack))))
        return Ceiling(float(lower[0]), float(upper[0]))
    upper = compared(pooled(stack, method), stack, method).mean()
    others = [np.delete(stack, number, axis=0) for number in range(len(stack))]
    lower = np.mean(
        [compared(pooled(other, method), one[None], method) for other, one in zip(others, stack, strict=True)]
    )
    return Ceiling(float(lower), float(upper))


def constant(stack: Matrix, method: str) -> NDArray[np.bool_]:
    """Which RDMs have no spread, (k,); for a cosine, which are zero.

    Example:
        >>> constant(np.array([[1.0, 1.0], [1.0, 2.0]]), "pearson").tolist()
        [True, False]
    """
    high, low = np.fmax.reduce(stack, axis=1), np.fmin.reduce(stack, axis=1)
    largest = np.maximum(high, -low)
    spread = largest if method.startswith("cosine") else high - low
    # So is one without entries.
    return ~(spread > 1e-12 * largest)


def compared(first: Matrix, second: Matrix, method: str) -> Matrix:
    """A comparison of two stacks, (k, m) and (l, m) -> (k, l), in which an RDM without spread scores 0.

    Parts of RDMs may be constant though they as a whole are not, and so may be the entries that two RDMs share.

    Example:
        >>> compared(np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0]]), np.array([[1.0, 2.0, 3.0]]), "pearson").round(6)
        array([[0.],
               [1.]])
    """
    rows, columns = ~constant(first, method), ~constant(second, method)
    found = np.zeros((len(first), len(second)))
    if not np.isnan(first).any() and not np.isnan(second).any():
        if rows.any() and columns.any():
            found[np.ix_(rows, columns)] = compare.METHODS[method](first[rows], second[columns])
        return found
    for i, j in itertools.product(np.flatnonzero(rows), np.flatnonzero(columns)):
        there = ~np.isnan(first[i]) & ~np.isnan(second[j])
        pair = np.where(there, [first[i], second[j]], np.nan)
        if there.any() and not constant(pair, method).any():
            found[i, j] = compare.METHODS[method](pair[:1], pair[1:])[0, 0]
    return found


def pooled(stack: Matrix, method: str) -> Matrix:
    """The RDM that does best on a set of RDMs, (k, m) -> (1, m): of each entry over those that have it.

    Example:
        >>> pooled(np.array([[1.0, 2.0, np.nan], [3.0, 9.0, 4.0]]), "spearman").round(6)
        array([[0.208333, 0.791667, 0.5     ]])
    """
    pool, has = POOLS[method], ~np.isnan(stack)
    if has.all():
        return pool(stack)
    counts = has.sum(axis=1, keepdims=True)
    if pool is _ranks:
        # In (0, 1), whatever their number.
        values = np.full_like(stack, np.nan)
        for one, there, into in zip(stack, has, values, strict=True):
            into[there] = (ranks(one[None, there])[0] - 0.5) / there.sum()
    else:
        filled = np.where(has, stack, 0)
        mean = 0 if pool is _lengths else filled.sum(axis=1, keepdims=True) / counts
        values = np.where(has, filled - mean, 0)
        size = np.sqrt((values**2).sum(axis=1, keepdims=True) / counts)
        values = np.where(has, values / np.where(size > 0, size, 1), np.nan)
    if pool is _squares:
        values *= _first_eigenvector(compared(stack, stack, "pearson"))[:, None]
    number = has.sum(axis=0)
    found = np.where(number > 0, np.nansum(values, axis=0) / np.maximum(number, 1), np.nan)[None]
    # Mean ranks that are equal but for rounding are ties.
    return np.asarray(np.round(found, 12) if pool is _ranks else found, dtype=np.float64)


def check_ceiling(method: str) -> None:
    """Refuse a comparison whose best common RDM is not known, by a UserError that names those that have one."""
    if method not in list(POOLS):
        raise UserError(f"there is no noise ceiling for '{method}'; there is for: {', '.join(POOLS)}", "method")


def bounds(correlations: Matrix, weights: Matrix) -> tuple[Matrix, Matrix]:
    """Lower and upper bound in closed form, (B,) and (B,), of many resamples at once.

    Of correlations (B, k, k) and of how often each subject comes, (B, k), at least two of them. One that was drawn
    twice is left out with its copy, and counts once in the mean, as in rsatoolbox.

    Example:
        >>> [float(one[0].round(6)) for one in bounds(np.full((1, 2, 2), 0.5) + np.eye(2) / 2, np.ones((1, 2)))]
        [0.5, 0.866025]
    """
    there = weights > 0
    number = there.sum(axis=1)
    with_all = np.einsum("bij,bj->bi", correlations, weights)
    total = np.einsum("bi,bi->b", with_all, weights)[:, None]
    # A pool whose RDMs cancel has no direction: it predicts nothing.
    some = total > 1e-12 * weights.sum(axis=1, keepdims=True) ** 2
    upper = np.where(some, with_all / np.sqrt(np.where(some, total, 1)), 0)
    own = weights * np.einsum("bii->bi", correlations)
    rest = total - 2 * weights * with_all + weights * own
    some = rest > 1e-12 * weights.sum(axis=1, keepdims=True) ** 2
    lower = np.where(some, (with_all - own) / np.sqrt(np.where(some, rest, 1)), 0)
    return (np.where(there, lower, 0).sum(axis=1) / number, np.where(there, upper, 0).sum(axis=1) / number)


def _lengths_of_one(stack: Matrix) -> Matrix:
    size = np.linalg.norm(stack, axis=1, keepdims=True)
    return stack / np.where(size > 0, size, 1)


def _lengths(stack: Matrix) -> Matrix:
    return _lengths_of_one(stack).mean(0, keepdims=True)


def _scores(stack: Matrix) -> Matrix:
    return _lengths(stack - stack.mean(axis=1, keepdims=True))


def _squares(stack: Matrix) -> Matrix:
    values = _lengths_of_one(stack - stack.mean(axis=1, keepdims=True))
    return (_first_eigenvector(values @ values.T) @ values)[None]


def _first_eigenvector(correlations: Matrix) -> Matrix:
    """Weights (k,) of RDMs whose sum has the largest mean squared correlation with them."""
    return np.asarray(np.linalg.eigh(correlations)[1][:, -1])


def _ranks(stack: Matrix) -> Matrix:
    return ranks(stack).mean(0, keepdims=True)


WHITENED = ("corr_cov", "cosine_cov")
# Those by which the score of a sum of RDMs follows from their similarities alone.
CLOSED = ("pearson", "cosine", *WHITENED)
# The RDM that does best on a set of RDMs, (k, m) -> (1, m).
POOLS: dict[str, Callable[[Matrix], Matrix]] = {
    "pearson": _scores,
    "squared_pearson": _squares,
    "cosine": _lengths,
    "spearman": _ranks,
    "rho_a": _ranks,
    "tau_b": _ranks,
    "tau_a": _ranks,
    "cosine_cov": _lengths,
    "corr_cov": _scores,
}
