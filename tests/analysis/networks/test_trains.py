import numpy as np
import pytest
import torch

from orthotrace.analysis.networks.trains import TrainDistance, named_measure
from orthotrace.analysis.rdm.dissimilarity import MEASURES
from orthotrace.analysis.rdm.spike_trains import van_rossum, victor_purpura
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
TRAINS = RNG.poisson(0.4, (6, 9, 4))


@pytest.mark.parametrize("height", [1.0, 0.3, 5.73, torch.tensor(1 / 3).item()])
@pytest.mark.parametrize(
    ("name", "distance", "constant"), [("van_rossum", van_rossum, 3.0), ("victor_purpura", victor_purpura, 0.4)]
)
def test_spikes_of_any_height_count_as_one(name, distance, constant, height):
    one = named_measure(name, tau=3.0, cost=0.4)
    assert one == TrainDistance(name, constant)
    spikes = torch.tensor(TRAINS).float() * height
    assert one.takes(spikes) and np.array_equal(one(spikes), distance(TRAINS, constant))
    if height == 1:
        spikes = spikes.bfloat16()
        assert one.takes(spikes) and np.array_equal(one(spikes), distance(TRAINS, constant))


@pytest.mark.parametrize("values", [TRAINS - 1, TRAINS + RNG.random(TRAINS.shape), TRAINS * np.array([1, 1.5, 1, 1])])
def test_what_are_no_spikes(values):
    one = TrainDistance("van_rossum", 2.0)
    assert not one.takes(values)
    with pytest.raises(UserError, match="numbers of spikes are needed"):
        one(values)


def test_measures_by_name():
    assert named_measure("cosine") is MEASURES["cosine"] and named_measure("van_rosum") is None
    assert TrainDistance("victor_purpura", 0.25).called == "victor_purpura (cost 0.25)"
    with pytest.raises(UserError, match="rdm: there is no distance of spike trains 'schreiber'"):
        TrainDistance("schreiber", 1.0)
    # Features are no steps.
    with pytest.raises(UserError, match=r"spikes: \(stimuli, steps, neurons\) are needed, got shape \(6, 36\)"):
        TrainDistance("van_rossum", 2.0)(TRAINS.reshape(6, -1))
