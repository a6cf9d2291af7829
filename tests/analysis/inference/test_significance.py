import itertools
import tracemalloc

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import squareform

from orthotrace.analysis.inference.ceilings import Ceiling
from orthotrace.analysis.inference.evaluation import bootstrap, evaluate
from orthotrace.analysis.inference.permuted import permuted_scores
from orthotrace.analysis.inference.significance import Evaluation, permutation_test
from orthotrace.analysis.rdm import compare
from orthotrace.analysis.rdm.dissimilarity import squared_euclidean
from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
SCORES = RNG.normal([[0.5], [0.45], [0.1]], 0.08, (3, 9))
PLAIN = Evaluation(("a", "b", "c"), "pearson", SCORES, Ceiling(0.6, 0.7))


def test_t_tests_over_subjects_are_scipys():
    found = PLAIN.compare("t")
    for i, j in itertools.combinations(range(3), 2):
        assert found.pairs[i, j] == pytest.approx(stats.ttest_rel(SCORES[i], SCORES[j]).pvalue, rel=1e-9)
    zero = stats.ttest_1samp(SCORES, 0, axis=1, alternative="greater").pvalue
    assert np.allclose(found.zero, zero, rtol=1e-9)
    below = stats.ttest_1samp(SCORES, 0.6, axis=1, alternative="less").pvalue
    assert np.allclose(found.ceiling, below, rtol=1e-9)
    assert np.allclose(PLAIN.errors, stats.sem(SCORES, axis=1)) and PLAIN.degrees == 8
    low, high = PLAIN.intervals()[1]
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 8, SCORES[1].mean(), stats.sem(SCORES[1])), rel=1e-9)


def test_signed_rank_tests_are_scipys():
    found = PLAIN.compare("signed_rank")
    assert found.pairs[0, 1] == pytest.approx(stats.wilcoxon(SCORES[0], SCORES[1]).pvalue)
    assert found.zero[2] == pytest.approx(stats.wilcoxon(SCORES[2], alternative="greater").pvalue)
    assert found.ceiling is None


def test_false_discoveries_are_controlled_over_the_pairs():
    found = PLAIN.compare("t")
    pairs = np.triu_indices(3, 1)
    assert np.allclose(found.adjusted[pairs], stats.false_discovery_control(found.pairs[pairs]))
    assert np.array_equal(found.adjusted, found.adjusted.T) and (np.diag(found.adjusted) == 1).all()


def test_bootstrap_tests_count_draws_of_the_right_spread():
    """Sixteen subjects; draws spread by sqrt(16/15), about the differences."""
    scores = np.tile(RNG.normal([[0.5], [0.45], [0.1]], 0.08, (3, 16)), 1)
    draws = RNG.normal([0.5, 0.45, 0.1, 0.6, 0.7], 0.05, (199, 5))
    evaluated = Evaluation(("a", "b", "c"), "pearson", scores, Ceiling(0.6, 0.7), {"rdms": draws}, 20)
    found = evaluated.compare("bootstrap")

    def differences(values, point):
        return point + np.sqrt(16 / 15) * (values - values.mean())

    pair = differences(draws[:, 0] - draws[:, 1], scores[0].mean() - scores[1].mean())
    assert found.pairs[0, 1] == pytest.approx(min(1, 2 * (1 + min((pair <= 0).sum(), (pair >= 0).sum())) / 200))
    zero = differences(draws[:, 2], scores[2].mean())
    assert found.zero[2] == pytest.approx((1 + (zero <= 0).sum()) / 200)
    below = differences(draws[:, 3] - draws[:, 0], 0.6 - scores[0].mean())
    assert found.ceiling[0] == pytest.approx((1 + (below <= 0).sum()) / 200)


def test_a_bootstrap_test_of_few_subjects_warns():
    draws = RNG.normal(0.3, 0.1, (50, 5))
    with pytest.warns(UserWarning, match="over 9 subjects or stimuli finds too much"):
        Evaluation(("a", "b", "c"), "pearson", SCORES, None, {"rdms": draws}, 20).compare("bootstrap")


@pytest.mark.parametrize("test", ["t", "signed_rank", "bootstrap"])
def test_models_that_are_equal_but_for_rounding_are_not_different(test):
    a = RNG.random(45)
    data = a + RNG.random((12, 45))
    found = bootstrap({"a": a, "b": 2.3 * a + 0.4}, data, over="rdms", resamples=100)
    assert found.compare(test).pairs[0, 1] == 1
    if test != "bootstrap":
        assert evaluate({"a": a, "b": 2.3 * a + 0.4}, data).compare(test).pairs[0, 1] == 1


@pytest.mark.parametrize("over", ["rdms", "stimuli", "both"])
def test_the_true_model_is_seldom_below_the_ceiling(over):
    rng = np.random.default_rng(3)
    rejected = 0
    for seed in range(40):
        truth = squared_euclidean(rng.standard_normal((14, 5)))
        data = truth + truth.std() * rng.standard_normal((12, 91))
        found = bootstrap({"true": truth}, data, over=over, resamples=60, seed=seed)
        rejected += sum(found.compare(test).ceiling[0] < 0.05 for test in ("t", "bootstrap"))
    assert rejected / 80 <= 0.1


def normal(variance, seed):
    draws = np.random.default_rng(seed).standard_normal((5000, 5))
    return (draws - draws.mean(0)) / draws.std(0, ddof=1) * np.sqrt(variance)


CORRECTED = {
    # r V_r + s V_s - r s (V_b - V_r - V_s), with 9 subjects and 20 stimuli.
    "formula": ((0.010, 0.004, 0.005), 9 / 8 * 0.004 + 20 / 19 * 0.005 - 9 / 8 * 20 / 19 * 0.001),
    "at least one factor": ((0.012, 0.001, 0.003), 20 / 19 * 0.003),
    "at most both": ((0.004, 0.003, 0.003), 0.004),
}


@pytest.mark.parametrize("case", CORRECTED)
def test_the_variance_over_both_is_corrected(case):
    variances, expected = CORRECTED[case]
    draws = {kind: normal(v, k) for k, (kind, v) in enumerate(zip(("both", "rdms", "stimuli"), variances, strict=True))}
    found = Evaluation(("a", "b", "c"), "pearson", SCORES, Ceiling(0.6, 0.7), draws, 20)
    assert found.errors[0] ** 2 == pytest.approx(expected, rel=1e-9) and found.degrees == 8


@pytest.mark.parametrize(("kind", "factor"), [("rdms", 9 / 8), ("stimuli", 20 / 19)])
def test_the_variance_over_one_factor(kind, factor):
    found = Evaluation(("a", "b", "c"), "pearson", SCORES, None, {kind: normal(0.01, 0)}, 20)
    assert found.errors[0] ** 2 == pytest.approx(factor * 0.01, rel=1e-9)
    assert found.degrees == {"rdms": 8, "stimuli": 19}[kind]


def test_errors_are_those_of_repeated_experiments():
    """New stimuli and new subjects 150 times: the spread of the means is what one bootstrap over both says."""
    rng = np.random.default_rng(5)

    def experiment():
        shared = rng.standard_normal((20, 6))
        data = [squared_euclidean(shared + rng.standard_normal((20, 6))) for _ in range(8)]
        return {"model": squared_euclidean(shared[:, :3])}, np.stack(data)

    spread = np.std([evaluate(*experiment()).means[0] for _ in range(150)], ddof=1)
    said = np.mean([bootstrap(*experiment(), resamples=150).errors[0] for _ in range(12)])
    assert said == pytest.approx(spread, rel=0.35)


@pytest.mark.parametrize("method", ["pearson", "spearman", "cosine", "tau_a"])
def test_permutations_of_stimuli(method):
    first = squared_euclidean(RNG.standard_normal((7, 3)))
    second = first + RNG.random(21)
    score, p = permutation_test(first, second, method, permutations=30, seed=2)
    rng = np.random.default_rng(2)
    whole = RDMs(second).matrices()[0]
    value = compare.METHODS[method](first[None], second[None])[0, 0]
    permuted = []
    for _ in range(30):
        order = rng.permutation(7)
        permuted.append(
            compare.METHODS[method](first[None], whole[np.ix_(order, order)][np.triu_indices(7, 1)][None])[0, 0]
        )
    assert score == pytest.approx(value) and p == pytest.approx((1 + np.sum(np.array(permuted) >= value)) / 31)


def test_all_permutations_give_p_exactly_and_a_sample_comes_near():
    first, second = RNG.random(15), RNG.random(15) + 0.4 * np.arange(15)
    whole, pairs = RDMs(second).matrices()[0], np.triu_indices(6, 1)
    orders = [np.array(order) for order in itertools.permutations(range(6))]
    for method in ("pearson", "squared_pearson", "cosine", "spearman", "rho_a", "tau_a", "corr_cov"):
        score = compare.METHODS[method]
        permuted = score(first[None], np.stack([whole[np.ix_(order, order)][pairs] for order in orders]))[0]
        exact = np.mean(permuted >= permuted[0] - 1e-12)
        assert permutation_test(first, second, method, permutations=None)[1] == exact
        drawn = 2000 if method in ("pearson", "rho_a", "spearman") else 200
        _, p = permutation_test(first, second, method, permutations=drawn, seed=3)
        assert abs(p - exact) <= 4 * np.sqrt(exact * (1 - exact) / drawn) + 1 / drawn, method


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
@pytest.mark.parametrize("method", ["pearson", "squared_pearson", "cosine", "spearman", "rho_a"])
def test_many_stimuli_are_gathered_by_rows(method, scale):
    """200 of them, in blocks that do not divide them, against the comparison itself."""
    first, second = scale * RNG.random(19900), RNG.random(19900)
    orders = [np.arange(200), RNG.permutation(200)]
    whole, pairs = RDMs(second).matrices()[0], np.triu_indices(200, 1)
    expected = compare.METHODS[method](first[None], np.stack([whole[np.ix_(one, one)][pairs] for one in orders]))[0]
    assert np.allclose(list(permuted_scores(first, second, method, iter(orders))), expected, atol=1e-12)


def test_permutations_of_many_stimuli_take_no_copy_of_the_matrix():
    n = 500
    first, second = RNG.random(n * (n - 1) // 2), RNG.random(n * (n - 1) // 2)
    scores = permuted_scores(first, second, "pearson", (RNG.permutation(n) for _ in range(4)))
    next(scores)
    tracemalloc.start()
    assert len(list(scores)) == 3
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * n * n / 2


def test_p_values_of_unrelated_rdms_are_uniform():
    rng = np.random.default_rng(1)
    values = [permutation_test(rng.random(45), rng.random(45), permutations=39, seed=seed)[1] for seed in range(200)]
    assert stats.kstest(values, "uniform").statistic < 0.12


BAD = {
    "test": (lambda: PLAIN.compare("tt"), "no test 'tt'"),
    "no draws": (lambda: PLAIN.compare("bootstrap"), "evaluate by inference.bootstrap"),
    "one subject": (
        lambda: Evaluation(("a",), "pearson", SCORES[:1, :1], None).errors,
        "the error of one subject is unknown",
    ),
    "one pair": (
        lambda: Evaluation(("a",), "pearson", SCORES[:1, :1], None).compare("signed_rank"),
        "two subjects or more",
    ),
    "level": (lambda: PLAIN.intervals(1.5), r"a level in \(0, 1\)"),
    "method": (lambda: permutation_test([1, 2, 3.0], [1, 3, 2.0], "spearmn"), "did you mean 'spearman'"),
    "distance": (lambda: permutation_test([1, 2, 3.0], [1, 3, 2.0], "norm_difference"), "no comparison"),
    "none": (lambda: permutation_test([1, 2, 3.0], [1, 3, 2.0], permutations=0), "at least one permutation"),
    "all of many": (
        lambda: permutation_test(np.arange(45.0), np.arange(45.0) ** 2, permutations=None),
        "10 stimuli are too",
    ),
    "constant": (lambda: permutation_test([1, 1, 1.0], [1, 3, 2.0]), "RDM 0 is constant"),
}


@pytest.mark.parametrize("bad", BAD)
def test_refused_by_name(bad):
    call, line = BAD[bad]
    with pytest.raises(UserError, match=line):
        call()


HOLED = np.random.default_rng(5).random((2, 10))
HOLED[0, [2, 9]], HOLED[1, [4]] = np.nan, np.nan


@pytest.mark.parametrize("method", ["pearson", "spearman", "tau_b", "cosine_cov"])
def test_permutations_of_rdms_that_miss_single_entries_are_scored_on_what_both_have(method):
    rows, columns = np.triu_indices(5, 1)
    full = squareform(HOLED[1], checks=False)
    scores = []
    for order in itertools.permutations(range(5)):
        permuted = full[np.ix_(order, order)][rows, columns]
        there = ~np.isnan(HOLED[0]) & ~np.isnan(permuted)
        a, b = (np.where(there, one, np.nan)[None] for one in (HOLED[0], permuted))
        scores.append(compare.METHODS[method](a, b)[0, 0])
    value, p = permutation_test(HOLED[0], HOLED[1], method, permutations=None)
    assert value == pytest.approx(scores[0], abs=1e-12)
    assert p == np.mean(np.array(scores) >= scores[0] - 1e-12)


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_a_permutation_that_leaves_nothing_to_compare_is_no_evidence_against_chance(method):
    """Both have a triangle and an edge of five stimuli: moved, they may share none, or one."""
    rows, columns = np.triu_indices(5, 1)
    has = (columns < 3) | (rows == 3)
    first, second = np.where(has, np.random.default_rng(8).random((2, 10)), np.nan)
    full, scores = squareform(second, checks=False), []
    for order in itertools.permutations(range(5)):
        permuted = full[np.ix_(order, order)][rows, columns]
        there = has & ~np.isnan(permuted)
        a, b = (np.where(there, one, np.nan)[None] for one in (first, permuted))
        scores.append(compare.METHODS[method](a, b)[0, 0] if there.sum() > 1 else np.inf)
    assert np.isinf(scores).any()
    value, p = permutation_test(first, second, method, permutations=None)
    assert value == pytest.approx(scores[0], abs=1e-12) and p == np.mean(np.array(scores) >= scores[0] - 1e-12)


@pytest.mark.parametrize("method", ["pearson", "spearman", "bures"])
def test_stimuli_that_one_rdm_misses_are_not_permuted(method):
    rdms = np.random.default_rng(6).random((2, 15))
    rows, columns = np.triu_indices(6, 1)
    gone = np.where((rows == 3) | (columns == 3), np.nan, rdms[0])
    kept = (rows != 3) & (columns != 3)
    right = permutation_test(rdms[0, kept], rdms[1, kept], method, permutations=None)
    assert permutation_test(gone, rdms[1], method, permutations=None) == pytest.approx(right, abs=1e-12)
    assert permutation_test(rdms[1], gone, method, permutations=None)[1] == pytest.approx(right[1], abs=1e-12)


def test_a_triangular_number_of_entries_stands_for_no_fewer_stimuli():
    """Six entries of ten, which four stimuli would have: there are five, and 120 permutations."""
    rdms = np.random.default_rng(7).random((2, 10))
    rdms[:, [0, 4, 7, 9]] = np.nan
    full, scores = squareform(rdms[1], checks=False), []
    for order in itertools.permutations(range(5)):
        permuted = full[np.ix_(order, order)][np.triu_indices(5, 1)]
        there = ~np.isnan(rdms[0]) & ~np.isnan(permuted)
        scores.append(np.corrcoef(rdms[0, there], permuted[there])[0, 1])
    value, p = permutation_test(rdms[0], rdms[1], permutations=None)
    assert value == pytest.approx(scores[0]) and p == np.mean(np.array(scores) >= scores[0] - 1e-12)
    with pytest.raises(UserError, match="share no entry"):
        permutation_test(rdms[0], np.where(np.isnan(rdms[0]), 1.0, np.nan))
