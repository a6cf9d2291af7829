"""Streams: sequences of tasks made from a source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field

from orthotrace.data.sources import Images, Source
from orthotrace.errors import UserError, checked
from orthotrace.seeds import generator


@dataclass(frozen=True)
class Task:
    """One task of a stream: three disjoint parts."""

    train: Images
    validation: Images
    test: Images


class Stream(ABC):
    """A sequence of tasks.

    Attributes:
        name: of the stream.
        scenario: task-, domain- or class-incremental.
        shared_head: whether all tasks share one readout, which forward transfer needs.
        tasks: how many.
        shape: of one image.
        classes: names by label.
    """

    name: str
    scenario: str
    shared_head: bool
    tasks: int
    shape: tuple[int, ...]
    classes: tuple[str, ...]

    @abstractmethod
    def task(self, index: int) -> Task:
        """The task at an index, from 0. Made when asked for: no more than one need be held at a time."""

    @abstractmethod
    def test(self, index: int) -> Images:
        """The test part of a task alone."""


class Permuted(Stream):
    """The same images in every task, their pixels permuted in each but the first.

    Domain-incremental: the same labels in every task, the task unknown. The validation part is drawn from the
    training images by the stream's seed and is the same in every task, as the test part is.

    Args:
        source: where the images come from.
        tasks: how many, at least 1.
        validation: share of the training images kept for validation, in [0, 1).
        seed: of permutations and validation part.

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
    scenario = "domain"
    shared_head = True

    @checked
    def __init__(
        self,
        source: Source,
        tasks: Annotated[int, Field(ge=1)] = 5,
        validation: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        seed: int = 0,
    ) -> None:
        self.source = source
        self.tasks = tasks
        self.shape = source.shape
        self.classes = source.classes
        self.seed = seed
        held = round(validation * len(source.train))
        if held >= len(source.train):
            raise UserError(f"{validation} of {len(source.train)} images leaves none for training", "validation")
        shuffled = torch.randperm(len(source.train), generator=generator(seed, 0))
        self._validation, self._train = shuffled[:held], shuffled[held:]

    def _permuted(self, part: Images, index: int) -> Images:
        if index == 0:
            return part
        pixels = torch.randperm(part.images[0].numel(), generator=generator(self.seed, 1, index))
        return Images(part.images.flatten(1)[:, pixels].view_as(part.images), part.labels)

    def task(self, index: int) -> Task:
        """The task at an index, from 0."""
        train = self.source.train
        return Task(
            self._permuted(train.take(self._train), index),
            self._permuted(train.take(self._validation), index),
            self.test(index),
        )

    def test(self, index: int) -> Images:
        """The test part of a task."""
        return self._permuted(self.source.test, index)


class Batches:
    """Whole batches sliced from images, in an order fixed by a seed, the task and the epoch.

    Args:
        part: the images.
        size: of a batch; the last one of an epoch may be smaller.
        seed: of the order.
        task: index of the task.

    Example:
        >>> part = Images(torch.zeros(5, 1, 2, 2), torch.arange(5))
        >>> batches = Batches(part, size=2, seed=0, task=0)
        >>> [len(labels) for _, labels in batches], len(batches)
        ([2, 2, 1], 3)
    """

    def __init__(self, part: Images, size: int, seed: int, task: int) -> None:
        self.part = part
        self.size = size
        self.seed = seed
        self.task = task
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.part) // self.size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        order = torch.randperm(len(self.part), generator=generator(self.seed, self.task, self.epoch))
        images, labels = self.part.images, self.part.labels
        for index in order.to(labels.device).split(self.size):
            yield images[index], labels[index]
