"""Permuted pixels."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from orthotrace.core.errors import checked
from orthotrace.core.seeds import generator
from orthotrace.data.images import Images
from orthotrace.data.sources import Source
from orthotrace.data.streams.base import Scenario, Stream


class Permuted(Stream):
    """The same images in every task, their pixels permuted in each but the first.

    Args:
        source: where the images come from.
        tasks: how many, at least 1.
        scenario: domain-, task- or class-incremental.
        seed: of permutations and validation part; the latter is the same in every task, as the test part is.
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

    @checked
    def __init__(
        self,
        source: Source,
        tasks: Annotated[int, Field(ge=1)] = 5,
        scenario: Scenario = "domain",
        seed: int = 0,
        **options: Any,
    ) -> None:
        images = [len(source.train)] * tasks
        # Permuted pixels leave their channels: one scaling for all of them.
        source = source.scaled(source.train.scaling.pooled())
        shared = {"scenario": scenario, "seed": seed, **options}
        super().__init__([source.classes] * tasks, images, source.shape, source.train.scaling, **shared)
        self.source = source

    def pair(self, number: int) -> tuple[Images, Images]:
        """The images of the source, permuted."""
        return self._permuted(self.source.train, number), self._permuted(self.source.test, number)

    def original(self) -> tuple[Images, tuple[str, ...]]:
        """The test images of the source."""
        return self.source.test, self.source.classes

    def test(self, index: int) -> Images:
        """The test part of a task alone."""
        # The training part need not be permuted for it.
        number = index % self.distinct
        return self._labelled(number, self._permuted(self.source.test, number))

    def moved(self, pixels: Tensor, index: int) -> Tensor:
        """Pixels permuted as in a task; a single channel is a map of places."""
        number = index % self.distinct
        if number == 0:
            return pixels
        channels, *size = self.shape
        every = math.prod(self.shape)
        order = torch.randperm(every, generator=generator(self.seed, 1, number))
        if pixels.shape[1] == channels:
            return pixels.flatten(1)[:, order].view_as(pixels)
        # Where colours are mixed, a place is what its three values come from, in the mean.
        spread = pixels.expand(-1, channels, *size).flatten(1)[:, order]
        return spread.view(-1, channels, *size).mean(1, keepdim=True)

    def _permuted(self, part: Images, number: int) -> Images:
        if number == 0:
            return part
        return replace(part, store=self.moved(part.images, number), index=None, mapped=False)
