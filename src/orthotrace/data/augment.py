"""Augmentation of whole batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from orthotrace.core.errors import checked


@checked
@dataclass(eq=False)
class Augmentation:
    """Random augmentation, drawn for each image and computed for a whole batch on its device.

    Args:
        flip: probability of a horizontal flip, in [0, 1].
        crop: pixels of reflection padding on each side before a random crop of the original size.
        shift: largest shift in pixels in each direction, with zero padding.
        noise: standard deviation of Gaussian noise on the inputs, in their units.

    Raises:
        UserError: a value out of its range.

    Example:
        >>> mirrored = Augmentation(flip=1.0)
        >>> mirrored.pixels(torch.tensor([[[[1, 2, 3]]]]), torch.Generator().manual_seed(0))
        tensor([[[[3, 2, 1]]]])
    """

    flip: Annotated[float, Field(ge=0, le=1)] = 0.0
    crop: Annotated[int, Field(ge=0, le=4096)] = 0
    shift: Annotated[int, Field(ge=0, le=4096)] = 0
    noise: Annotated[float, Field(ge=0)] = 0.0

    @property
    def changes(self) -> bool:
        """Whether any augmentation is on."""
        return bool(self.flip or self.crop or self.shift or self.noise)

    def pixels(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Stored pixels (n, channels, height, width), flipped, cropped and shifted."""
        if self.flip:
            chosen = torch.rand(len(batch), generator=generator, device=batch.device) < self.flip
            batch = torch.where(chosen.view(-1, 1, 1, 1), batch.flip(-1), batch)
        if self.crop:
            batch = windows(batch, self.crop, generator, "reflect")
        if self.shift:
            batch = windows(batch, self.shift, generator, "constant")
        return batch

    def inputs(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Inputs of a network, with noise added in place."""
        return noisy(batch, self.noise, generator) if self.noise else batch


def windows(batch: Tensor, border: int, generator: torch.Generator, mode: str) -> Tensor:
    """A random crop of the original size from each image, padded on all sides.

    Args:
        batch: (n, channels, height, width).
        border: pixels of padding on each side.
        generator: of the positions, on the batch's device.
        mode: of the padding: "constant" for zeros, or "reflect".

    Example:
        >>> batch = torch.arange(9).view(1, 1, 3, 3)
        >>> windows(batch, 0, torch.Generator(), "constant").equal(batch)
        True
    """
    count, _, height, width = batch.shape
    # torch has no reflection padding for integers.
    border_of = batch if mode == "constant" or batch.is_floating_point() else batch.float()
    padded = pad(border_of, (border,) * 4, mode=mode).to(batch.dtype)
    places = torch.randint(2 * border + 1, (2, count), generator=generator, device=batch.device)
    # A view of all crops, of which one is copied for each image.
    views = padded.unfold(2, height, 1).unfold(3, width, 1).permute(0, 2, 3, 1, 4, 5)
    return views[torch.arange(count, device=batch.device), places[0], places[1]]


def noisy(inputs: Tensor, std: float, generator: torch.Generator | None = None) -> Tensor:
    """Add Gaussian noise of a standard deviation to inputs, in place."""
    return inputs.add_(torch.empty_like(inputs).normal_(0, std, generator=generator))
