"""Effective rank, overlap of units, silent units."""

from __future__ import annotations

import numpy as np
import pytest

from orthotrace.analysis.similarity import effective_rank, silent_share, unit_overlap
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)


def turned(n: int) -> np.ndarray:
    return np.linalg.qr(RNG.standard_normal((n, n)))[0]


@pytest.mark.parametrize("sizes", [[1, 1, 1], [3, 2, 1e-9], [5, 0, 0], [1, 0.5, 0.25]])
def test_the_effective_rank_is_of_the_singular_values_alone(sizes):
    x = turned(6)[:, :3] @ np.diag(sizes) @ turned(3)
    shares = np.array(sizes) / sum(sizes)
    expected = np.exp(-sum(share * np.log(share) for share in shares if share))
    assert effective_rank(x) == pytest.approx(expected, rel=1e-6)
    # Of whatever scale, and of the transpose.
    assert effective_rank(1e-200 * x.T) == pytest.approx(expected, rel=1e-6)
    assert 1 <= expected <= 3 + 1e-12


def test_what_is_centred_has_lost_a_direction():
    x = RNG.standard_normal((40, 3))
    moved = np.c_[x, np.full(40, 7.3)] + 100
    assert effective_rank(moved, centre=True) == pytest.approx(effective_rank(x - x.mean(0)), rel=1e-9)
    assert effective_rank(moved) < 1.5
    assert effective_rank(np.full((5, 4), 0.1), centre=True) == effective_rank(np.zeros((5, 4))) == 0


def test_units_that_repeat_each_other():
    first, second = np.array([1.0, 2.0, -1.0]), np.array([2.0, 0.0, 2.0])
    assert unit_overlap([first, -3 * first]) == pytest.approx(1)
    assert unit_overlap([first, second]) == pytest.approx(0, abs=1e-12)
    # Each unit of six is like two others, and orthogonal to three.
    six = np.r_[[first, 2 * first, 3 * first], [second, 2 * second, 3 * second]]
    assert unit_overlap(six) == pytest.approx(6 / 15)
    # A unit without weights does not count, and a convolution is its filter matrix.
    assert unit_overlap(np.r_[six, np.zeros((1, 3))].reshape(7, 1, 3)) == pytest.approx(6 / 15)
    assert unit_overlap([first, 0 * first]) == 0


def test_silent_units_answer_all_stimuli_alike():
    assert silent_share([[0, 1, 2.5], [0, 1, 2.5], [0, 3, 2.5]]) == pytest.approx(2 / 3)
    assert silent_share([[0, 1]]) == 1


@pytest.mark.parametrize("measure", [effective_rank, unit_overlap, silent_share])
@pytest.mark.parametrize(("given", "line"), [([1.0, 2.0], "got shape"), ([[np.nan, 1.0]], "entry .* is nan")])
def test_what_is_refused(measure, given, line):
    with pytest.raises(UserError, match=line):
        measure(given)
