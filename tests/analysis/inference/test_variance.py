import itertools
import warnings

import numpy as np
import pytest

from orthotrace.analysis.inference import variance_components
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(11)
# Balanced: 4 seeds, 3 methods, 2 of each.
SEED, METHOD = (np.repeat(one, 2) for one in np.array(list(itertools.product(range(4), range(3)))).T)
VALUES = 3 + 2 * RNG.standard_normal(4)[SEED] + RNG.standard_normal(3)[METHOD] + 0.3 * RNG.standard_normal(24)


def crossed(y):
    """Expected mean squares of a balanced crossed design without interaction, solved for the variances."""
    seeds = np.array([y[one == SEED].mean(axis=0) for one in range(4)])
    methods = np.array([y[one == METHOD].mean(axis=0) for one in range(3)])
    mean = y.mean(axis=0)
    of_seeds = 6 * ((seeds - mean) ** 2).sum(axis=0) / 3
    of_methods = 8 * ((methods - mean) ** 2).sum(axis=0) / 2
    rest = ((y - seeds[SEED] - methods[METHOD] + mean) ** 2).sum(axis=0) / 18
    return np.array([(of_seeds - rest) / 6, (of_methods - rest) / 8, rest])


def test_a_balanced_design_has_the_closed_form_of_the_analysis_of_variance():
    found = variance_components(VALUES, {"seed": SEED, "method": METHOD})
    right = crossed(VALUES)
    assert (right > 0).all() and list(found.variances) == ["seed", "method", "residual"]
    assert np.allclose(list(found.variances.values()), right, rtol=1e-9)
    assert np.allclose(list(found.shares.values()), right / right.sum(), rtol=1e-9) and found.observations == 24


def test_of_rdms_it_is_the_mean_over_their_entries():
    stack = VALUES[:, None] + RNG.standard_normal((4, 15))[SEED] + 0.5 * RNG.standard_normal((24, 15))
    found = variance_components(stack, {"seed": SEED, "method": METHOD})
    assert np.allclose(list(found.variances.values()), crossed(stack).mean(axis=1), rtol=1e-9)


def test_a_nested_design():
    run = np.repeat(np.arange(8), 3)
    group = run // 4
    y = RNG.standard_normal(2)[group] * 4 + RNG.standard_normal(8)[run] * 2 + RNG.standard_normal(24)
    runs = np.array([y[run == one].mean() for one in range(8)])
    groups = np.array([y[group == one].mean() for one in range(2)])
    within = ((y - runs[run]) ** 2).sum() / 16
    of_runs = 3 * ((runs - groups[np.arange(8) // 4]) ** 2).sum() / 6
    of_groups = 12 * ((groups - y.mean()) ** 2).sum()
    right = [(of_groups - of_runs) / 12, (of_runs - within) / 3, within]
    assert min(right) > 0
    found = variance_components(y, {"group": group, "run": run})
    assert np.allclose(list(found.variances.values()), right, rtol=1e-9)


def test_an_unbalanced_design_is_that_of_statsmodels():
    from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

    kept = np.array([0, 1, 2, 4, 5, 7, 8, 9, 10, 13, 14, 16, 17, 18, 21, 22, 23])
    y, seed, method = VALUES[kept], SEED[kept], METHOD[kept]
    parts = {"seed": np.eye(4)[seed], "method": np.eye(3)[method]}
    of = VCSpec(
        list(parts), [[[f"{name}{at}" for at in range(one.shape[1])]] for name, one in parts.items()],
        [[one] for one in parts.values()],
    )  # fmt: skip
    with warnings.catch_warnings():
        # Theirs, of a gradient that rounding keeps from 0.
        warnings.simplefilter("ignore")
        model = MixedLM(y, np.ones((len(y), 1)), np.zeros(len(y)), exog_vc=of)
        fitted = model.fit(reml=True, method="bfgs", gtol=1e-10)
    found = variance_components(y, {"seed": seed, "method": method})
    theirs = [*fitted.vcomp, fitted.scale]
    assert np.allclose(list(found.variances.values()), theirs, rtol=1e-6)


def test_a_factor_without_an_effect_has_no_variance():
    found = variance_components([1.0, 5.0, 2.0, 4.0, 3.0, 3.1], {"pair": [0, 0, 1, 1, 2, 2]})
    assert found.variances["pair"] == 0 and found.shares["residual"] == 1
    assert found.variances["residual"] == pytest.approx(np.var([1.0, 5.0, 2.0, 4.0, 3.0, 3.1], ddof=1), rel=1e-9)


BAD = [
    ({"seed": [0] * 24}, r"factors\['seed'\]: has one level \(0\)"),
    ({"run": np.arange(24)}, r"factors\['run'\]: has as many levels as there are observations"),
    ({"seed": SEED, "again": list(map(str, SEED))}, r"factors\['again'\]: has the levels of 'seed'"),
    ({"seed": SEED[:5]}, "24 observations and labels"),
    ({"residual": SEED}, "residual is the name of what is left"),
    ({}, "at least one factor"),
    ({"a": np.arange(24) // 2, "b": np.arange(24) % 13}, "24 observations leave nothing beside the levels of a, b"),
]


@pytest.mark.parametrize(("factors", "line"), BAD)
def test_factors_that_cannot_be_told_apart_are_named(factors, line):
    with pytest.raises(UserError, match=line):
        variance_components(VALUES, factors)


def test_nothing_that_varies():
    with pytest.raises(UserError, match="all observations are the same"):
        variance_components(np.full(24, 1e9), {"seed": SEED})
    with pytest.raises(UserError, match="explain all of the variance"):
        variance_components(SEED, {"seed": SEED})
