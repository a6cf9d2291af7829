"""Whole batches in an order fixed by seed, task and epoch."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from orthotrace.core.distributed import rank_and_world_size, rank_seed_parts, shard
from orthotrace.core.seeds import derived, generator
from orthotrace.data.augment import Augmentation
from orthotrace.data.images import Batch, Images

# Numbers of the inputs that are made at once, of several small batches.
TOGETHER = 1 << 20


class Batches:
    """Batches of images, in an order fixed by a seed, the task and the epoch.

    Images in memory are sliced as tensors; images on disk are read ahead by worker processes, a batch at a time. In a
    distributed run each process gets its share of every batch.

    Args:
        part: the images.
        size: of a batch; the last batch of an epoch may be smaller, or larger by a few images.
        seed: of the order.
        task: index of the task.
        augmentation: of the images.
        augmentation_seed: seed of the augmentation.
        like: a tensor with the type and device of the inputs.
        workers: number of processes that read images from disk.
        processes: that train together; None for those that have found each other so far.

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
        processes: int | None = None,
    ) -> None:
        self.like = torch.zeros(()) if like is None else torch.zeros((), dtype=like.dtype, device=like.device)
        self.part = part.to(self.like.device)
        self.size = size
        self.seed = seed
        self.task = task
        self.augmentation = augmentation if augmentation is not None and augmentation.changes else None
        self.augmentation_seed = augmentation_seed
        self.workers = workers
        self.processes = processes
        self._epoch = 0
        self._draws = torch.Generator(self.like.device)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, which decides the order: before each, as for torch's DistributedSampler."""
        self._epoch = epoch

    def __len__(self) -> int:
        return count_of(len(self.part), self.size, self.processes)

    def __iter__(self) -> Iterator[Batch]:
        part, device = self.part, self.like.device
        order = torch.randperm(len(part), generator=generator(self.seed, self.task, self._epoch))
        order = order.to(part.labels.device)
        # Shuffled once an epoch: a step only slices.
        shuffled = part.take(order)
        places, labels = self._split(order), self._split(shuffled.labels.to(device))
        tasks = [None] * len(places) if shuffled.tasks is None else self._split(shuffled.tasks.to(device))
        index = self._split(order if shuffled.index is None else shuffled.index)
        self._draws.manual_seed(derived(self.augmentation_seed, 2, self.task, self._epoch, *rank_seed_parts()))
        whole, world_size = self._batches(order), rank_and_world_size()[1]
        for number, inputs in enumerate(self._inputs(index)):
            weight = len(places[number]) * world_size / len(whole[number])
            yield Batch(inputs, labels[number], places[number], tasks[number], weight)

    def _batches(self, values: Tensor) -> list[Tensor]:
        """Values in batches; a last batch that is too small is joined to the one before."""
        parts = list(values.split(self.size))
        if len(parts) > 1 and len(parts[-1]) < least(self.size, self.processes):
            parts[-2:] = [values[-self.size - len(parts[-1]) :]]
        return parts

    def _split(self, values: Tensor) -> list[Tensor]:
        """This process's share of each batch."""
        return [shard(part) for part in self._batches(values)]

    def prepare(self, pixels: Tensor) -> Tensor:
        """Stored pixels to inputs, augmented."""
        like = self.like
        if self.augmentation is None:
            return self.part.scaling(pixels.to(like.device), like.dtype)
        moved = self.augmentation.pixels(pixels.to(like.device), self._draws)
        return self.augmentation.inputs(self.part.scaling(moved, like.dtype), self._draws)

    def _inputs(self, index: list[Tensor]) -> Iterator[Tensor]:
        """The inputs of each batch, by the indices of its images in the store."""
        store = self.part.store
        if self.part.mapped and self.workers:
            pixels = DataLoader(_Slices(store, index), batch_size=None, num_workers=self.workers)
            yield from map(self.prepare, pixels)
        elif self.augmentation is not None:
            # What is drawn for a batch comes after what was drawn for the one before.
            yield from (self.prepare(store[places]) for places in index)
        elif index:
            # A call costs as much as a small batch: one for several.
            together = max(1, TOGETHER // (store[0].numel() * len(index[0]) or 1))
            for first in range(0, len(index), together):
                some = index[first : first + together]
                yield from self.prepare(store[torch.cat(some)]).split([len(places) for places in some])


def count_of(images: int, size: int, processes: int | None = None) -> int:
    """The number of batches in an epoch.

    Args:
        images: in the epoch.
        size: of a batch.
        processes: as for Batches.

    Example:
        >>> count_of(9, 4), count_of(10, 4), count_of(0, 4)
        (2, 3, 0)
    """
    return max(1, images // size + (images % size >= least(size, processes))) if images else 0


def least(size: int, processes: int | None = None) -> int:
    """The smallest size of a last batch, by size and processes as for Batches: normalisation needs two images in each.

    Example:
        >>> least(64, processes=2), least(1)
        (4, 1)
    """
    return (2 if size > 1 else 1) * (processes or rank_and_world_size()[1])


class _Slices(Dataset[Tensor]):
    """Whole batches of stored pixels, for the worker processes of a DataLoader."""

    def __init__(self, store: Tensor, index: list[Tensor]) -> None:
        self.store = store
        self.index = index

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, number: int) -> Tensor:
        return self.store[self.index[number]]
