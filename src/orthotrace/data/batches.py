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
        size: of a batch; the last one of an epoch may be smaller, or larger by one.
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
        ([2, 3], 2)
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
        return max(1, len(self.part) // self.size + (len(self.part) % self.size > 1)) if len(self.part) else 0

    def __iter__(self) -> Iterator[Batch]:
        part, device = self.part, self.like.device
        order = torch.randperm(len(part), generator=generator(self.seed, self.task, self.epoch))
        order = order.to(part.labels.device)
        # Put in order once: a step only slices.
        shuffled = part.take(order)
        places, labels = self._split(order), self._split(shuffled.labels.to(device))
        tasks = [None] * len(places) if shuffled.tasks is None else self._split(shuffled.tasks.to(device))
        index = self._split(order if shuffled.index is None else shuffled.index)
        self._draws.manual_seed(derived(self.augmentation_seed, 2, self.task, self.epoch))
        for number, pixels in enumerate(self._pixels(index)):
            yield Batch(self.prepare(pixels), labels[number], places[number], tasks[number])

    def _split(self, values: Tensor) -> list[Tensor]:
        """Batches of values; a last batch of one image joins the one before, since normalisation needs two."""
        parts = list(values.split(self.size))
        if self.size > 1 and len(parts) > 1 and len(parts[-1]) == 1:
            parts[-2:] = [values[-self.size - 1 :]]
        return parts

    def prepare(self, pixels: Tensor) -> Tensor:
        """Stored pixels to inputs, augmented."""
        like = self.like
        if self.augmentation is None:
            return self.part.scaling(pixels.to(like.device), like.dtype)
        moved = self.augmentation.pixels(pixels.to(like.device), self._draws)
        return self.augmentation.inputs(self.part.scaling(moved, like.dtype), self._draws)

    def _pixels(self, index: list[Tensor]) -> Iterator[Tensor]:
        """The stored pixels of each batch, from their places in the store."""
        store = self.part.store
        if self.part.mapped and self.workers:
            return iter(DataLoader(_Slices(store, index), batch_size=None, num_workers=self.workers))
        return (store[places] for places in index)


class _Slices(Dataset[Tensor]):
    """Whole batches of stored pixels, for the worker processes of a DataLoader."""

    def __init__(self, store: Tensor, index: list[Tensor]) -> None:
        self.store = store
        self.index = index

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, number: int) -> Tensor:
        return self.store[self.index[number]]
