"""How much of the variance between the RDMs of networks factors such as the seeds or the method explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from orthotrace.analysis.inference.variance import check_factors, variance_components
from orthotrace.analysis.networks.given import GivenNetwork
from orthotrace.analysis.networks.left_out import LeftOut
from orthotrace.analysis.networks.runs import Network
from orthotrace.analysis.rdm import memory
from orthotrace.analysis.rdm.undefined import undefined, without
from orthotrace.config.build import plain
from orthotrace.config.folder_names import leaves
from orthotrace.core.errors import UserError, nearest

TASK = "task"
RESIDUAL = "residual"
# A factor needs as many levels for one of them to be left out.
LEAST = 3
# Of the configuration of a run those keys are known by these names.
SCORES = ("method", "stream")


@dataclass(frozen=True)
class FactorShare:
    """What a factor explains of the variance between the RDMs of a layer.

    Attributes:
        task: after how many tasks; None where the task is a factor.
        layer: name.
        factor: its key, or "residual", what no factor explains.
        levels: of the factor; None of the residual.
        variance: in units of 1 - r: two networks that share no level of any factor differ by the sum over all factors
            and the residual.
        share: of that sum, in [0, 1].
        low, high: interval of the share by a jackknife over levels; None where there is none.
        resampled: the factors whose levels were left out, one at a time.
        networks: how many RDMs.
        level: of the interval.
    """

    task: int | None
    layer: str
    factor: str
    levels: int | None
    variance: float
    share: float
    low: float | None
    high: float | None
    resampled: tuple[str, ...]
    networks: int
    level: float


def levels_of(jobs: Sequence[tuple[Any, int]], factors: Sequence[str]) -> dict[str, list[str]]:
    """The level of each network for each factor.

    Args:
        jobs: networks and tasks.
        factors: "method", "stream", "task", keys of the configuration of runs such as seeds.init, or columns of
            networks that were given; "a:b" for the interaction of two.

    Raises:
        UserError: no network has the key; names the nearest.
    """
    found = {}
    for factor in factors:
        parts = [[_level(run, task, part) for run, task in jobs] for part in factor.split(":")]
        for part, levels in zip(factor.split(":"), parts, strict=True):
            if all(level is None for level in levels):
                raise UserError(f"no network has '{part}'; {nearest(part, _known(jobs[0][0]))}", "factors")
        found[factor] = [" ".join(map(str, levels)) for levels in zip(*parts, strict=True)]
    return found


def _level(run: Any, task: int, factor: str) -> Any:
    """The value of a network."""
    if factor == TASK:
        return task
    if isinstance(run, GivenNetwork):
        return run.columns.get(factor)
    if factor in SCORES:
        return run.scores[factor]
    if factor.startswith("seeds."):
        return run.scores["seeds"].get(factor.removeprefix("seeds."))
    return plain(OmegaConf.select(run.config, factor))


def _known(run: Any) -> list[str]:
    if isinstance(run, GivenNetwork):
        return [*run.columns, TASK]
    return [
        *SCORES,
        TASK,
        *(f"seeds.{name}" for name in run.scores["seeds"]),
        *(name for name, _ in leaves(plain(run.config)) if "_target_" not in name),
    ]


def check_shares(jobs: Sequence[tuple[Any, int]], factors: Sequence[str]) -> None:
    """Refuse factors that these networks cannot tell apart, before any is read.

    Raises:
        UserError: as levels_of and variance.check_factors; names the factor.
    """
    for part in _together([(run, task, run) for run, task in jobs], factors).values():
        own = [(run, task) for run, task, _ in part]
        check_factors(levels_of(own, factors), len(own))


def _together(
    networks: Sequence[tuple[Any, int, Any]], factors: Sequence[str]
) -> dict[int | None, list[tuple[Any, int, Any]]]:
    """Networks that are compared: all where the task is a factor, else those after the same task."""
    pooled = any(TASK in factor.split(":") for factor in factors)
    found: dict[int | None, list[tuple[Any, int, Any]]] = {}
    for one in networks:
        found.setdefault(None if pooled else one[1], []).append(one)
    return found


def factor_shares(
    networks: Sequence[Network],
    layers: Sequence[str],
    factors: Sequence[str],
    level: float = 0.95,
    left_out: list[LeftOut] | None = None,
) -> list[FactorShare]:
    """Shares of the variance between the RDMs of networks, layer by layer, by variance.variance_components.

    RDMs are scaled to mean 0 and variance 1, so that half the mean squared difference of two is 1 - r, their Pearson
    correlation. Each network is one observation, never a pair of networks, which would not be independent. Intervals
    come from a jackknife: the levels of every factor with three or more are left out, one at a time, and the variances
    of the factors add up; networks that share a level are so left out together. Fewer levels, as of two methods, count
    as fixed.

        interval = share +- sqrt(sum_f t(n_f - 1)^2 (n_f - 1)/n_f sum_l (share without level l - their mean)^2)

    What the factors share counts with each of them, so that the interval is a little too wide.

    Args:
        networks: with their RDMs.
        layers: names.
        factors: as for levels_of.
        level: of the intervals, in (0, 1).
        left_out: to which layers are added whose networks are too few to tell the factors apart.

    Raises:
        UserError: as levels_of.
    """
    found = []
    for task, same in _together([(one.run, one.task, one) for one in networks], factors).items():
        for layer in layers:
            own = [one for _, _, one in same if layer in one.rdms]
            try:
                found += _of_layer(task, layer, own, factors, level)
            except UserError as error:
                if left_out is None:
                    raise
                left_out += [one.left_out(layer, "factors", error.message) for one in own]
    return found


def _of_layer(
    task: int | None, layer: str, own: Sequence[Network], factors: Sequence[str], level: float
) -> list[FactorShare]:
    levels = levels_of([(one.run, one.task) for one in own], factors)
    check_factors(levels, len(own))
    entries = len(own[0].rdms[layer])
    memory.need(2 * 8 * len(own) * entries, f"factors of {len(own)} RDMs of {entries} entries", "leave out factors")
    values = _few([one.rdms[layer] for one in own])
    shares = variance_components(values, levels)
    resampled, half = _jackknife(values, levels, level)
    rows = []
    for place, (name, share) in enumerate(shares.shares.items()):
        low, high = (share - half[place], share + half[place]) if resampled else (None, None)
        count = None if name == RESIDUAL else len(set(levels[name]))
        rows.append(
            FactorShare(
                task, layer, name, count, shares.variances[name], share, low, high, resampled, len(own), level
            )
        )  # fmt: skip
    return rows


def _few(rdms: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """RDMs (n, n) with the second moments that the whole ones have, without stimuli that one of them lacks.

    Scaled to mean 0 and variance 1 each; without the mean of each entry, which the model has anyway.
    """
    silent = np.any([undefined(one) for one in rdms], axis=0)
    stack = np.stack([without(one, silent) for one in rdms])
    if stack.shape[1] < 3 or np.isnan(stack).any():
        raise UserError("the networks share too few stimuli")
    stack -= stack.mean(axis=1, keepdims=True)
    size = stack.std(axis=1, keepdims=True)
    if (size == 0).any():
        raise UserError("the dissimilarities of the stimuli that the networks share are all equal in one of them")
    stack /= size
    stack -= stack.mean(axis=0)
    values, vectors = np.linalg.eigh(stack @ stack.T / stack.shape[1])
    # What is left of 0 is rounding, whose root would be seen.
    return vectors * np.sqrt(np.where(values > 1e-12 * values[-1], values, 0) * len(stack))


def _jackknife(
    values: NDArray[np.float64], levels: Mapping[str, Sequence[str]], level: float
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """The factors whose levels can be left out, and half the intervals of the shares; of none where one cannot."""
    from scipy.stats import t as student

    resampled = tuple(name for name, of in levels.items() if ":" not in name and len(set(of)) >= LEAST)
    total = np.zeros(len(levels) + 1)
    for name in resampled:
        shares = []
        for left in dict.fromkeys(levels[name]):
            kept = [place for place, one in enumerate(levels[name]) if one != left]
            part = {factor: [of[place] for place in kept] for factor, of in levels.items()}
            try:
                shares.append(list(variance_components(values[kept], part).shares.values()))
            except UserError:
                # Without this level the others cannot be told apart.
                return (), total
        spread = np.array(shares) - np.mean(shares, axis=0)
        quantile = float(student.ppf((1 + level) / 2, len(shares) - 1))
        total += quantile**2 * (len(shares) - 1) / len(shares) * (spread**2).sum(axis=0)
    return resampled, np.sqrt(total)
