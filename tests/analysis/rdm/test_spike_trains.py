import itertools
import math

import numpy as np
import pytest
import spike_oracles
import torch

from orthotrace.analysis.rdm import spike_trains
from orthotrace.analysis.rdm.spike_trains import van_rossum, victor_purpura
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
TRAINS = RNG.poisson(0.4, (6, 9, 4))
TRAINS[2] = 0
ONE = RNG.random((5, 12, 1)) < 0.3


def pairs(trains, distance, *args):
    return [distance(trains[i], trains[j], *args) for i, j in itertools.combinations(range(len(trains)), 2)]


@pytest.mark.parametrize("tau", [0.7, 4.0])
def test_van_rossum_is_the_integral(tau):
    assert np.allclose(van_rossum(TRAINS[:4], tau), pairs(TRAINS[:4], spike_oracles.van_rossum, tau), rtol=1e-7)


@pytest.mark.parametrize("tau", [0.2, 3.0, 1e9])
def test_van_rossum_is_the_sum_over_pairs_of_spikes(tau):
    kernel = np.exp(-abs(np.subtract.outer(range(9), range(9))) / tau) / 2
    apart = np.array([TRAINS[i] - TRAINS[j] for i, j in itertools.combinations(range(6), 2)])
    squared = np.einsum("pak,ab,pbk->p", apart, kernel, apart)
    assert np.allclose(van_rossum(TRAINS, tau) ** 2, squared, atol=1e-9)


@pytest.mark.parametrize("cost", [0.0, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("cells", [1, 50, 2**22])
def test_victor_purpura_is_the_recursion(monkeypatch, cost, cells):
    monkeypatch.setattr(spike_trains, "CELLS", cells)
    assert np.allclose(victor_purpura(TRAINS, cost), pairs(TRAINS, spike_oracles.victor_purpura, cost), atol=1e-12)


@pytest.mark.parametrize("trains", [TRAINS, ONE, np.zeros((4, 3, 2)), np.ones((3, 2, 2))])
def test_limits(trains):
    counts, both = trains.sum(axis=1, dtype=float), list(itertools.combinations(range(len(trains)), 2))
    apart = np.array([abs(trains[i].astype(float) - trains[j]).sum() for i, j in both])
    fewer = np.array([abs(counts[i] - counts[j]).sum() for i, j in both])
    assert np.allclose(victor_purpura(trains, 0), fewer) and np.allclose(victor_purpura(trains, 2.0), apart)
    if trains.max() < 2:
        assert np.allclose(van_rossum(trains, 1e-3) ** 2, apart / 2)
    assert np.allclose(van_rossum(trains, 1e12) ** 2, [((counts[i] - counts[j]) ** 2).sum() / 2 for i, j in both])


@pytest.mark.parametrize("measure", [lambda x: van_rossum(x, 2.0), lambda x: victor_purpura(x, 0.4)])
def test_a_metric_that_no_order_of_neurons_and_no_shift_of_the_whole_changes(measure):
    base = measure(TRAINS)
    assert np.allclose(measure(TRAINS[..., ::-1]), base)
    assert np.allclose(measure(np.concatenate([np.zeros((6, 3, 4)), TRAINS], axis=1)), base)
    assert np.allclose(measure(torch.tensor(TRAINS).reshape(6, 9, 2, 2)), base)
    square = np.zeros((6, 6))
    square[np.triu_indices(6, 1)] = base
    square += square.T
    assert (square[:, None] <= square[:, :, None] + square[None] + 1e-9).all()
    twice = measure(TRAINS[[0, 0, 1]])
    assert twice[0] == 0 and twice[1] == pytest.approx(twice[2])


def test_when_a_spike_comes_counts():
    late = np.zeros((3, 10, 1))
    late[0, 0], late[1, 1], late[2, 9] = 1, 1, 1
    near, far, _ = victor_purpura(late, 0.2)
    assert (near, far) == (pytest.approx(0.2), pytest.approx(1.8))
    near, far, _ = van_rossum(late, 3.0)
    assert near < far


@pytest.mark.parametrize(
    ("spikes", "line"),
    [
        (TRAINS[:2], "at least 3 stimuli are needed"),
        (TRAINS[:, :0], "at least 3 stimuli are needed"),
        (np.zeros(5), "at least 3 stimuli are needed"),
        (TRAINS - 1, "whole ones of at least 0"),
        (TRAINS + 0.5, "whole ones of at least 0"),
        (np.where(TRAINS == 1, np.nan, TRAINS), "spikes"),
    ],
)
def test_what_is_no_spikes(spikes, line):
    for measure in (van_rossum, victor_purpura):
        with pytest.raises(UserError, match=line):
            measure(spikes, 1.0)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "x", None])
def test_other_constants(value):
    with pytest.raises(UserError, match="^tau: a number of steps above 0 is needed"):
        van_rossum(TRAINS, value)
    with pytest.raises(UserError, match="^cost: a cost of at least 0 is needed"):
        victor_purpura(TRAINS, value)
    with pytest.raises(UserError, match="^tau"):
        van_rossum(TRAINS, 0)
