"""Labelled images in tensors, and how their pixels become the inputs of a network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

# Number of images whose pixels enter a digest.
SAMPLE = 4096


@dataclass(frozen=True)
class Scaling:
    """Pixels x to inputs (x - mean) / std, by channel or one for all channels.

    Attributes:
        mean: in units of the stored pixels.
        std: likewise, above 0.

    Example:
        >>> Scaling((0.0,), (16.0,))(torch.tensor([[[[4, 8]]]], dtype=torch.uint8))
        tensor([[[[0.2500, 0.5000]]]])
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __call__(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Inputs (n, channels, height, width) of stored pixels."""
        # A copy, never the stored images themselves: augmentation writes into it.
        inputs = pixels.to(dtype, copy=True)
        if len(self.std) == 1:
            return (inputs.sub_(self.mean[0]) if self.mean[0] else inputs).div_(self.std[0])
        mean, std = (inputs.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return inputs.sub_(mean).div_(std)

    def pooled(self) -> Scaling:
        """One scaling for all channels together.

        Example:
            >>> Scaling((0.0, 2.0), (0.0, 0.0)).pooled()
            Scaling(mean=(1.0,), std=(1.0,))
        """
        if len(self.std) == 1:
            return self
        mean = sum(self.mean) / len(self.mean)
        square = sum(m**2 + s**2 for m, s in zip(self.mean, self.std, strict=True)) / len(self.std)
        return Scaling((mean,), ((square - mean**2) ** 0.5,))

    @staticmethod
    def of(stores: Sequence[Tensor]) -> Scaling:
        """The scaling to mean 0 and standard deviation 1 in each channel, over all images of all stores.

        Example:
            >>> scaling = Scaling.of([torch.tensor([[[[0, 200]]], [[[0, 200]]]], dtype=torch.uint8)])
            >>> scaling.mean, scaling.std
            ((100.0,), (100.0,))
        """
        count, total, square = 0, torch.zeros(()).double(), torch.zeros(()).double()
        for store in stores:
            for part in store.split(4096):
                pixels = part.double()
                count += pixels[:, 0].numel()
                total = total + pixels.sum((0, 2, 3))
                square = square + pixels.square().sum((0, 2, 3))
        mean = total / count
        # A channel that never varies stays as it is.
        std = (square / count - mean.square()).clamp(min=0).sqrt()
        return Scaling(tuple(mean.tolist()), tuple(std.where(std > 1e-6, torch.ones_like(std)).tolist()))


def extremes(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The range of pixels: the darkest and the brightest value, each (channels, 1, 1) or (1, 1, 1).

    From 0 to the largest pixel; where pixels are below 0, as in normalised images, the range of each channel.

    Args:
        pixels: (n, channels, height, width).

    Example:
        >>> dark, bright = extremes(torch.tensor([[[[-1.0, 3.0]], [[0.0, 2.0]]]]))
        >>> dark.flatten().tolist(), bright.flatten().tolist()
        ([-1.0, 0.0], [3.0, 2.0])
    """
    if float(pixels.amin()) >= 0:
        return pixels.new_zeros(1, 1, 1), pixels.amax().view(1, 1, 1)
    return pixels.amin((0, 2, 3))[:, None, None], pixels.amax((0, 2, 3))[:, None, None]


@dataclass(frozen=True)
class Images:
    """Labelled images: indices into a store of pixels that several parts share.

    Attributes:
        store: (N, channels, height, width), uint8 or floating.
        labels: (n,), integers from 0; of a regression its targets, (n, k), floating; of trials targets and weights of
            each step, (n, k + 1, steps), see ActiveTrials.
        index: (n,), indices of the images in the store; None for all images in order.
        scaling: pixels to inputs.
        tasks: (n,), the task of each image, where images of several tasks are mixed.
        mapped: whether the store is mapped from disk.

    Example:
        >>> part = Images(torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1), torch.tensor([0, 1, 0, 1]))
        >>> odd = part.take(torch.tensor([1, 3]))
        >>> odd.images.flatten().tolist(), odd.labels.tolist(), odd.store is part.store
        ([1, 3], [1, 1], True)
        >>> odd
        Images(2 of shape (1, 1, 1))
    """

    store: Tensor
    labels: Tensor
    index: Tensor | None = None
    scaling: Scaling = Scaling()
    tasks: Tensor | None = None
    mapped: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        # That of a dataclass would print thousands of pixels.
        return f"Images({len(self)} of shape {tuple(self.store.shape[1:])})"

    @property
    def regression(self) -> bool:
        """Whether the images have targets in the place of labels."""
        return self.labels.is_floating_point()

    @property
    def trials(self) -> bool:
        """Whether they have targets for each step of a sequence."""
        return self.labels.ndim == 3

    def digest(self) -> str:
        """A hash of the number of images, their labels, and the pixels of at most SAMPLE of them.

        Example:
            >>> black, white = (Images(torch.full((3, 1, 2, 2), shade), torch.arange(3)) for shade in (0, 1))
            >>> black.digest() == white.digest(), black.digest() == black.take(torch.arange(3)).digest()
            (False, True)
        """
        count = len(self)
        chosen = torch.arange(count) if count <= SAMPLE else torch.linspace(0, count - 1, SAMPLE).long()
        whole = hashlib.sha256(repr((count, tuple(self.store.shape[1:]), self.store.dtype)).encode())
        for values in (self.labels, self.pixels(chosen)):
            whole.update(values.cpu().contiguous().numpy().tobytes())
        return whole.hexdigest()[:16]

    @property
    def images(self) -> Tensor:
        """The stored pixels of all images, (n, channels, height, width)."""
        return self.pixels(slice(None))

    def pixels(self, places: Tensor | slice) -> Tensor:
        """The stored pixels of the images at these places."""
        return self.store[places] if self.index is None else self.store[self.index[places]]

    def inputs(self, places: Tensor | slice | None = None, like: Tensor | None = None) -> Tensor:
        """Inputs of a network.

        Args:
            places: of the images; None for all.
            like: a tensor of the type and device wanted; None for float32 where the store is.
        """
        pixels = self.pixels(slice(None) if places is None else places)
        return self.scaling(pixels) if like is None else self.scaling(pixels.to(like.device), like.dtype)

    def take(self, places: Tensor) -> Images:
        """The images at these places, over the same store."""
        index = places if self.index is None else self.index[places]
        tasks = None if self.tasks is None else self.tasks[places]
        return replace(self, labels=self.labels[places], index=index, tasks=tasks)

    def split(self, size: int, like: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of inputs and labels, in order; a last one of a single image is joined to the one before.

        Normalisation by the statistics of a batch needs two.
        """
        starts = list(range(0, len(self), size))
        if size > 1 and starts[1:] and starts[-1] == len(self) - 1:
            starts.pop()
        for start, stop in zip(starts, [*starts[1:], len(self)], strict=True):
            places = slice(start, stop)
            yield self.inputs(places, like), self.labels[places].to(like.device)

    def to(self, device: torch.device) -> Images:
        """The images on a device; a store that is mapped from disk stays there."""
        if self.mapped or self.store.device == device:
            return self
        index = None if self.index is None else self.index.to(device)
        tasks = None if self.tasks is None else self.tasks.to(device)
        return replace(self, store=self.store.to(device), labels=self.labels.to(device), index=index, tasks=tasks)

    @staticmethod
    def joined(parts: Sequence[Images]) -> Images:
        """The images of several parts with the same scaling, in order."""
        labels = torch.cat([part.labels for part in parts])
        known = [part.tasks for part in parts if part.tasks is not None]
        tasks = torch.cat(known) if len(known) == len(parts) else None
        first = parts[0]
        if all(part.store is first.store and part.index is not None for part in parts):
            index = torch.cat([part.index for part in parts if part.index is not None])
            return replace(first, labels=labels, index=index, tasks=tasks)
        store = torch.cat([part.images for part in parts])
        return Images(store, labels, scaling=first.scaling, tasks=tasks)


class Batch(NamedTuple):
    """A batch as a method gets it.

    Attributes:
        inputs: of the network, (n, channels, height, width).
        labels: (n,); of a regression its targets, (n, k).
        places: (n,), of the images in the task's training part.
        tasks: (n,), the task of each image, where images of several tasks are mixed.
        weight: factor on the mean loss; with it the mean over processes is the mean over all images.
    """

    inputs: Tensor
    labels: Tensor
    places: Tensor
    tasks: Tensor | None = None
    weight: float = 1.0
