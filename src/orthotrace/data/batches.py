"""Whole batches in an order fixed by seed, task and epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from orthotrace.data.augment import Augmentation
from orthotrace.data.images import Batch, Images
from orthotrace.seeds import derived, generator


class Batches:
    """Whole batches of images, in an order fixed by a seed, the task and the epoch.

    Images in memory are sliced here; those on disk are read ahead by worker processes, a batch at a time.

    Args:
        part: the images.
        size: of a batch; the last one of an epoch may be smaller.
        seed: of the order.
        task: index of the task.
        augmentation: of the images; its draws have a seed of their own.
        augmentation_seed: that one.
        like: a tensor of the type and device of the inputs.
        workers: processes that read images from disk.

    Attributes:
        epoch: decides the order; set before each.

    Example:
        >>> part = Images(torch.zeros(5, 1, 2, 2), torch.arange(5))
        >>> batches = Batches(part, size=2, seed=0, task=0)
        >>> [len(batch.labels) for batch in batches], len(batches)
        ([2, 2, 1], 3)
    """

    def __init__(
        self,
        part: Images,
        size: int,
        seed: int,
        task: int,
        augmentation: Augmentation | None = None,
        augmentation_seed: int = 0,
        like: Tensor | None = None,
        workers: int = 2,
    ) -> None:
        self.like = torch.zeros(()) if like is None else torch.zeros((), dtype=like.dtype, device=like.device)
        self.part = part.to(self.like.device)
        self.size = size
        self.seed = seed
        self.task = task
        self.augmentation = augmentation if augmentation is not None and augmentation.changes else None
        self.augmentation_seed = augmentation_seed
        self.workers = workers
        self.epoch = 0
        self._draws = torch.Generator(self.like.device)

    def __len__(self) -> int:
        return -(-len(self.part) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        part, like = self.part, self.like
        order = torch.randperm(len(part), generator=generator(self.seed, self.task, self.epoch))
        places = order.to(part.labels.device).split(self.size)
        self._draws.manual_seed(derived(self.augmentation_seed, 2, self.task, self.epoch))
        for index, pixels in zip(places, self._pixels(places), strict=True):
            tasks = None if part.tasks is None else part.tasks[index].to(like.device)
            yield Batch(self.prepare(pixels), part.labels[index].to(like.device), index, tasks)

    def prepare(self, pixels: Tensor) -> Tensor:
        """Stored pixels to inputs, augmented."""
        like = self.like
        if self.augmentation is None:
            return self.part.scaling(pixels.to(like.device), like.dtype)
        moved = self.augmentation.pixels(pixels.to(like.device), self._draws)
        return self.augmentation.inputs(self.part.scaling(moved, like.dtype), self._draws)

    def _pixels(self, places: tuple[Tensor, ...]) -> Iterator[Tensor]:
        if self.part.mapped and self.workers:
            return iter(DataLoader(_Slices(self.part, places), batch_size=None, num_workers=self.workers))
        return (self.part.pixels(index) for index in places)


class _Slices(Dataset[Tensor]):
    """Whole batches of stored pixels, for the worker processes of a DataLoader."""

    def __init__(self, part: Images, places: tuple[Tensor, ...]) -> None:
        self.part = part
        self.places = places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> Tensor:
        return self.part.pixels(self.places[number])
