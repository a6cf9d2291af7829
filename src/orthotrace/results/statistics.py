"""Comparisons over seeds: intervals, and paired tests between methods."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# scipy.stats takes half a second to import: the functions do, when they are needed.


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        mean: of the values.
        low, high: bounds at the confidence asked for; None with a single value.
        count: of values.
    """

    mean: float
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class Paired:
    """Two methods compared on the same seeds.

    Attributes:
        difference: mean of first - second.
        low, high: confidence interval of the mean difference.
        t: statistic of the paired t-test.
        p: two-sided.
        count: of pairs.
    """

    difference: float
    low: float
    high: float
    t: float
    p: float
    count: int


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean and Student's confidence interval, mean +- t_{n - 1} s / sqrt(n).

    Args:
        values: independent, at least one.
        confidence: in (0, 1).

    Raises:
        ValueError: no values.

    Example:
        >>> found = mean_interval([1.0, 2.0, 3.0])
        >>> round(found.low, 3), found.mean, round(found.high, 3)
        (-0.484, 2.0, 4.484)
    """
    if not values:
        raise ValueError("no values")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Interval(mean, None, None, 1)
    from scipy import stats

    error = stats.sem(values)
    # Equal values have an interval of no width, for which scipy gives nan.
    low, high = stats.t.interval(confidence, len(values) - 1, mean, error) if error else (mean, mean)
    return Interval(mean, float(low), float(high), len(values))


def paired(first: Sequence[float], second: Sequence[float], confidence: float = 0.95) -> Paired:
    """The paired t-test of two methods on the same seeds, and the interval of their mean difference.

    Where all differences are equal, p is 1 if they are 0 and 0 if not.

    Args:
        first: scores of one method, in the order of the seeds, at least two.
        second: scores of the other, for the same seeds.
        confidence: in (0, 1).

    Raises:
        ValueError: the numbers of scores differ, or there are fewer than two.

    Source: Student, The probable error of a mean, Biometrika 1908.

    Example:
        >>> found = paired([0.9, 0.8, 0.9], [0.7, 0.7, 0.8])
        >>> round(found.difference, 3), round(found.p, 3)
        (0.133, 0.057)
    """
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(f"at least two pairs are needed, got {len(first)} and {len(second)} scores")
    import numpy as np
    from scipy import stats

    differences = np.subtract(first, second)
    mean = float(differences.mean())
    # Differences that rounding alone tells apart are equal: scipy divides by their deviation.
    rounding = 1e-14 * max(map(abs, [*first, *second, 1e-300]))
    if stats.sem(differences) <= rounding:
        equal = abs(mean) <= rounding
        return Paired(mean, mean, mean, 0.0 if equal else math.copysign(math.inf, mean), float(equal), len(first))
    test = stats.ttest_rel(first, second)
    low, high = test.confidence_interval(confidence)
    return Paired(mean, float(low), float(high), float(test.statistic), float(test.pvalue), len(first))


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for several tests.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = highest
    return corrected
