import functools
import itertools

import numpy as np
import pytest

from orthotrace.analysis.inference.ceilings import POOLS, Ceiling, above_chance, bounds, ceiling, warning
from orthotrace.analysis.rdm import compare
from orthotrace.analysis.rdm.dissimilarity import squared_euclidean
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
SHARED = RNG.standard_normal((9, 6))
RDMS = np.stack([squared_euclidean(SHARED + 0.7 * RNG.standard_normal((9, 6))) for _ in range(5)])


def whitened_length(row):
    """By the whole covariance of the dissimilarities of nine stimuli."""
    contrasts = np.zeros((36, 9))
    for at, (i, j) in enumerate(itertools.combinations(range(9), 2)):
        contrasts[at, i], contrasts[at, j] = 1, -1
    return np.sqrt(row @ np.linalg.solve((contrasts @ contrasts.T) ** 2, row))


def naive(stack, method):
    """Leave one out, and all, with the pooled RDM written out."""

    def pool(rows):
        if method.endswith("_cov"):
            rows = [row - (row.mean() if method == "corr_cov" else 0) for row in rows]
            return sum(row / whitened_length(row) for row in rows)
        if method.startswith("cosine"):
            return sum(row / np.sqrt(np.sum(row**2)) for row in rows)
        if method in ("spearman", "rho_a", "tau_a", "tau_b"):
            return sum(1 + sum((other < row) + 0.5 * (other == row) for other in row) - 0.5 for row in rows)
        if method == "squared_pearson":
            return np.linalg.svd([(row - row.mean()) / row.std() for row in rows])[2][0]
        return sum((row - row.mean()) / row.std() for row in rows)

    score = lambda a, b: compare.METHODS[method](a[None], b[None])[0, 0]  # noqa: E731
    upper = np.mean([score(pool(stack), row) for row in stack])
    lower = np.mean([score(pool(np.delete(stack, k, axis=0)), row) for k, row in enumerate(stack)])
    return lower, upper


@pytest.mark.parametrize("method", POOLS)
def test_against_pooled_rdms(method):
    found = ceiling(RDMS, method)
    assert (found.lower, found.upper) == pytest.approx(expected(method), abs=1e-10)
    assert found.lower < found.upper


expected = functools.cache(lambda method: naive(RDMS, method))


# Powers of ten, of all RDMs or of each: every comparison is free of the scale of an RDM, but the squares of these are no
# numbers.
SCALES = {
    "large": [200] * 5,
    "small": [-200] * 5,
    "each its own": [200, -200, 0, 120, -120],
}


@pytest.mark.parametrize("method", POOLS)
@pytest.mark.parametrize("powers", SCALES.values(), ids=SCALES)
def test_the_size_of_rdms_does_not_count_however_large_or_small(method, powers):
    found = ceiling(RDMS * 10.0 ** np.array(powers)[:, None], method)
    assert (found.lower, found.upper) == pytest.approx(expected(method), abs=1e-9)


@pytest.mark.parametrize("stack", [RDMS, RDMS * [[1], [1], [-1], [1], [-1]]], ids=["alike", "opposite"])
@pytest.mark.parametrize("method", ["pearson", "cosine", "squared_pearson", "corr_cov", "cosine_cov"])
def test_no_rdm_does_better_than_the_pooled_one(method, stack):
    best = ceiling(stack, method).upper
    others = [stack, *(RDMS.mean(0) + size * RNG.standard_normal((200, 36)) for size in (0.1, 0.5, 2))]
    # Sums of the RDMs too, of which the pooled one is the best.
    others.append(RNG.standard_normal((2000, 5)) @ (stack / np.linalg.norm(stack, axis=1, keepdims=True)))
    assert compare.METHODS[method](np.vstack(others), stack).mean(axis=1).max() <= best + 1e-12


@pytest.mark.parametrize("method", compare.SIMILARITIES)
def test_chance_above_0_is_said_of_the_methods_that_have_it(method):
    """RDMs that have nothing in common: of distances, and of unbiased ones, which are negative as often."""
    first, second = RNG.random((2, 60, 10))
    assert bool(above_chance(method)) == (compare.METHODS[method](first, second).mean() > 0.03)
    if method == "bures":
        return
    first, second = RNG.standard_normal((2, 60, 10))
    unbiased = abs(compare.METHODS[method](first, second).mean()) < 0.03
    assert unbiased == (not above_chance(method) or "unless" in above_chance(method))


def test_what_is_said_of_chance():
    within = warning(Ceiling(-0.1, 0.4))
    assert warning(Ceiling(-0.1, 0.4), "cosine") == within != above_chance("cosine")
    assert warning(Ceiling(0.1, 0.4), "cosine") == warning(None, "cosine") == above_chance("cosine") != ""
    assert warning(None) == warning(Ceiling(0.1, 0.4), "spearman") == ""


def test_equal_subjects_have_the_ceiling_1_and_opposite_ones_no_pool():
    assert ceiling(np.tile(RDMS[0], (3, 1))).lower == pytest.approx(1)
    lower, _ = bounds(np.array([[[1, -1, 0], [-1, 1, 0], [0, 0, 1.0]]]), np.ones((1, 3)))
    assert np.isfinite(lower).all()


@pytest.mark.parametrize(
    ("stack", "method", "line"),
    [
        (RDMS[:1], "pearson", "two RDMs or more"),
        (RDMS, "bures", "no noise ceiling for 'bures'; there is for: pearson"),
        (RDMS, "nothing", "no noise ceiling for 'nothing'"),
        (np.vstack([RDMS, np.ones(36)]), "pearson", "RDM 5 is constant"),
        (np.vstack([RDMS, np.full(36, np.inf)]), "cosine", "RDM 5 has entries that are not finite"),
    ],
)
def test_refused(stack, method, line):
    with pytest.raises(UserError, match=line):
        ceiling(stack, method)


@pytest.mark.parametrize("method", POOLS)
def test_rdms_that_cancel_have_no_pool_and_no_nan(method):
    found = ceiling([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], method)
    assert np.isfinite([found.lower, found.upper]).all()
    lower, upper = bounds(np.array([[[1, -1], [-1, 1.0]]]), np.ones((1, 2)))
    assert upper[0] == 0 and lower[0] == -1


HOLES = RDMS.copy()
HOLES[0, :4], HOLES[1, 2:9], HOLES[3, [7, 30]] = np.nan, np.nan, np.nan


def naive_of_gaps(method):
    """Pools over those that have an entry, and scores of the entries that both have, written out."""
    from scipy.stats import rankdata

    def standard(row):
        there = ~np.isnan(row)
        found, values = np.full(len(row), np.nan), row[there]
        if method in ("spearman", "rho_a", "tau_a", "tau_b"):
            found[there] = (rankdata(values) - 0.5) / len(values)
        else:
            values = values if method.startswith("cosine") else values - values.mean()
            found[there] = values / np.sqrt(np.mean(values**2))
        return found

    def score(a, b):
        there = ~np.isnan(a) & ~np.isnan(b)
        return compare.METHODS[method](np.where(there, a, np.nan)[None], np.where(there, b, np.nan)[None])[0, 0]

    def shared(a, b):
        there = ~np.isnan(a) & ~np.isnan(b)
        return np.corrcoef(a[there], b[there])[0, 1]

    def pool(rows):
        weights = np.ones(len(rows))
        if method == "squared_pearson":
            weights = np.linalg.svd([[shared(a, b) for b in rows] for a in rows])[0][:, 0]
        return np.round(np.nanmean([w * standard(row) for w, row in zip(weights, rows, strict=True)], axis=0), 12)

    upper = np.mean([score(pool(HOLES), row) for row in HOLES])
    return np.mean([score(pool(np.delete(HOLES, k, axis=0)), row) for k, row in enumerate(HOLES)]), upper


@pytest.mark.parametrize("method", POOLS)
def test_rdms_that_miss_different_entries(method):
    found = ceiling(HOLES, method)
    assert (found.lower, found.upper) == pytest.approx(naive_of_gaps(method), abs=1e-10)


@pytest.mark.parametrize(("lower", "said"), [(-0.2, True), (0.0, True), (1e-6, False), (0.3, False)])
def test_chance_within_a_noise_ceiling_is_said(lower, said):
    limits = Ceiling(lower, 0.5)
    assert limits.has_chance == said
    assert (f"Chance (0) lies within the noise ceiling: its lower bound is {lower:.3f}" in warning(limits)) == said
