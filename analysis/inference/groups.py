"""Whether two groups of RDMs differ, in their mean RDM or in how well a model does: members change groups."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.inference.models import Fixed
from orthotrace.analysis.inference.significance import ROUNDING
from orthotrace.analysis.rdm import compare
from orthotrace.analysis.rdm.arguments import generator, level_of, whole
from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.analysis.rdm.stacks import as_stack, check_together, sizes_of
from orthotrace.core.errors import UserError, nearest

Matrix = NDArray[np.float64]
# Memberships at once.
BLOCK = 1000


@dataclass(frozen=True)
class GroupDifference:
    """How far two groups differ, and how often they do by chance.

    Attributes:
        difference: of the groups, as group_test says.
        p: the share of memberships with as large a difference.
        memberships: that were tried; where all were, with that which is.
        exact: whether all were.
    """

    difference: float
    p: float
    memberships: int
    exact: bool


@dataclass(frozen=True)
class GroupInterval:
    """How far two groups differ in how well a model does, with its bootstrap interval.

    Attributes:
        difference: mean over the first group minus mean over the second.
        low, high: percentiles of the differences of resampled groups.
        samples: of both groups.
    """

    difference: float
    low: float
    high: float
    samples: int


def group_test(
    first: ArrayLike,
    second: ArrayLike,
    model: Fixed | ArrayLike | None = None,
    method: str | None = None,
    permutations: int = 10_000,
    seed: int = 0,
) -> GroupDifference:
    """Whether two groups of subjects or networks differ: members change groups at random.

        mean RDMs A and B:  |A - B|, or 1 - similarity(A, B) by another method
        with a model m:     mean over the first of similarity(m, a) - mean over the second of similarity(m, b)

        p = (1 + memberships with as large a difference)/(1 + permutations)

    With a model two-sided, of the size of the difference. Where all memberships are as few as the permutations or
    fewer, p is exactly their share with as large a difference. Means are of RDMs as they are: rank those of scales of
    their own first, or divide them by their length. Of entries that some miss (NaN) they are over those that have them.

    Args:
        first: upper triangles of RDMs, (k, m), one for each member.
        second: likewise, (l, m), of the same stimuli in the same order.
        model: one RDM, (m,) or (1, m), to compare how well it does in both; None for the mean RDMs.
        method: a name of compare.METHODS; with a model one in which more is more alike. None for norm_difference, and
            with a model for pearson.
        permutations: at least 1.
        seed: of the draws.

    Raises:
        UserError: fewer than three RDMs in both together, an unknown method, or what the comparison refuses, such as
            RDMs of other stimuli.

    Source: Nichols & Holmes, Human Brain Mapping 15 (2002), permutations of groups; Phipson & Smyth, Statistical
    Applications in Genetics and Molecular Biology 9:39 (2010), their p.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> truth, other = rng.random((2, 45))
        >>> patients, controls = other + 0.3 * rng.random((5, 45)), truth + 0.3 * rng.random((5, 45))
        >>> found = group_test(patients, controls)
        >>> round(found.p, 4), found.memberships, found.exact
        (0.0079, 252, True)
        >>> found = group_test(patients, controls, model=truth)
        >>> round(found.difference, 2), round(found.p, 4)
        (-0.74, 0.0079)
    """
    if method is None:
        method = "norm_difference" if model is None else "pearson"
    known = list(compare.METHODS) if model is None else compare.SIMILARITIES
    if method not in known:
        raise UserError(
            f"there is no {'comparison' if model is None else 'similarity'} '{method}'; {nearest(str(method), known)}",
            "method",
        )
    whole(permutations, "permutations", 1)
    check_together(first, second)
    one, other = compare.stacks(as_stack(first, "first"), as_stack(second, "second"))
    stack, k = np.concatenate([one, other]), len(one)
    n = len(stack)
    if n < 3:
        raise UserError(f"at least three RDMs in both groups together are needed (got {n})")
    exact = math.comb(n, k) <= permutations
    members = _all_of(n, k) if exact else _drawn(n, k, permutations, seed)
    if model is not None:
        scores = _scores(model, (first, second), stack, method)
        found = np.concatenate([block @ scores / k - (1 - block) @ scores / (n - k) for block in members])
        sizes, rounding = np.abs(found), ROUNDING
    else:
        sizes = np.concatenate([_between(stack, block, method) for block in members])
        # By the means themselves: what squares have lost of a small difference.
        found = [_of_means(stack, _as_they_are(n, k), method)[0]]
        # Of RDMs that are all the same each difference is what rounding makes of their entries.
        entries = float(sizes_of(stack).max()) if method == "norm_difference" else 1.0
        digits = 8 * float(np.finfo(np.float64).eps) * math.sqrt(stack.shape[1]) * entries
        rounding = max(ROUNDING * float(sizes.max()), digits)
    # The groups as they are come first.
    larger = int((sizes >= sizes[0] - rounding).sum())
    return GroupDifference(float(found[0]), larger / len(sizes), len(sizes) if exact else permutations, exact)


def group_interval(
    first: ArrayLike,
    second: ArrayLike,
    model: Fixed | ArrayLike,
    method: str = "pearson",
    samples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> GroupInterval:
    """The interval of the difference between two groups, by resampling the members of each with replacement.

        difference = mean over the first of similarity(m, a) - mean over the second of similarity(m, b)

    The percentiles (1 - level)/2 and (1 + level)/2 of the differences of resampled groups. They are too narrow for few
    members: of n values a resample's mean varies by (n - 1)/n of what it should. It is about other members, not about
    other stimuli. A difference of mean RDMs is a length, which is above 0 in every resample: test it by group_test.

    Args:
        first: upper triangles of RDMs, (k, m), one for each subject or network; at least two.
        second: likewise, (l, m), of the same stimuli in the same order.
        model: one RDM, (m,) or (1, m), to compare how well it does in both.
        method: a name of compare.METHODS, in which more is more alike.
        samples: at least 1.
        level: in (0, 1).
        seed: of the draws.

    Raises:
        UserError: a group of one, an unknown method, a level out of its range, or what the comparison refuses, such as
            RDMs of other stimuli.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 (two samples) and 13 (percentiles).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> truth, other = rng.random((2, 45))
        >>> patients, controls = other + 0.3 * rng.random((5, 45)), truth + 0.3 * rng.random((5, 45))
        >>> found = group_interval(patients, controls, truth)
        >>> round(found.difference, 2), round(found.low, 2), round(found.high, 2)
        (-0.74, -0.78, -0.7)
    """
    if method not in compare.SIMILARITIES:
        raise UserError(f"there is no similarity '{method}'; {nearest(str(method), compare.SIMILARITIES)}", "method")
    whole(samples, "samples", 1)
    level = level_of(level)
    check_together(first, second)
    one, other = compare.stacks(as_stack(first, "first"), as_stack(second, "second"))
    for group, name in ((one, "first"), (other, "second")):
        if len(group) < 2:
            raise UserError("one RDM alone cannot be resampled: give two or more", name)
    scores = _scores(model, (first, second), np.concatenate([one, other]), method)
    rng, parts = generator(seed), np.split(scores, [len(one)])
    # One group after the other, in blocks, so that many samples of many members fit into memory.
    means = [
        np.concatenate([part[rng.integers(len(part), size=(size, len(part)))].mean(axis=1) for size in _sizes(samples)])
        for part in parts
    ]
    low, high = np.quantile(means[0] - means[1], [(1 - level) / 2, (1 + level) / 2])
    return GroupInterval(float(parts[0].mean() - parts[1].mean()), float(low), float(high), samples)


def _sizes(samples: int) -> list[int]:
    return [min(BLOCK, samples - start) for start in range(0, samples, BLOCK)]


def _all_of(n: int, k: int) -> Iterator[Matrix]:
    """Who is in the first group, (B, n), in every way; as it is first."""
    ways = itertools.combinations(range(n), k)
    while block := list(itertools.islice(ways, BLOCK)):
        found = np.zeros((len(block), n))
        np.put_along_axis(found, np.array(block), 1.0, axis=1)
        yield found


def _drawn(n: int, k: int, number: int, seed: int) -> Iterator[Matrix]:
    """As it is, then at random."""
    rng = generator(seed)
    yield (plain := _as_they_are(n, k))
    for start in range(0, number, BLOCK):
        yield rng.permuted(np.tile(plain, (min(BLOCK, number - start), 1)), axis=1)


def _as_they_are(n: int, k: int) -> Matrix:
    return (np.arange(n) < k).astype(np.float64)[None]


def _between(stack: Matrix, members: Matrix, method: str) -> Matrix:
    """How far the mean RDMs of both groups are apart, (B,)."""
    has = ~np.isnan(stack)
    if method == "norm_difference" and has.all():
        # From the products of all with all. A mean that all share would only take digits.
        unit = float(sizes_of(stack).max())
        centred = stack / unit - (stack / unit).mean(axis=0)
        contrast = members / members.sum(axis=1, keepdims=True) - (1 - members) / (1 - members).sum(
            axis=1, keepdims=True
        )
        squares = np.einsum("bi,ij,bj->b", contrast, centred @ centred.T, contrast, optimize=True)
        return np.sqrt(np.maximum(squares, 0)) * unit
    return _of_means(stack, members, method)


def _of_means(stack: Matrix, members: Matrix, method: str) -> Matrix:
    """As _between, from the mean RDMs."""
    has = ~np.isnan(stack)
    means = [_means(stack, has, one) for one in (members, 1 - members)]
    found = np.array([compare.METHODS[method](a[None], b[None])[0, 0] for a, b in zip(*means, strict=True)])
    return found if method == "norm_difference" else 1 - found


def _means(stack: Matrix, has: NDArray[np.bool_], members: Matrix) -> Matrix:
    """Of each entry over the members that have it, (B, m)."""
    number = members @ has.astype(np.float64)
    unit = float(sizes_of(stack).max())
    total = members @ np.where(has, stack / unit, 0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan) * unit


def _scores(model: Fixed | ArrayLike, groups: tuple[ArrayLike, ArrayLike], stack: Matrix, method: str) -> Matrix:
    """How well a model does for each member."""
    fixed = model if isinstance(model, Fixed) else Fixed(model)
    if fixed.fitted:
        raise UserError("a model that is fitted is scored on what it was fitted to: give one RDM", "model")
    try:
        for group in groups:
            check_together(*(one.relabelled(None) if isinstance(one, RDMs) else one for one in (fixed.given, group)))
        return compare.METHODS[method](fixed.rdms, stack)[0]
    except UserError as error:
        raise UserError(f"{error}", "model") from error
