"""How an image becomes the input of a spiking network at each step of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from orthotrace.core.errors import UserError

Encoding = Literal["constant", "rate", "latency", "frames"]
# Channels of a frame: pixels that became darker, and brighter.
POLARITIES = 2


def encoded(images: Tensor, steps: int, encoding: Encoding, seed: int | None = None) -> Iterator[Tensor]:
    """The input at each step, one after the other.

    "constant": the image itself, a current. "rate": a pixel p, scaled to [0, 1] by the smallest and the largest of its
    image, spikes with probability p. "latency": it spikes once, at step round((1 - p) (steps - 1)), and never where
    p = 0. "frames": images are recordings of events, and each step has a frame of its own, as they are.

    Args:
        images: (n, ...); of frames (n, steps * channels, ...).
        steps: of time.
        encoding: of the four.
        seed: of the spikes of a rate. With one, a step draws one threshold for each pixel, the same for all images:
            an image gets the same spikes in whatever batch it is. None, as in training: every image draws its own, from
            torch's generator.

    Yields:
        (n, ...), so many times.

    Example:
        >>> [step.flatten().tolist() for step in encoded(torch.tensor([[0.0, 2.0, 4.0]]), 3, "latency")]
        [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    if encoding == "constant":
        for _ in range(steps):
            yield images
        return
    if encoding == "frames":
        yield from images.unflatten(1, (steps, -1)).unbind(1)
        return
    flat = images.flatten(1)
    least, most = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    shares = ((flat - least) / (most - least).clamp_min(torch.finfo(flat.dtype).tiny)).view_as(images)
    if encoding == "latency":
        times = ((1 - shares) * (steps - 1)).round()
        for step in range(steps):
            yield ((times == step) & (shares > 0)).to(images.dtype)
        return
    generator = None if seed is None else torch.Generator(images.device).manual_seed(seed)
    for _ in range(steps):
        shape = shares.shape if generator is None else shares.shape[1:]
        drawn = torch.rand(shape, generator=generator, dtype=shares.dtype, device=shares.device)
        yield (drawn < shares).to(images.dtype)


def frame_shape(shape: Sequence[int], steps: int) -> tuple[int, ...]:
    """Shape of one frame of recordings of events: (channels, height, width) of (steps * channels, height, width).

    Raises:
        UserError: images that are no so many frames of two polarities.

    Example:
        >>> frame_shape((20, 34, 34), steps=10)
        (2, 34, 34)
    """
    channels, *rest = shape
    if channels != POLARITIES * steps:
        known = f"recordings of {channels // POLARITIES} steps" if channels % POLARITIES == 0 else "no recordings"
        raise UserError(
            f"the network has {steps} steps, and images of {channels} channels are {known}: frames have a step each, "
            "of two polarities (dataset.steps of dataset=events)",
            "steps",
        )
    return (POLARITIES, *rest)
