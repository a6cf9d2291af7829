"""Area under the ROC curve: how well values separate images with a concept from those without, and how sure that is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm.arguments import level_of
from orthotrace.analysis.rdm.arrays import numbers, real, same_index
from orthotrace.core.errors import UserError

Matrix = NDArray[np.float64]
# Standard errors that rounding makes.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class AUC:
    """Areas under the ROC curve, one for each column of scores.

    Attributes:
        value: in [0, 1], (k,); 0.5 is chance.
        error: DeLong's standard error, (k,); NaN with one positive or one negative.
        low, high: ends of the interval, (k,).
        level: of the interval.
    """

    value: Matrix
    error: Matrix
    low: Matrix
    high: Matrix
    level: float = 0.95


@dataclass(frozen=True, eq=False)
class Difference:
    """Differences between two areas under the ROC curve on the same images, first less second.

    Attributes:
        value: in [-1, 1], (k,).
        error: standard error, (k,).
        low, high: ends of the interval, (k,).
        p: two-sided, that there is no difference, (k,).
        level: of the interval.
    """

    value: Matrix
    error: Matrix
    low: Matrix
    high: Matrix
    p: Matrix
    level: float = 0.95


def areas(scores: ArrayLike, positive: ArrayLike) -> Matrix:
    """Areas under the ROC curve alone: the chance that a positive image has more than a negative one, ties half.

        A = (sum of the positives' ranks - m (m + 1)/2) / (m n),  m positives, n negatives (Mann & Whitney)

    Args:
        scores: (images,) or (images, k).
        positive: (images,), the same for all columns, or (images, k).

    Returns:
        (k,).

    Raises:
        UserError: as auc.

    Example:
        >>> areas([[0.1, 3.0], [0.4, 2.0], [0.9, 2.0]], [False, True, True])
        array([1., 0.])
    """
    from scipy.stats import rankdata

    x, has = _checked(scores, positive)
    m = has.sum(axis=0)
    total = np.where(has, rankdata(x, axis=0), 0).sum(axis=0)
    return (total - m * (m + 1) / 2) / (m * (len(x) - m))


def auc(scores: ArrayLike, positive: ArrayLike, level: float = 0.95) -> AUC:
    """Area under the ROC curve with DeLong's standard error and an interval.

        V_i = share of negatives below positive i,  W_j = share of positives above negative j,  ties half
        A = mean V,  error^2 = var(V)/m + var(W)/n,  interval: logit(A) +- t error/(A (1 - A))

    t is Student's with Satterthwaite's degrees of freedom, z where there are many images: of few, the error itself is
    uncertain.
    Without a spread (perfect separation, equal scores) or with one positive or negative there is no such interval. Then
    it is Wilson's for min(m, n) independent pairs, as many as share no image: never too narrow, and at A = 1 from
    N/(N + z^2) to 1.

    Args:
        scores: (images,) or (images, k).
        positive: which images have the concept, (images,), the same for all columns, or (images, k).
        level: of the interval, in (0, 1).

    Raises:
        UserError: scores that are not finite, no positive or no negative image, shapes that differ, or a level out of
            its range.

    Source: DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988) 837; by ranks: Sun & Xu, IEEE Signal Processing
    Letters 21 (2014) 1389; the degrees of freedom: Brunner & Munzel, Biometrical Journal 42 (2000) 17.

    Example:
        >>> found = auc([0.1, 0.4, 0.35, 0.8, 0.7, 0.2], [False, False, True, True, True, False])
        >>> [round(float(one[0]), 3) for one in (found.value, found.error, found.low, found.high)]
        [0.889, 0.157, 0.088, 0.998]
    """
    from scipy.stats import t

    x, has = _checked(scores, positive)
    z = _normal(level)
    m = has.sum(axis=0)
    value, error, freedom = np.empty((3, x.shape[1]))
    for columns, rows in _alike(has):
        above, below = components(x[:, columns], rows)
        value[columns] = above.mean(axis=0)
        variance, freedom[columns] = _spread(above, below)
        error[columns] = np.sqrt(variance)
    low, high = _wilson(value, np.minimum(m, len(x) - m), z)
    spread = error > ROUNDING
    a = value[spread]
    odds, half = np.log(a / (1 - a)), t.ppf((1 + level) / 2, freedom[spread]) * error[spread] / (a * (1 - a))
    # As tanh, which does not overflow.
    low[spread], high[spread] = ((1 + np.tanh((odds + sign * half) / 2)) / 2 for sign in (-1, 1))
    return AUC(value, error, low, high, level)


def auc_difference(first: ArrayLike, second: ArrayLike, positive: ArrayLike, level: float = 0.95) -> Difference:
    """Difference between two areas under the ROC curve of the same images, which are correlated.

        error^2 = var(V_1 - V_2)/m + var(W_1 - W_2)/n,  V and W as for auc;  interval: difference +- z error

    Scores that order the images alike differ by exactly 0. Where the error is 0 otherwise, or undefined, both intervals
    of auc are combined by squares (Newcombe's, as if the areas were independent), and half its width is z errors.

    Args:
        first: scores, (images,) or (images, k).
        second: likewise.
        positive: as for auc.
        level: of the interval, in (0, 1).

    Raises:
        UserError: scores of two shapes, or what auc refuses.

    Source: DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988) 837; Newcombe, Statistics in Medicine 17 (1998) 873.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> has = np.arange(80) < 40
        >>> good, poor = 2 * has + rng.standard_normal(80), 0.5 * has + rng.standard_normal(80)
        >>> found = auc_difference(good, poor, has)
        >>> round(float(found.value[0]), 2), bool(found.p[0] < 0.01)
        (0.21, True)
    """
    from scipy.stats import norm, rankdata

    x, has = _checked(first, positive)
    y, _ = _checked(second, positive)
    if x.shape != y.shape:
        raise UserError(f"scores of one shape are needed, got {x.shape} and {y.shape}")
    z = _normal(level)
    error = np.empty(x.shape[1])
    for columns, rows in _alike(has):
        ours, theirs = components(x[:, columns], rows), components(y[:, columns], rows)
        error[columns] = np.sqrt(_spread(ours[0] - theirs[0], ours[1] - theirs[1])[0])
    one, other = auc(x, has, level), auc(y, has, level)
    value = one.value - other.value
    low, high = value - z * error, value + z * error
    spread = error > ROUNDING
    wide_low = value - np.hypot(one.value - one.low, other.high - other.value)
    wide_high = value + np.hypot(one.high - one.value, other.value - other.low)
    low, high = np.where(spread, low, wide_low), np.where(spread, high, wide_high)
    error = np.where(spread, error, (wide_high - wide_low) / (2 * z))
    same = (rankdata(x, axis=0) == rankdata(y, axis=0)).all(axis=0)
    low, high, error = (np.where(same, 0.0, found) for found in (low, high, error))
    p = np.where(same, 1.0, 2 * norm.sf(np.abs(value) / np.where(same, 1.0, error)))
    return Difference(value, error, low.clip(-1, 1), high.clip(-1, 1), p, level)


def components(scores: Matrix, positive: NDArray[np.bool_]) -> tuple[Matrix, Matrix]:
    """DeLong's V of each positive image, (m, k), and W of each negative one, (n, k), by ranks."""
    from scipy.stats import rankdata

    m, n = int(positive.sum()), int((~positive).sum())
    whole = rankdata(scores, axis=0)
    above = (whole[positive] - rankdata(scores[positive], axis=0)) / n
    below = (whole[~positive] - rankdata(scores[~positive], axis=0)) / m
    return above, 1 - below


def _spread(v: Matrix, w: Matrix) -> tuple[Matrix, Matrix]:
    """Variance of areas, and its degrees of freedom after Satterthwaite."""
    if min(len(v), len(w)) < 2:
        return np.full(v.shape[1], np.nan), np.full(v.shape[1], np.nan)
    first, second = v.var(axis=0, ddof=1) / len(v), w.var(axis=0, ddof=1) / len(w)
    below = first**2 / (len(v) - 1) + second**2 / (len(w) - 1)
    return first + second, (first + second) ** 2 / np.maximum(below, 1e-300)


def _wilson(share: Matrix, number: NDArray[np.intp], z: float) -> tuple[Matrix, Matrix]:
    """Wilson's interval of a share of a number of independent trials."""
    middle = (share + z**2 / (2 * number)) / (1 + z**2 / number)
    half = z / (1 + z**2 / number) * np.sqrt(share * (1 - share) / number + z**2 / (4 * number**2))
    # An area of 1 is within its interval, whatever the rounding.
    return np.minimum(middle - half, share).clip(0), np.maximum(middle + half, share).clip(None, 1)


def _alike(has: NDArray[np.bool_]) -> list[tuple[NDArray[np.intp], NDArray[np.bool_]]]:
    """Columns that share their positives, and these: they are ranked at once."""
    kinds, which = np.unique(has, axis=1, return_inverse=True)
    return [(np.flatnonzero(which.ravel() == number), rows) for number, rows in enumerate(kinds.T)]


def _normal(level: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf((1 + level_of(level)) / 2))


def _checked(scores: ArrayLike, positive: ArrayLike) -> tuple[Matrix, NDArray[np.bool_]]:
    """Scores and positives as matrices (images, k)."""
    same_index(scores=scores, positive=positive)
    x, has = numbers(scores, "scores"), real(positive, "positive")
    x = x[:, None] if x.ndim == 1 else x
    has = has[:, None] if has.ndim == 1 else has
    if x.ndim != 2 or has.ndim != 2 or len(x) != len(has) or has.shape[1] not in (1, x.shape[1]):
        raise UserError(f"scores (images, k) and positives (images, k) are needed, got {x.shape} and {has.shape}")
    if not np.isin(has, (0, 1)).all():
        raise UserError("positives are true or false, for each image")
    has = np.broadcast_to(has.astype(bool), x.shape)
    if not (finite := np.isfinite(x)).all():
        row, column = np.argwhere(~finite)[0]
        raise UserError(f"the score of image {row} in column {column} is not finite")
    for name, count in (("positive", has.sum(axis=0)), ("negative", (~has).sum(axis=0))):
        if (count == 0).any():
            raise UserError(f"column {int(np.argmin(count))} has no {name} image: the area is undefined")
    return x, has
