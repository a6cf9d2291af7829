"""Consistency between networks that differ in their seed: the mean over their pairs, and its interval."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.inference.resampling import correlations, draw, moments
from orthotrace.analysis.rdm.arguments import generator, level_of, whole
from orthotrace.analysis.rdm.arrays import is_symmetric, numbers, representable, unit_of
from orthotrace.analysis.rdm.compare import squared_pearson
from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.analysis.rdm.stacks import of_shared_stimuli, stacks
from orthotrace.core.errors import UserError, refuse_unknown

Interval = Literal["jackknife", "bootstrap"]
# Below this many networks a bootstrap has too few different samples.
FEWEST = 5


@dataclass(frozen=True)
class PairMean:
    """Mean over the pairs of a set of networks.

    Attributes:
        pairs: the value of each pair i < j, row by row.
        mean: over the pairs.
        low, high: ends of the interval; None with two networks, which have one pair.
        interval: "bootstrap", "jackknife" or "none".
        level: of the interval.
        networks: how many.
        stimuli: whether the interval holds for other stimuli too.
    """

    pairs: tuple[float, ...]
    mean: float
    low: float | None
    high: float | None
    interval: Literal["bootstrap", "jackknife", "none"]
    networks: int
    level: float = 0.95
    stimuli: bool = False


def between_networks(
    rdms: ArrayLike,
    method: Interval = "jackknife",
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    stimuli: bool = False,
) -> PairMean:
    """Representational consistency of networks in one layer: the squared Pearson correlation of their RDMs.

    RDMs that lack stimuli (NaN) are compared on those that both of a pair have.

    With stimuli, the interval also holds for other stimuli of the kind: the jackknife adds the variance of resampled
    stimuli to that of networks, the bootstrap resamples both. Those that all networks have are resampled; with fewer
    than four there is no such interval.

    Args:
        rdms: upper triangles, (networks, m), two or more.
        method: as for pair_mean, like the three below.
        level: of the interval.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        stimuli: resample them too.

    Raises:
        UserError: as pair_mean, or what compare.squared_pearson refuses, such as two RDMs that share too few stimuli.

    Source: Mehrer, Spoerer, Kriegeskorte & Kietzmann, Nature Communications 11:5725 (2020).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> shared = rng.random(45)
        >>> found = between_networks(shared + 0.3 * rng.random((5, 45)))
        >>> round(found.mean, 2), found.networks
        (0.84, 5)
    """
    values = squared_pearson(rdms)
    plain = pair_mean(values, method, level, resamples, seed)
    if not stimuli or plain.low is None:
        return plain
    stack = np.asarray(stacks(rdms, None)[0])
    if (gaps := np.isnan(stack).any(axis=0)).all():
        return plain
    stack, n = of_shared_stimuli(stack)
    if np.isnan(stack).any():
        raise UserError(
            "an interval over stimuli needs whole RDMs, single entries are missing (NaN): leave out stimuli"
        )
    if gaps.any() and (n < 4 or (np.ptp(stack, axis=1) == 0).any()):
        return plain
    rng = generator(seed)
    drawn = draw(n, resamples, rng, 3, "stimuli: ")
    squares = correlations(moments(stack / np.abs(stack).max(axis=1, keepdims=True), drawn, centre=True)) ** 2
    if plain.interval == "bootstrap":
        nodes = draw(len(stack), resamples, rng, least=2)
        low, high = np.quantile(_weighted_means(squares, nodes), [(1 - level) / 2, (1 + level) / 2])
        return replace(plain, low=float(low), high=float(high), stimuli=True)
    means = _weighted_means(squares, np.ones((1, len(stack))))
    half = _student(level, len(stack)) * np.sqrt(jackknife_error(values) ** 2 + n / (n - 1) * means.var(ddof=1))
    return replace(plain, low=plain.mean - half, high=plain.mean + half, stimuli=True)


def comparable(values: NDArray[np.float64]) -> list[int]:
    """Places of the networks that are left when those are dropped, worst first, that lack a value with another.

    Args:
        values: (n, n), NaN where two cannot be compared; the diagonal does not count.

    Example:
        >>> comparable(np.array([[1.0, 0.5, np.nan], [0.5, 1.0, np.nan], [np.nan, np.nan, 1.0]]))
        [0, 1]
    """
    missing = np.isnan(values) & ~np.eye(len(values), dtype=bool)
    kept = list(range(len(values)))
    while (count := missing[np.ix_(kept, kept)].sum(axis=1)).any():
        # Of those that lack as many the last.
        kept.pop(len(kept) - 1 - int(count[::-1].argmax()))
    return kept


def by_descriptors(rdms: RDMs, *by: str, **interval: Any) -> dict[tuple[Any, ...], PairMean]:
    """Consistency between the RDMs that share the values of some descriptors, such as their layer and task.

    Args:
        rdms: of several networks.
        by: descriptors of the RDMs.
        interval: as for between_networks.

    Returns:
        Values of the descriptors, in the order in which they come -> consistency of the RDMs that have them.

    Raises:
        UserError: as between_networks; names the group.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> found = RDMs(rng.random((6, 10)), None, {}, {"layer": np.array(["a", "b"] * 3)})
        >>> {key: round(one.mean, 2) for key, one in by_descriptors(found, "layer").items()}
        {('a',): 0.08, ('b',): 0.18}
    """
    refuse_unknown(by, list(rdms.rdm_descriptors), "there is no descriptor")
    keys = list(zip(*(rdms.rdm_descriptors[name].tolist() for name in by), strict=True)) or [()] * len(rdms)
    found = {}
    for key in dict.fromkeys(keys):
        members = rdms.dissimilarities[[other == key for other in keys]]
        try:
            found[key] = between_networks(members, **interval)
        except UserError as error:
            raise UserError(f"{', '.join(f'{n}={v}' for n, v in zip(by, key, strict=True))}: {error}") from error
    return found


def check_interval(method: str, level: float, resamples: int) -> float:
    """Refuse what makes no interval, by a UserError; the level as a number."""
    refuse_unknown([method], get_args(Interval), "there is no interval", "method")
    whole(resamples, "resamples", 2, "a spread needs at least 2 resamples")
    return level_of(level)


def pair_mean(
    matrix: ArrayLike, method: Interval = "jackknife", level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> PairMean:
    """Mean over pairs of networks, with an interval that resamples networks, never pairs: pairs are dependent.

    Jackknife: with m_i the mean without network i, the standard error is sqrt((n - 1)/n sum (m_i - mean(m))^2), and
    the interval mean +- t(n - 1) of it. It covers the truth at least as often as it says from three networks on; more
    often where pairs are independent.
    Bootstrap of nodes: networks are drawn with replacement, pairs of a network with itself are dropped, the interval is
    that of the percentiles. With few networks it is too narrow: at 95 % it covers 81 % with 5, 87 % with 10, 93 % with
    30 (docs/decisions.md); below five there are too few different samples, and the jackknife is taken.

    Args:
        matrix: (n, n), symmetric, a value for each pair; n >= 2.
        method: of the two.
        level: of the interval, in (0, 1).
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        UserError: not a symmetric matrix of at least two networks, an unknown method, or a level out of its range.

    Source: Snijders & Borgatti, Connections 22 (1999) 161, for both.

    Example:
        >>> result = pair_mean([[1.0, 0.5, 0.6], [0.5, 1.0, 0.7], [0.6, 0.7, 1.0]])
        >>> round(result.mean, 3), result.interval
        (0.6, 'jackknife')
    """
    values = numbers(matrix, "matrix")
    if values.ndim != 2 or values.shape[0] != values.shape[1] or len(values) < 2:
        raise UserError(f"a matrix (n, n) of at least two networks is needed, got shape {values.shape}")
    # The diagonal is of no pair.
    values = np.where(np.eye(len(values), dtype=bool), 0.0, values)
    if not np.isfinite(values).all() or not is_symmetric(values):
        raise UserError("the matrix is not symmetric, or not finite", "matrix")
    level = check_interval(method, level, resamples)
    n = len(values)
    unit = unit_of(values)
    if unit != 1:
        # Squares of such entries are no numbers.
        found = pair_mean(values / unit, method, level, resamples, seed)
        return _times(found, unit)
    pairs = values[np.triu_indices(n, 1)]
    found = PairMean(tuple(pairs.tolist()), float(pairs.mean()), None, None, "none", n, level)
    if n == 2:
        return found
    if method == "jackknife" or n < FEWEST:
        half = _student(level, n) * jackknife_error(values)
        return replace(found, low=found.mean - half, high=found.mean + half, interval="jackknife")
    low, high = np.quantile(bootstrap_means(values, resamples, seed), [(1 - level) / 2, (1 + level) / 2])
    return replace(found, low=float(low), high=float(high), interval="bootstrap")


def _times(found: PairMean, unit: float) -> PairMean:
    """The same in other units."""
    low, high = (None if end is None else float(representable(end * unit, "matrix")) for end in (found.low, found.high))
    return replace(found, pairs=tuple(one * unit for one in found.pairs), mean=found.mean * unit, low=low, high=high)


def jackknife_error(values: NDArray[np.float64]) -> float:
    """Standard error of the mean over pairs, by leaving out one network at a time; n >= 3."""
    n = len(values)
    off = values - np.diag(np.diag(values))
    without = (off.sum() - 2 * off.sum(axis=1)) / ((n - 1) * (n - 2))
    return float(np.sqrt((n - 1) / n * np.sum((without - without.mean()) ** 2)))


def bootstrap_means(values: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """Means over the pairs of resampled networks; resamples of one network alone have no pair and are left out.

    With multiplicities w, the pair (i, j), i != j, counts w_i w_j times.
    """
    n = len(values)
    weights = generator(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    return _weighted_means(values[None], weights[(weights > 0).sum(axis=1) > 1])


def _weighted_means(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over pairs of different networks, (B,), of matrices (B, n, n) or one, with weights (B, n) or one row."""
    off = values * (1 - np.eye(values.shape[-1]))
    number = weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1)
    return (np.matmul(off, weights[:, :, None])[:, :, 0] * weights).sum(axis=1) / number


def _student(level: float, networks: int) -> float:
    from scipy.stats import t as student

    return float(student.ppf((1 + level) / 2, networks - 1))
