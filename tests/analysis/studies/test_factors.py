"""Shares of variance between RDMs that factors explain."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from omegaconf import OmegaConf
from scipy.stats import t as student

from orthotrace.analysis.figures.factors import drawings_of_shares
from orthotrace.analysis.inference.variance import variance_components
from orthotrace.analysis.networks.runs import Network
from orthotrace.analysis.rdm.triangles import square
from orthotrace.analysis.studies.factors import check_shares, factor_shares, levels_of
from orthotrace.core.errors import UserError

N = 9
UPPER = np.triu_indices(N, 1)
RNG = np.random.default_rng(5)
OF_INIT, OF_ORDER = 2 * RNG.random((4, 36)), RNG.random((3, 36))


def run(init: int, order: int, **config):
    scores = {"method": "gpm", "stream": "permuted", "seeds": {"init": init, "order": order}}
    return SimpleNamespace(folder=Path(f"{init}-{order}"), scores=scores, config=OmegaConf.create(config))


def made(init: int, order: int, task: int = 1, layers=("fc1",), **config) -> Network:
    rng = np.random.default_rng([init, order, task])
    rdm = 3 + OF_INIT[init] + OF_ORDER[order] + 0.5 * rng.random(36)
    return Network("gpm", run(init, order, **config), task, dict.fromkeys(layers, rdm), {})


CROSSED = [made(init, order) for init, order in itertools.product(range(4), range(3))]
FACTORS = ("seeds.init", "seeds.order")


def standardised(networks):
    stack = np.stack([one.rdms["fc1"] for one in networks])
    return (stack - stack.mean(1, keepdims=True)) / stack.std(1, keepdims=True)


def levels(networks):
    return {f"seeds.{name}": [one.run.scores["seeds"][name] for one in networks] for name in ("init", "order")}


def test_variances_are_those_of_the_whole_rdms_and_of_a_balanced_analysis_of_variance():
    found = {one.factor: one for one in factor_shares(CROSSED, ["fc1"], FACTORS)}
    y = standardised(CROSSED)
    right = variance_components(y, levels(CROSSED))
    assert {name: one.variance for name, one in found.items()} == pytest.approx(right.variances, rel=1e-8)
    assert {name: one.share for name, one in found.items()} == pytest.approx(right.shares, rel=1e-8)
    cells = y.reshape(4, 3, 36)
    inits, orders, mean = cells.mean(1), cells.mean(0), cells.mean((0, 1))
    of_init = 3 * ((inits - mean) ** 2).sum(0) / 3
    rest = ((cells - inits[:, None] - orders[None] + mean) ** 2).sum((0, 1)) / 6
    assert found["seeds.init"].variance == pytest.approx(np.mean(of_init - rest) / 3, rel=1e-8)
    assert [(one.levels, one.networks) for one in found.values()] == [(4, 12), (3, 12), (None, 12)]


def test_the_sum_is_what_two_networks_differ_by_that_share_no_level():
    found = factor_shares(CROSSED, ["fc1"], FACTORS)
    r = np.corrcoef(standardised(CROSSED))
    apart = [
        1 - r[i, j]
        for i, j in itertools.combinations(range(12), 2)
        if CROSSED[i].run.scores["seeds"]["init"] != CROSSED[j].run.scores["seeds"]["init"]
        and CROSSED[i].run.scores["seeds"]["order"] != CROSSED[j].run.scores["seeds"]["order"]
    ]
    assert sum(one.variance for one in found) == pytest.approx(np.mean(apart), rel=1e-8)


def test_the_interval_leaves_out_the_levels_of_each_factor():
    found = factor_shares(CROSSED, ["fc1"], FACTORS, level=0.9)
    y, of = standardised(CROSSED), levels(CROSSED)
    error = np.zeros(3)
    for name, count in (("seeds.init", 4), ("seeds.order", 3)):
        shares = []
        for left in range(count):
            kept = np.array(of[name]) != left
            part = {factor: np.array(values)[kept] for factor, values in of.items()}
            shares.append(list(variance_components(y[kept], part).shares.values()))
        error += (
            student.ppf(0.95, count - 1) ** 2
            * (count - 1)
            / count
            * np.square(np.array(shares) - np.mean(shares, axis=0)).sum(axis=0)
        )
    half = np.sqrt(error)
    assert [one.high - one.share for one in found] == pytest.approx(half.tolist(), rel=1e-6)
    assert [one.share - one.low for one in found] == pytest.approx(half.tolist(), rel=1e-6)
    assert {one.resampled for one in found} == {FACTORS} and "90 % intervals" in drawings_of_shares(found)["factors"][0]


def test_a_factor_with_two_levels_is_held_and_without_others_there_is_no_interval():
    two = [one for one in CROSSED if one.run.scores["seeds"]["order"] < 2]
    assert {one.resampled for one in factor_shares(two, ["fc1"], FACTORS)} == {("seeds.init",)}
    four = [one for one in two if one.run.scores["seeds"]["init"] < 2]
    found = factor_shares(four, ["fc1"], FACTORS)
    assert {(one.low, one.high, one.resampled) for one in found} == {(None, None, ())}
    assert "No interval" in drawings_of_shares(found)["factors"][0]


def test_levels_by_keys_columns_tasks_and_interactions():
    jobs = [(run(0, 1, model={"width": 2}), 1), (run(1, 1, model={"width": 3}), 2)]
    found = levels_of(jobs, ["method", "stream", "seeds.init", "model.width", "task", "seeds.init:model.width"])
    assert list(found.values()) == [
        ["gpm", "gpm"], ["permuted", "permuted"], ["0", "1"], ["2", "3"], ["1", "2"], ["0 2", "1 3"],
    ]  # fmt: skip


def test_after_each_task_alone_unless_the_task_is_a_factor():
    both = [made(init, order, task) for init, order in itertools.product(range(4), range(3)) for task in (1, 2)]
    found = factor_shares(both, ["fc1"], FACTORS)
    assert [(one.task, one.networks) for one in found] == [(1, 12)] * 3 + [(2, 12)] * 3
    pooled = factor_shares(both, ["fc1"], (*FACTORS, "task"))
    assert [(one.task, one.factor, one.networks) for one in pooled][2:] == [(None, "task", 24), (None, "residual", 24)]


def test_what_networks_lack_is_left_out():
    networks = [made(init, order, layers=("fc1", "fc2")) for init, order in itertools.product(range(4), range(3))]
    silent = square(networks[0].rdms["fc1"])
    silent[2] = silent[:, 2] = np.nan
    networks[0].rdms["fc1"] = silent[UPPER]
    for one in networks[2:]:
        del one.rdms["fc2"]
    left_out = []
    found = factor_shares(networks, ["fc1", "fc2"], FACTORS, left_out=left_out)
    assert {one.layer for one in found} == {"fc1"} and {one.layer for one in left_out} == {"fc2"}
    kept = [place for place in range(36) if 2 not in (UPPER[0][place], UPPER[1][place])]
    there = [Network("gpm", one.run, 1, {"fc1": one.rdms["fc1"][kept]}, {}) for one in CROSSED]
    assert [one.share for one in found] == pytest.approx([one.share for one in factor_shares(there, ["fc1"], FACTORS)])


def test_networks_that_differ_in_no_more_than_their_seed_leave_no_residual():
    """As after a first task, which every method learns alike."""
    networks = [Network("gpm", one.run, 1, {"fc1": OF_INIT[one.run.scores["seeds"]["init"]]}, {}) for one in CROSSED]
    with pytest.raises(UserError, match="the factors explain all of the variance"):
        factor_shares(networks, ["fc1"], FACTORS)
    left_out = []
    assert factor_shares(networks, ["fc1"], FACTORS, left_out=left_out) == [] and len(left_out) == 12


MISTAKES = {
    ("seeds.inti",): "factors: no network has 'seeds.inti'; did you mean 'seeds.init'?",
    ("method",): r"factors\['method'\]: has one level \(gpm\): a factor needs two or more",
    ("seeds.init:seeds.order",): r"factors\['seeds.init:seeds.order'\]: has as many levels as there are observations",
    ("seeds.init", "model.width"): r"factors\['model.width'\]: has the levels of 'seeds.init'",
}


@pytest.mark.parametrize("factors", MISTAKES)
def test_factors_that_tell_nothing(factors):
    jobs = [(run(init, order, model={"width": init}), 1) for init, order in itertools.product(range(3), range(3))]
    with pytest.raises(UserError, match=MISTAKES[factors]):
        check_shares(jobs, factors)
