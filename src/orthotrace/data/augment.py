"""Augmentation of whole batches."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from orthotrace.core.errors import checked


class Augmentation:
    """Random changes of the training images, drawn for each image, computed for a batch at once on its device.

    Args:
        flip: probability of a mirror image, left for right, in [0, 1].
        crop: pixels of reflected border on each side, of which a window of the old size is cut.
        shift: pixels by which an image moves at most in each direction; what becomes free is zero.
        noise: standard deviation of Gaussian noise on the inputs, in their units.

    Raises:
        UserError: a value out of its range.

    Example:
        >>> mirrored = Augmentation(flip=1.0)
        >>> mirrored.pixels(torch.tensor([[[[1, 2, 3]]]]), torch.Generator().manual_seed(0))
        tensor([[[[3, 2, 1]]]])
    """

    @checked
    def __init__(
        self,
        flip: Annotated[float, Field(ge=0, le=1)] = 0.0,
        crop: Annotated[int, Field(ge=0)] = 0,
        shift: Annotated[int, Field(ge=0)] = 0,
        noise: Annotated[float, Field(ge=0)] = 0.0,
    ) -> None:
        self.flip = flip
        self.crop = crop
        self.shift = shift
        self.noise = noise

    @property
    def changes(self) -> bool:
        """Whether anything is done at all."""
        return bool(self.flip or self.crop or self.shift or self.noise)

    def pixels(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Stored pixels (n, channels, height, width), moved and mirrored."""
        if self.flip:
            chosen = torch.rand(len(batch), generator=generator, device=batch.device) < self.flip
            batch = torch.where(chosen.view(-1, 1, 1, 1), batch.flip(-1), batch)
        if self.crop:
            batch = windows(batch, self.crop, generator, "reflect")
        if self.shift:
            batch = windows(batch, self.shift, generator, "constant")
        return batch

    def inputs(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Inputs of a network with noise, in place."""
        return noisy(batch, self.noise, generator) if self.noise else batch


def windows(batch: Tensor, border: int, generator: torch.Generator, mode: str) -> Tensor:
    """A window of the old size, at a random place of each image with a border around it.

    Args:
        batch: (n, channels, height, width).
        border: pixels on each side.
        generator: of the places, on the batch's device.
        mode: of the border: "constant" for zeros, "reflect" for a mirror image.

    Example:
        >>> batch = torch.arange(9).view(1, 1, 3, 3)
        >>> windows(batch, 0, torch.Generator(), "constant").equal(batch)
        True
    """
    count, _, height, width = batch.shape
    # Reflection is not written for whole numbers.
    border_of = batch if mode == "constant" or batch.is_floating_point() else batch.float()
    padded = pad(border_of, (border,) * 4, mode=mode).to(batch.dtype)
    places = torch.randint(2 * border + 1, (2, count), generator=generator, device=batch.device)
    # A view of all windows, of which one is copied for each image.
    views = padded.unfold(2, height, 1).unfold(3, width, 1).permute(0, 2, 3, 1, 4, 5)
    return views[torch.arange(count, device=batch.device), places[0], places[1]]


def noisy(inputs: Tensor, std: float, generator: torch.Generator | None = None) -> Tensor:
    """Inputs with Gaussian noise of a standard deviation, in place."""
    return inputs.add_(torch.empty_like(inputs).normal_(0, std, generator=generator))
