"""Rotated images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from orthotrace.core.errors import UserError, checked
from orthotrace.data.active_outputs import Scenario
from orthotrace.data.sources import Source
from orthotrace.data.streams.base import Stream, Tasks
from orthotrace.data.streams.transformed import Transformed


class Rotated(Transformed):
    """The same images in every task, rotated by another angle in each.

    Args:
        source: where the images come from.
        tasks: number of tasks, from 1 to 10,000.
        angles: of each task, in degrees counter-clockwise; None for the multiples of 180 / tasks, from 0 on.
        scenario: domain-, task- or class-incremental.
        seed: of the validation part, which is the same in every task.
        **options: as for Stream.

    Raises:
        UserError: an argument is out of its range, or there are not as many angles as tasks.

    Source: Lopez-Paz & Ranzato, Gradient Episodic Memory for Continual Learning, NeurIPS 2017.

    Example:
        >>> from orthotrace.data.sources import digits
        >>> Rotated(digits(), tasks=4).angles
        (0.0, 45.0, 90.0, 135.0)
    """

    name = "rotated"
    steady = True

    @checked
    def __init__(
        self,
        source: Source,
        tasks: Tasks = 5,
        angles: Sequence[Annotated[float, Field(allow_inf_nan=False)]] | None = None,
        scenario: Scenario = "domain",
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(source, tasks, scenario=scenario, seed=seed, **options)
        if angles is not None and len(angles) != tasks:
            raise UserError(f"{len(angles)} angles for {tasks} tasks", "angles")
        self.angles = tuple(angles) if angles is not None else tuple(180 / tasks * number for number in range(tasks))

    def differs_from(self, shorter: Stream) -> str | None:
        """Also where the angles are others, as those are that divide a half turn."""
        assert isinstance(shorter, Rotated)
        if self.angles[: shorter.distinct] != shorter.angles:
            return "its angles are others; give those of each task by stream.angles"
        return super().differs_from(shorter)

    def unchanged(self, number: int) -> bool:
        """A full turn leaves the images as they are."""
        return self.angles[number] % 360 == 0

    def transformed(self, pixels: Tensor, index: int) -> Tensor:
        """Pixels rotated as in a task."""
        number = index % self.distinct
        if self.unchanged(number):
            return pixels
        return torch.cat([rotate(part, self.angles[number]) for part in pixels.split(1024)])


def rotate(images: Tensor, angle: float) -> Tensor:
    """Images rotated about their centre, interpolated bilinearly; beyond the border is zero.

    Args:
        images: (n, channels, height, width); their type is kept.
        angle: in degrees, counter-clockwise.

    Example:
        >>> rotate(torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8), 90.0)
        tensor([[[[2, 4],
                  [1, 3]]]], dtype=torch.uint8)
    """
    height, width = images.shape[-2:]
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # Coordinates run from -1 to 1 along each side: other sides need other units.
    matrix = torch.tensor([[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]])
    grid = affine_grid(matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    turned = grid_sample(images.float(), grid, align_corners=False)
    return turned if images.is_floating_point() else turned.round().to(images.dtype)
