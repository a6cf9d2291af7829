from __future__ import annotations

import pytest
import torch

from orthotrace.layers.encoding import encoded

IMAGES = torch.tensor([[[0.0, 1.0], [2.0, 4.0]], [[-3.0, -2.0], [-1.0, 1.0]]])


def test_a_constant_current():
    assert all(torch.equal(step, IMAGES) for step in encoded(IMAGES, 3, "constant"))
    assert len(list(encoded(IMAGES, 3, "constant"))) == 3


def test_rates_are_the_shares_of_an_image():
    rates = torch.stack(list(encoded(IMAGES, 4000, "rate", seed=0))).mean(0)
    torch.testing.assert_close(rates, torch.tensor([[[0, 0.25], [0.5, 1]], [[0, 0.25], [0.5, 1]]]), atol=0.03, rtol=0)


def test_a_seed_draws_the_same_and_none_goes_on():
    same = [torch.stack(list(encoded(IMAGES, 50, "rate", seed))) for seed in (1, 1, 2, None, None)]
    assert torch.equal(same[0], same[1])
    assert not torch.equal(same[0], same[2]) and not torch.equal(same[3], same[4])


def test_bright_pixels_spike_first_and_black_ones_never():
    spikes = torch.stack(list(encoded(IMAGES, 5, "latency")))
    assert torch.equal(spikes.sum(0), torch.tensor([[[0.0, 1], [1, 1]], [[0, 1], [1, 1]]]))
    assert spikes[:, 0, 1, 1].tolist() == [1, 0, 0, 0, 0] and spikes[:, 0, 0, 1].tolist() == [0, 0, 0, 1, 0]


@pytest.mark.parametrize("encoding", ["rate", "latency"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_an_image_of_one_brightness_gives_nothing(encoding, dtype):
    steps = list(encoded(torch.ones(2, 3, dtype=dtype), 4, encoding, seed=0))
    assert not torch.stack(steps).any() and steps[0].dtype == dtype
