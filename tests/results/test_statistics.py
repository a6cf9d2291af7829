from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from orthotrace.results.statistics import holm, mean_interval, paired

CASES = [np.random.default_rng(seed).normal(0.8, 0.05, (2, count)) for seed, count in enumerate((2, 3, 5, 30))]


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"n={case.shape[1]}")
def test_the_paired_test_is_that_of_scipy(case, confidence):
    ours, theirs = paired(*case.tolist(), confidence), stats.ttest_rel(*case)
    bounds = theirs.confidence_interval(confidence)
    assert ours.t == pytest.approx(theirs.statistic, rel=1e-10) and ours.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (ours.low, ours.high) == pytest.approx((bounds.low, bounds.high), rel=1e-10)
    assert ours.difference == pytest.approx(np.mean(case[0] - case[1])) and ours.count == case.shape[1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"n={case.shape[1]}")
def test_the_interval_is_that_of_scipy(case):
    ours = mean_interval(case[0].tolist())
    low, high = stats.t.interval(0.95, len(case[0]) - 1, np.mean(case[0]), stats.sem(case[0]))
    assert (ours.low, ours.high) == pytest.approx((low, high), rel=1e-10)


def test_swapping_turns_the_sign_and_nothing_else():
    one, other = paired(*CASES[2].tolist()), paired(*CASES[2][::-1].tolist())
    assert (one.p, one.difference, one.low) == (other.p, -other.difference, -other.high)


def test_equal_differences():
    same, shifted = paired([0.5, 0.6], [0.5, 0.6]), paired([0.5, 0.6], [0.4, 0.5])
    assert (same.difference, same.p) == (0, 1) and shifted.p == 0 and shifted.t == float("inf")
    assert mean_interval([0.3]).low is None
    # What rounding alone tells apart is equal.
    assert paired([0.3] * 3, [0.1 + 0.2] * 3).p == 1


def test_holm_is_that_of_the_paper():
    values = [0.01, 0.04, 0.03, 0.005, 1.0]
    # Step down: sorted p times the number of tests left, never falling.
    assert holm(values) == pytest.approx([0.04, 0.09, 0.09, 0.025, 1.0])
    assert holm([]) == []


@pytest.mark.parametrize("scores", [([], []), ([1.0], [1.0]), ([1.0, 2.0], [1.0])])
def test_too_few(scores):
    with pytest.raises(ValueError, match="pairs are needed"):
        paired(*scores)
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])
