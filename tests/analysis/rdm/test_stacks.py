"""Pairs of RDMs by the entries that both have."""

import itertools

import numpy as np
import pytest

from orthotrace.analysis.rdm import compare, squared_euclidean
from orthotrace.analysis.rdm.compare import METHODS
from orthotrace.analysis.rdm.stacks import shared_stimuli
from orthotrace.analysis.rdm.triangles import square
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(3)
N = 7
STACK = np.stack([squared_euclidean(RNG.standard_normal((N, 5))) for _ in range(5)])
HOLES = STACK.copy()
# Alike in two; other single pairs in two more; a whole stimulus in the last.
HOLES[:2, [3, 11]] = np.nan
HOLES[2, [0, 5, 6, 20]] = np.nan
HOLES[4, np.isin(np.arange(N), 2)[np.stack(np.triu_indices(N, 1))].any(0)] = np.nan
NOISE = (lambda a: a @ a.T)(RNG.standard_normal((N, N + 3)))
WHOLE = {"cosine_cov": compare.cosine_cov, "corr_cov": compare.corr_cov}
# Pairs of stimuli in their order.
CONTRASTS = np.array([np.eye(N)[i] - np.eye(N)[j] for i, j in itertools.combinations(range(N), 2)])


def dense(a, b, noise, centre):
    there = ~np.isnan(a) & ~np.isnan(b)
    v = (CONTRASTS[there] @ noise @ CONTRASTS[there].T) ** 2
    x, y = (one[there] - (one[there].mean() if centre else 0) for one in (a, b))
    inverse = np.linalg.inv(v)
    return x @ inverse @ y / np.sqrt((x @ inverse @ x) * (y @ inverse @ y))


@pytest.mark.parametrize("name", [name for name in METHODS if name not in (*WHOLE, "bures")])
def test_two_rdms_are_compared_by_the_entries_that_both_have(name):
    score = METHODS[name]
    expected = np.empty((5, 5))
    for i, j in np.ndindex(5, 5):
        there = ~np.isnan(HOLES[i]) & ~np.isnan(HOLES[j])
        expected[i, j] = score(STACK[i : i + 1, there], STACK[j : j + 1, there])[0, 0]
        if name == "norm_difference":
            expected[i, j] *= np.sqrt(21 / there.sum())
    assert np.allclose(score(HOLES), expected, rtol=0, atol=1e-10 * max(1, expected.max()))
    assert np.allclose(score(HOLES[:2], HOLES[1:]), expected[:2, 1:], rtol=1e-10, atol=1e-10)
    complete = [score(HOLES[i : i + 1], STACK[:1])[0, 0] for i in range(5)]
    assert np.allclose(score(HOLES, STACK[:1])[:, 0], complete, rtol=1e-10)


@pytest.mark.parametrize("noise", [None, NOISE], ids=["independent", "noise"])
@pytest.mark.parametrize("name", WHOLE)
def test_whitened_by_the_covariance_of_the_entries_that_both_have(name, noise):
    right = [[dense(a, b, np.eye(N) if noise is None else noise, name == "corr_cov") for b in HOLES] for a in HOLES]
    assert np.allclose(WHOLE[name](HOLES, noise=noise), right, rtol=0, atol=1e-10)
    assert np.allclose(WHOLE[name](HOLES, HOLES[1:4], noise=noise), np.array(right)[:, 1:4], rtol=0, atol=1e-10)


def test_a_triangular_number_of_entries_is_no_smaller_triangle():
    """Six entries of ten left by luck: once the triangle of four other stimuli."""
    stack = np.stack([squared_euclidean(RNG.standard_normal((5, 4))) for _ in range(2)])
    stack[:, [0, 4, 7, 9]] = np.nan
    there = ~np.isnan(stack[0])
    contrasts = np.array([np.eye(5)[i] - np.eye(5)[j] for i, j in itertools.combinations(range(5), 2)])[there]
    inverse = np.linalg.inv((contrasts @ contrasts.T) ** 2)
    a, b = stack[:, there]
    right = a @ inverse @ b / np.sqrt((a @ inverse @ a) * (b @ inverse @ b))
    assert compare.cosine_cov(stack)[0, 1] == pytest.approx(right, abs=1e-10)
    with pytest.raises(UserError, match="without single pairs of stimuli have no Bures"):
        compare.bures(stack)


@pytest.mark.parametrize("name", METHODS)
def test_stimuli_that_all_or_some_miss_are_left_out(name):
    kept = np.triu_indices(N - 1, 1)
    smaller = np.stack([square(one)[np.ix_(np.delete(range(N), 2), np.delete(range(N), 2))][kept] for one in STACK[3:]])
    found, right = METHODS[name](STACK[3:4], HOLES[4:]), METHODS[name](smaller[:1], smaller[1:])
    # As large as over all the entries that the first has.
    assert np.allclose(found, right * (np.sqrt(21 / 15) if name == "norm_difference" else 1), rtol=1e-10)


def test_which_stimuli_are_shared():
    assert shared_stimuli(~np.isnan(HOLES[4])).tolist() == [0, 1, 3, 4, 5, 6]
    assert shared_stimuli(~np.isnan(HOLES[0])) is None


BAD = {
    "all": (np.vstack([STACK, np.full(21, np.nan)]), None, "RDM 5 has no entries"),
    "others": (STACK, np.full((1, 21), np.nan), "RDM 5 has no entries"),
    "disjoint": (
        np.where([np.arange(21) < 9, np.arange(21) >= 9], STACK[:2], np.nan), None, "RDM [01] and RDM [01] share no entry"
    ),
    "disjoint others": (
        np.where(np.arange(21) < 9, STACK[:1], np.nan), np.where(np.arange(21) < 9, np.nan, STACK[:2]),
        "RDM 0 and RDM 0 of the others share no entry",
    ),
    "constant": (
        np.vstack([STACK, np.where(np.arange(21) > 2, 1.0, 2.0)]),
        np.where(np.arange(21) > 2, STACK[:1], np.nan), "RDM 5, of the entries that it shares with others, is constant",
    ),
    "constant other": (
        np.where(np.arange(21) > 2, STACK[:1], np.nan), np.vstack([STACK, np.where(np.arange(21) > 2, 1.0, 2.0)]),
        "RDM 6, of the entries that it shares with others, is constant",
    ),
    "constant, of one set": (
        np.vstack([STACK[0], np.where(np.arange(21) > 2, STACK[1], np.nan), np.where(np.arange(21) > 2, 1.0, 2.0)]),
        None, "RDM 2, of the entries that it shares with others, is constant",
    ),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["pearson", "spearman", "tau_b", "corr_cov"])
def test_where_nothing_can_be_said(name, bad):
    rdms, others, line = BAD[bad]
    with pytest.raises(UserError, match=line):
        METHODS[name](rdms, others)
