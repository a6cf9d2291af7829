"""Two groups of RDMs: every membership by a loop, p uniform without a difference, power with one."""

import itertools

import numpy as np
import pytest
from scipy import stats

from orthotrace.analysis.inference import Weighted, group_interval, group_test
from orthotrace.analysis.rdm import RDMs, compare
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
TRUTH, OTHER = RNG.random((2, 15))
FIRST, SECOND = TRUTH + RNG.random((3, 15)), TRUTH + 0.4 * OTHER + RNG.random((4, 15))
GAPS = FIRST.copy()
GAPS[0, [2, 7]], GAPS[2, 4] = np.nan, np.nan


def by_loop(first, second, difference):
    every = [*first, *second]
    found = []
    for chosen in itertools.combinations(range(len(every)), len(first)):
        groups = [
            np.array([one for at, one in enumerate(every) if (at in chosen) == inside]) for inside in (True, False)
        ]
        found.append(difference(*groups))
    return found[0], np.mean(np.abs(found) >= abs(found[0]) - 1e-12), len(found)


@pytest.mark.parametrize("first", [FIRST, GAPS], ids=["whole", "missing"])
@pytest.mark.parametrize("method", ["norm_difference", "pearson", "spearman", "cosine_cov"])
def test_mean_rdms_of_all_memberships(method, first):
    def difference(a, b):
        value = compare.METHODS[method](np.nanmean(a, 0)[None], np.nanmean(b, 0)[None])[0, 0]
        return value if method == "norm_difference" else 1 - value

    found = group_test(first, SECOND, method=method)
    right = by_loop(first, SECOND, difference)
    assert (found.difference, found.p, found.memberships) == pytest.approx(right, abs=1e-10) and found.exact


@pytest.mark.parametrize("first", [FIRST, GAPS], ids=["whole", "missing"])
@pytest.mark.parametrize("method", ["pearson", "tau_a"])
def test_models_in_all_memberships(method, first):
    scores = [compare.METHODS[method](TRUTH[None], one)[0] for one in (first, SECOND)]
    right = by_loop(*scores, lambda a, b: a.mean() - b.mean())
    found = group_test(first, SECOND, TRUTH, method)
    assert (found.difference, found.p, found.memberships) == pytest.approx(right, abs=1e-10) and found.exact
    assert group_test(SECOND, first, TRUTH, method).difference == pytest.approx(-found.difference)


@pytest.mark.parametrize("model", [None, TRUTH])
def test_a_sample_comes_near_to_all_and_repeats(model):
    exact = group_test(FIRST, SECOND, model)
    drawn = [group_test(FIRST, SECOND, model, permutations=34, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] and not drawn[0].exact and drawn[0].memberships == 34
    assert drawn[0].difference == pytest.approx(exact.difference)
    shares = [group_test(FIRST, SECOND, model, permutations=34, seed=seed).p for seed in range(150)]
    # (1 + N p)/(1 + N) on average.
    right, error = (1 + 34 * exact.p) / 35, np.std(shares) / np.sqrt(150)
    assert abs(np.mean(shares) - right) < 4 * error


@pytest.mark.parametrize("model", [None, TRUTH])
def test_p_is_uniform_without_a_difference_and_small_with_one(model):
    rng = np.random.default_rng(1)
    ps, found = [], []
    for _ in range(200):
        noise = rng.random((9, 15))
        ps.append(
            group_test((TRUTH + noise)[:4], (TRUTH + noise)[4:], model, permutations=60, seed=int(rng.integers(1e6))).p
        )
        shifted = np.vstack([TRUTH + noise[:4], OTHER + noise[4:]])
        found.append(group_test(shifted[:4], shifted[4:], model, permutations=126).p)
    # Uniform on 1/61, ..., 1.
    assert stats.kstest(np.array(ps) - rng.random(200) / 61, "uniform").pvalue > 1e-3
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(ps) <= level) <= level + 4 * np.sqrt(level / 200)
    assert np.mean(np.array(found) <= 0.05) > 0.8


def test_groups_that_are_alike_do_not_differ():
    same = np.tile(TRUTH, (3, 1))
    assert group_test(same, same).p == 1 and group_test(same, same, TRUTH).p == 1
    # What differs in the last digit alone is as good as the same.
    near = np.concatenate([np.nextafter(same[:2], np.inf), same[2:]])
    assert group_test(near, same).p == 1
    # With groups of one size, swapped memberships differ alike.
    assert group_test(FIRST, SECOND[:3]).p >= 2 / 20


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_rdms_of_any_size(scale):
    found, right = group_test(scale * FIRST, scale * SECOND), group_test(FIRST, SECOND)
    assert found.p == right.p and found.difference / scale == pytest.approx(right.difference)


IMAGES = {"image": list("abcdef")}
BAD = {
    "few": (lambda: group_test(FIRST[:1], SECOND[:1]), r"at least three RDMs in both groups together are needed \(got 2"),
    "method": (lambda: group_test(FIRST, SECOND, method="pearso"), "no comparison 'pearso'; did you mean 'pearson'"),
    "distance": (
        lambda: group_test(FIRST, SECOND, TRUTH, "norm_difference"), "method: there is no similarity 'norm_difference'"
    ),
    "size": (lambda: group_test(FIRST, SECOND[:, :10]), "RDMs of one size are needed"),
    "permutations": (lambda: group_test(FIRST, SECOND, permutations=0), "permutations: a whole number of at least 1"),
    "seed": (lambda: group_test(FIRST, SECOND, permutations=2, seed=-1), "seed: a whole number"),
    "model": (lambda: group_test(FIRST, SECOND, TRUTH[:10]), "model: RDMs of one size are needed"),
    "flat": (lambda: group_test(FIRST, SECOND, np.ones(15)), "model: RDM 0 is constant"),
    "fitted": (lambda: group_test(FIRST, SECOND, Weighted(FIRST)), "model: a model that is fitted"),
    "order": (
        lambda: group_test(RDMs(FIRST, None, IMAGES), RDMs(SECOND, None, {"image": list("bacdef")})), "in another order"
    ),
    "order of the model": (
        lambda: group_test(RDMs(FIRST, None, IMAGES), SECOND, RDMs(TRUTH, None, {"image": list("bacdef")})),
        "model: the RDMs are of other stimuli",
    ),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_refused_by_name(bad):
    call, line = BAD[bad]
    with pytest.raises(UserError, match=line):
        call()


@pytest.mark.parametrize("first", [FIRST, GAPS], ids=["whole", "missing"])
@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_the_interval_of_a_difference_is_that_of_a_loop(method, first):
    found = group_interval(first, SECOND, TRUTH, method, samples=1500, level=0.9, seed=3)
    rng, means, groups = np.random.default_rng(3), [], []
    for group in (first, SECOND):
        # Each member alone: a model is compared with the entries that both have.
        groups.append(np.array([compare.METHODS[method](TRUTH[None], one[None])[0, 0] for one in group]))
        draws = np.concatenate([rng.integers(len(group), size=(size, len(group))) for size in (1000, 500)])
        means.append(np.array([np.mean([groups[-1][member] for member in chosen]) for chosen in draws]))
    ends = np.percentile(means[0] - means[1], [5, 95])
    assert found.difference == pytest.approx(groups[0].mean() - groups[1].mean(), abs=1e-12)
    assert (found.low, found.high) == pytest.approx(ends, abs=1e-12) and found.samples == 1500


def test_the_interval_covers_the_true_difference():
    """Of 12 members each the percentiles hold nearly the 95 % that they should."""
    rng = np.random.default_rng(0)
    model, hits = rng.random(40), 0
    unit = (model - model.mean()) / np.linalg.norm(model - model.mean())

    def members(strengths):
        # The correlation with the model is the strength itself.
        noise = rng.normal(size=(len(strengths), 40))
        noise -= noise.mean(1, keepdims=True) + (noise @ unit)[:, None] * unit
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        return strengths[:, None] * unit + np.sqrt(1 - strengths[:, None] ** 2) * noise

    for seed in range(300):
        first, second = 0.5 + 0.1 * rng.normal(size=12), 0.3 + 0.1 * rng.normal(size=12)
        found = group_interval(members(first), members(second), model, samples=400, seed=seed)
        hits += found.low <= 0.2 <= found.high
    assert 0.89 <= hits / 300 <= 0.97


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"first": FIRST[:1]}, "first: one RDM alone cannot be resampled"),
        ({"method": "norm_difference"}, "method: there is no similarity 'norm_difference'"),
        ({"level": 1}, r"level: a level in \(0, 1\) is needed"),
        ({"samples": 0}, "samples: a whole number of at least 1"),
        ({"model": Weighted([TRUTH, OTHER])}, "model: a model that is fitted"),
        ({"second": SECOND[:, :10]}, "first and second|stimuli|entries"),
    ],
)
def test_what_has_no_interval(change, line):
    with pytest.raises(UserError, match=line):
        group_interval(**{"first": FIRST, "second": SECOND, "model": TRUTH, **change})
