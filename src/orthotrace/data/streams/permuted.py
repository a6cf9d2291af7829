"""Permuted pixels."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from orthotrace.core.errors import checked
from orthotrace.core.seeds import generator
from orthotrace.data.active_outputs import Scenario
from orthotrace.data.sources import Source
from orthotrace.data.streams.base import Tasks
from orthotrace.data.streams.transformed import Transformed


class Permuted(Transformed):
    """The same images in every task, their pixels permuted in each but the first.

    Args:
        source: where the images come from.
        tasks: number of tasks, from 1 to 10,000.
        scenario: domain-, task- or class-incremental.
        seed: of the permutations and the validation part, which is the same in every task, as the test part is.
        **options: as for Stream.

    Raises:
        UserError: an argument is out of its range, or the validation part takes all images.

    Source: Goodfellow et al., An empirical investigation of catastrophic forgetting, ICLR 2014.

    Example:
        >>> from orthotrace.data.sources import digits
        >>> stream = Permuted(digits(), tasks=5)
        >>> [len(part) for part in (stream.task(0).train, stream.task(0).validation, stream.task(0).test)]
        [1293, 144, 360]
    """

    name = "permuted"
    steady = True

    @checked
    def __init__(
        self,
        source: Source,
        tasks: Tasks = 5,
        scenario: Scenario = "domain",
        seed: int = 0,
        **options: Any,
    ) -> None:
        # Permuted pixels leave their channels: one scaling for all of them.
        source = source.scaled(source.train.scaling.pooled())
        super().__init__(source, tasks, scenario=scenario, seed=seed, **options)

    def unchanged(self, number: int) -> bool:
        """The first task has the images as they are."""
        return number == 0

    def transformed(self, pixels: Tensor, index: int) -> Tensor:
        """Pixels permuted as in a task; a single channel is a map of places."""
        number = index % self.distinct
        if number == 0:
            return pixels
        channels, *size = self.shape
        order = torch.randperm(math.prod(self.shape), generator=generator(self.seed, 1, number))
        if pixels.shape[1] == channels:
            return pixels.flatten(1)[:, order].view_as(pixels)
        # Colours are mixed: a place of the map is the mean over the places that its three values come from.
        spread = pixels.expand(-1, channels, *size).flatten(1)[:, order]
        return spread.view(-1, channels, *size).mean(1, keepdim=True)
