import numpy as np
import pytest
from scipy.stats import norm, t, ttest_ind
from sklearn.metrics import roc_auc_score

from orthotrace.analysis.concepts.roc import areas, auc, auc_difference
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
HAS = RNG.random(50) < 0.4
SCORES = {
    "spread": HAS[:, None] + RNG.standard_normal((50, 3)),
    "ties": np.round(HAS[:, None] + RNG.standard_normal((50, 3))),
    "turned": 0.3 - HAS[:, None] + 0.3 * RNG.standard_normal((50, 3)),
    "equal": np.ones((50, 3)),
}


def naive(scores, has):
    """DeLong's structural components, pair by pair."""
    positive, negative = scores[has], scores[~has]
    psi = np.array([[float(a > b) + 0.5 * float(a == b) for b in negative] for a in positive])
    return psi.mean(axis=1), psi.mean(axis=0)


@pytest.mark.parametrize("kind", SCORES)
def test_areas_are_those_of_scikit_learn(kind):
    expected = [roc_auc_score(HAS, column) for column in SCORES[kind].T]
    assert np.allclose(areas(SCORES[kind], HAS), expected, atol=1e-12)
    assert np.allclose(auc(SCORES[kind], HAS).value, expected, atol=1e-12)


@pytest.mark.parametrize("kind", SCORES)
def test_errors_are_delongs_by_pairs(kind):
    found = auc(SCORES[kind], HAS)
    for column, error in zip(SCORES[kind].T, found.error, strict=True):
        v, w = naive(column, HAS)
        assert error == pytest.approx(np.sqrt(v.var(ddof=1) / len(v) + w.var(ddof=1) / len(w)), abs=1e-12)


def test_each_column_with_its_own_positives():
    of = RNG.random((50, 3)) < 0.5
    found = auc(SCORES["ties"], of)
    for column in range(3):
        one = auc(SCORES["ties"][:, column], of[:, column])
        assert (found.value[column], found.low[column]) == (one.value[0], one.low[0])


def test_the_interval_is_made_on_the_logit_scale():
    scores = SCORES["spread"][:, 0]
    found = auc(scores, HAS, level=0.9)
    a, se = found.value[0], found.error[0]
    # Student's, by the degrees of freedom of Welch's test of two samples: of shares of the others that are below.
    above = [np.mean((one > scores[~HAS]) + 0.5 * (one == scores[~HAS])) for one in scores[HAS]]
    below = [np.mean((one < scores[HAS]) + 0.5 * (one == scores[HAS])) for one in scores[~HAS]]
    freedom = ttest_ind(above, below, equal_var=False).df
    ends = np.log(a / (1 - a)) + t.ppf(0.95, freedom) * np.array([-1, 1]) * se / (a * (1 - a))
    assert [found.low[0], found.high[0]] == pytest.approx(1 / (1 + np.exp(-ends)), abs=1e-12)


@pytest.mark.parametrize(("positives", "least"), [(2, 0.87), (3, 0.9), (5, 0.92), (10, 0.935)])
def test_intervals_of_few_images_are_wider(positives, least):
    """By the normal quantile they cover .73, .81, .88 and .93."""
    has = np.arange(200) < positives
    scores = np.random.default_rng(1).standard_normal((200, 2000)) + has[:, None]
    found, truth = auc(scores, has), norm.cdf(1 / np.sqrt(2))
    assert least <= np.mean((found.low <= truth) & (truth <= found.high)) <= 0.97


@pytest.mark.parametrize("apart", [0.5, 1.5])
def test_intervals_cover_the_truth_as_often_as_they_say(apart):
    """2,000 columns are 2,000 draws of 30 positives and 60 negatives: +-1 % is two standard errors."""
    has = np.arange(90) < 30
    scores = np.random.default_rng(1).standard_normal((90, 2000)) + apart * has[:, None]
    truth = norm.cdf(apart / np.sqrt(2))
    found = auc(scores, has)
    assert 0.935 <= np.mean((found.low <= truth) & (truth <= found.high)) <= 0.97


WILSON = norm.ppf(0.975) ** 2
# Images that have the concept come last; the ends of the interval by hand.
EDGES = {
    "perfect": ([1, 2, 3, 4, 5], 3, 1.0, 2 / (2 + WILSON), 1.0),
    "perfectly wrong": ([5, 4, 3, 2, 1], 3, 0.0, 0.0, WILSON / (2 + WILSON)),
    "one positive": ([1, 2, 3, 9], 1, 1.0, 1 / (1 + WILSON), 1.0),
    "one negative": ([1, 2, 3, 9], 3, 1.0, 1 / (1 + WILSON), 1.0),
    "all equal": ([2, 2, 2, 2], 2, 0.5, 0.5 - np.sqrt(WILSON * (2 + WILSON) / 4) / (2 + WILSON), None),
}


@pytest.mark.parametrize("edge", EDGES)
def test_without_a_spread_the_interval_is_wilsons(edge):
    scores, positives, value, low, high = EDGES[edge]
    has = np.arange(len(scores)) >= len(scores) - positives
    found = auc(np.array(scores, float), has)
    assert found.value[0] == value and found.low[0] == pytest.approx(low, abs=1e-12)
    assert found.high[0] == pytest.approx(1 - low if high is None else high, abs=1e-12)


def test_differences_against_the_covariance_of_components():
    x, y = SCORES["spread"][:, 0], SCORES["ties"][:, 1]
    (v, w), (v_y, w_y) = naive(x, HAS), naive(y, HAS)
    s, t = np.cov(v, v_y) / len(v), np.cov(w, w_y) / len(w)
    error = np.sqrt((s + t)[0, 0] + (s + t)[1, 1] - 2 * (s + t)[0, 1])
    found = auc_difference(x, y, HAS)
    value = roc_auc_score(HAS, x) - roc_auc_score(HAS, y)
    assert (found.value[0], found.error[0]) == pytest.approx((value, error), abs=1e-12)
    assert found.p[0] == pytest.approx(2 * norm.sf(abs(value) / error))
    assert found.high[0] - found.low[0] == pytest.approx(2 * norm.ppf(0.975) * error)


def test_differences_of_areas_that_are_the_same_are_found_at_the_level():
    has = np.arange(80) < 40
    rng = np.random.default_rng(2)
    common = has[:, None] + rng.standard_normal((80, 1000))
    found = auc_difference(common + rng.standard_normal((80, 1000)), common + rng.standard_normal((80, 1000)), has)
    assert 0.03 <= np.mean(found.p < 0.05) <= 0.075


def test_differences_without_a_spread():
    has = np.arange(20) >= 10
    perfect, shuffled = np.arange(20.0), np.r_[RNG.permutation(10), 10 + RNG.permutation(10)].astype(float)
    same = auc_difference(perfect, np.exp(perfect), has)
    assert (same.low[0], same.high[0], same.p[0]) == (0, 0, 1)
    # Both are perfect here, and need not be on other images.
    other = auc_difference(perfect, shuffled, has)
    gap = 1 - 10 / (10 + WILSON)
    assert (other.value[0], other.p[0]) == (0, 1) and [other.low[0], other.high[0]] == pytest.approx([-gap, gap])
    opposite = auc_difference(perfect, -perfect, has)
    assert opposite.value[0] == 1 and opposite.high[0] == 1 and 0.4 < opposite.low[0] < 0.7 and opposite.p[0] < 0.01


X = SCORES["spread"]
HOLE = np.where((np.arange(50)[:, None] == 3) & (np.arange(3) == 1), np.nan, X)
BAD = {
    "NaN": (lambda: auc(HOLE, HAS), "the score of image 3 in column 1 is not finite"),
    "no positives": (lambda: auc(X, np.zeros(50)), "column 0 has no positive image"),
    "no negatives": (lambda: areas(X, np.stack([HAS, HAS, HAS | True], 1)), "column 2 has no negative image"),
    "one image": (lambda: auc([1.0], [True]), "column 0 has no negative image"),
    "number": (lambda: auc(X, HAS[:9]), r"got \(50, 3\) and \(9, 1\)"),
    "columns": (lambda: auc(X, np.stack([HAS, HAS], 1)), r"got \(50, 3\) and \(50, 2\)"),
    "labels": (lambda: auc(X, np.arange(50)), "true or false"),
    "level": (lambda: auc(X, HAS, level=95), r"a level in \(0, 1\)"),
    "two shapes": (lambda: auc_difference(X, X[:, :1], HAS), r"one shape are needed, got \(50, 3\) and \(50, 1\)"),
}


@pytest.mark.parametrize("bad", BAD)
def test_refused_by_name(bad):
    call, line = BAD[bad]
    with pytest.raises(UserError, match=line):
        call()
