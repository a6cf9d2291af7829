import itertools

import numpy as np
import pytest
from scipy import stats

from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.analysis.studies.consistency import (
    between_networks,
    bootstrap_means,
    by_descriptors,
    jackknife_error,
    pair_mean,
)
from orthotrace.core.errors import UserError


def matrix(n: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).uniform(0.3, 0.9, (n, n))
    values = (values + values.T) / 2
    np.fill_diagonal(values, 1)
    return values


def pairs_of(values: np.ndarray, nodes) -> list[float]:
    return [values[a, b] for a, b in itertools.combinations(nodes, 2) if a != b]


@pytest.mark.parametrize("n", [3, 4, 9])
def test_the_jackknife_leaves_out_networks(n):
    values = matrix(n)
    without = [np.mean(pairs_of(values, [k for k in range(n) if k != out])) for out in range(n)]
    expected = np.sqrt((n - 1) / n * np.sum((np.array(without) - np.mean(without)) ** 2))
    assert jackknife_error(values) == pytest.approx(expected, abs=1e-12)


def test_the_bootstrap_resamples_networks_and_drops_a_network_with_itself():
    values = matrix(6)
    means = bootstrap_means(values, resamples=50, seed=3)
    weights = np.random.default_rng(3).multinomial(6, np.full(6, 1 / 6), size=50)
    expected = [np.mean(pairs_of(values, np.repeat(np.arange(6), w))) for w in weights if (w > 0).sum() > 1]
    assert np.allclose(means, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("n", "method", "interval"),
    [
        (2, "jackknife", "none"),
        (3, "bootstrap", "jackknife"),
        (4, "bootstrap", "jackknife"),
        (5, "bootstrap", "bootstrap"),
        (12, "bootstrap", "bootstrap"),
        (5, "jackknife", "jackknife"),
        (12, "jackknife", "jackknife"),
    ],
)
def test_the_interval_fits_the_number_of_networks(n, method, interval):
    values = matrix(n)
    result = pair_mean(values, method)
    assert result.interval == interval and result.networks == n and len(result.pairs) == n * (n - 1) // 2
    assert result.mean == pytest.approx(np.mean(pairs_of(values, range(n))))
    if interval == "none":
        assert result.low is None and result.high is None
    else:
        assert result.low < result.mean < result.high
        wider = pair_mean(values, method, level=0.99)
        assert wider.low < result.low < result.high < wider.high
    if interval == "jackknife":
        half = stats.t.ppf(0.975, n - 1) * jackknife_error(values)
        assert (result.low, result.high) == pytest.approx((result.mean - half, result.mean + half))


def test_seeds_repeat_and_differ():
    one, again, other = (pair_mean(matrix(6), "bootstrap", seed=seed) for seed in (1, 1, 2))
    assert one == again != other


@pytest.mark.parametrize(
    ("method", "n", "least"), [("jackknife", 3, 0.93), ("jackknife", 8, 0.9), ("bootstrap", 20, 0.86)]
)
def test_intervals_cover_the_truth_about_as_often_as_they_say(method, n, least):
    """A pair = a common part, one of each network, and noise: the mean over pairs of all networks is known."""
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        own = 0.05 * rng.standard_normal(n)
        noise = np.triu(0.03 * rng.standard_normal((n, n)), 1)
        result = pair_mean(0.6 + own[:, None] + own[None] + noise + noise.T, method, resamples=400, seed=trial)
        hits += result.low <= 0.6 <= result.high
    assert least <= hits / 200 <= 0.99


def test_the_diagonal_is_of_no_pair():
    values = matrix(4)
    empty = values.copy()
    np.fill_diagonal(empty, np.nan)
    assert pair_mean(values) == pair_mean(np.where(np.isnan(empty), 7.0, empty))


@pytest.mark.parametrize("values", [np.ones((1, 1)), np.ones((2, 3)), [[1, 0.2], [0.3, 1]], np.full((3, 3), np.nan)])
def test_what_is_no_matrix_of_networks(values):
    with pytest.raises(UserError, match="matrix"):
        pair_mean(values)


@pytest.mark.parametrize(
    ("options", "line"), [({"method": "bayes"}, "there is no interval 'bayes'"), ({"level": 1}, "a level in")]
)
def test_options_that_cannot_be(options, line):
    with pytest.raises(UserError, match=line):
        pair_mean(matrix(4), **options)


RNG = np.random.default_rng(0)
SHARED = RNG.random(66)
NETWORKS = SHARED + 0.5 * RNG.random((6, 66))


def test_networks_are_compared_by_the_shared_variance_of_their_rdms():
    found = between_networks(NETWORKS)
    expected = [np.corrcoef(NETWORKS[i], NETWORKS[j])[0, 1] ** 2 for i, j in itertools.combinations(range(6), 2)]
    assert found.pairs == pytest.approx(expected, abs=1e-12) and found.networks == 6
    assert found.high == pytest.approx(pair_mean(np.corrcoef(NETWORKS) ** 2).high, abs=1e-12)


@pytest.mark.parametrize("method", ["jackknife", "bootstrap"])
def test_resampled_stimuli_widen_the_interval(method):
    plain, wider = (between_networks(NETWORKS, method, stimuli=flag, resamples=500) for flag in (False, True))
    assert wider.pairs == plain.pairs and wider.interval == method
    assert wider.low < plain.low and wider.high > plain.high - (0.02 if method == "bootstrap" else 0)
    assert between_networks(NETWORKS, method, stimuli=True, resamples=500) == wider


def test_the_variance_over_stimuli_is_that_of_resampled_rdms():
    from orthotrace.analysis.rdm.triangles import square

    plain = between_networks(NETWORKS)
    found = between_networks(NETWORKS, stimuli=True, resamples=300, seed=2)
    rng = np.random.default_rng(2)
    from orthotrace.analysis.inference.resampling import draw

    means = []
    matrices = [square(one) for one in NETWORKS]
    for w in draw(12, 300, rng, least=3):
        at = np.repeat(np.arange(12), w.astype(int))
        cut = [[m[a, b] for i, a in enumerate(at) for b in at[i + 1 :] if a != b] for m in matrices]
        means.append(np.mean(np.corrcoef(cut)[np.triu_indices(6, 1)] ** 2))
    half = plain.high - plain.mean
    t = stats.t.ppf(0.975, 5)
    expected = t * np.sqrt((half / t) ** 2 + 12 / 11 * np.var(means, ddof=1))
    assert found.high - found.mean == pytest.approx(expected, rel=1e-9)


def test_two_networks_have_no_interval_even_with_stimuli():
    assert between_networks(NETWORKS[:2], stimuli=True).low is None


def test_seeds_by_layer_and_task():
    layers, tasks = np.array(["a", "b"] * 3), np.array([1, 1, 1, 2, 2, 2])
    rdms = RDMs(NETWORKS, None, {}, {"layer": layers, "task": tasks})
    found = by_descriptors(rdms, "layer")
    assert list(found) == [("a",), ("b",)] and found[("b",)] == between_networks(NETWORKS[1::2])
    assert by_descriptors(rdms) == {(): between_networks(NETWORKS)}
    with pytest.raises(UserError, match="layer=b, task=1: a matrix"):
        by_descriptors(rdms, "layer", "task")
    with pytest.raises(UserError, match="no descriptor 'sed'"):
        by_descriptors(rdms, "sed")


def test_an_rdm_that_is_constant_in_a_resample_makes_no_nan():
    labels = np.array([0, 1, 1, 1, 1, 1])
    kinds = (labels[:, None] != labels)[np.triu_indices(6, 1)].astype(float)
    for method in ("jackknife", "bootstrap"):
        found = between_networks(np.vstack([kinds, RNG.random((5, 15))]), method, stimuli=True, resamples=300)
        assert np.isfinite([found.low, found.high]).all() and found.stimuli


@pytest.mark.parametrize(
    ("rdms", "options", "line"),
    [
        (RNG.random((4, 3)), {"stimuli": True}, "stimuli: at least 5 are needed"),
        (NETWORKS, {"resamples": 1}, "a spread needs at least 2 resamples"),
        (NETWORKS, {"resamples": 0, "method": "bootstrap"}, "a spread needs at least 2 resamples"),
    ],
)
def test_too_little_to_resample(rdms, options, line):
    with pytest.raises(UserError, match=line):
        between_networks(rdms, **options)
