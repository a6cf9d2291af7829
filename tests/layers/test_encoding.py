from __future__ import annotations

import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.layers.encoding import encoded, frame_shape

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


def test_with_a_seed_an_image_has_its_spikes_in_whatever_batch():
    every = torch.stack(list(encoded(torch.cat([IMAGES, IMAGES.flip(0), IMAGES]), 50, "rate", seed=0)), 1)
    for image, spikes in zip(IMAGES, torch.stack(list(encoded(IMAGES, 50, "rate", seed=0)), 1), strict=True):
        (alone,) = torch.stack(list(encoded(image[None], 50, "rate", seed=0)), 1)
        assert torch.equal(alone, spikes)
    assert torch.equal(every[0], every[3]) and torch.equal(every[:2], every[4:]) and torch.equal(every[1], every[2])
    # In training alike images differ.
    assert not torch.equal(*torch.stack(list(encoded(IMAGES[:1].expand(2, -1, -1), 50, "rate")), 1))


def test_bright_pixels_spike_first_and_black_ones_never():
    spikes = torch.stack(list(encoded(IMAGES, 5, "latency")))
    assert torch.equal(spikes.sum(0), torch.tensor([[[0.0, 1], [1, 1]], [[0, 1], [1, 1]]]))
    assert spikes[:, 0, 1, 1].tolist() == [1, 0, 0, 0, 0] and spikes[:, 0, 0, 1].tolist() == [0, 0, 0, 1, 0]


@pytest.mark.parametrize("encoding", ["rate", "latency"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_an_image_of_one_brightness_gives_nothing(encoding, dtype):
    steps = list(encoded(torch.ones(2, 3, dtype=dtype), 4, encoding, seed=0))
    assert not torch.stack(steps).any() and steps[0].dtype == dtype


def test_frames_are_shown_one_after_the_other():
    frames = torch.arange(2 * 6 * 3).view(2, 6, 3).float()
    steps = list(encoded(frames, 3, "frames"))
    assert len(steps) == 3 and torch.equal(torch.cat(steps, 1), frames)
    assert torch.equal(steps[1], frames[:, 2:4])


@pytest.mark.parametrize(
    ("channels", "line"),
    [(8, "images of 8 channels are recordings of 4 steps"), (3, "images of 3 channels are no rec")],
)
def test_frames_of_another_number_of_steps(channels, line):
    assert frame_shape((6, 4, 5), 3) == (2, 4, 5)
    with pytest.raises(UserError, match=f"^steps: the network has 3 steps, and {line}"):
        frame_shape((channels, 4, 5), 3)
