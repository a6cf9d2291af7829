"""What is done to all images of a data set before training, computed once and cached: normalisation, whitening."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from orthotrace.core.errors import UserError
from orthotrace.data.cache import cached, stored
from orthotrace.data.images import Images, Scaling
from orthotrace.data.sources.base import Source

Preparation = Literal["none", "gcn", "gcn_zca", "planes"]
# Added to the variance of every direction: those of hardly any would be blown up.
EPSILON = 0.1
# Values of one image, whose covariance is held in memory (134 MB) and decomposed.
LARGEST = 4096
# Images that are held as float64 at once.
ROWS = 2048
# Raised when the same images would be prepared otherwise.
VERSION = 1


def contrast_normalised(rows: Tensor) -> Tensor:
    """Global contrast normalisation: each image less its mean, divided by its standard deviation.

    An image of one shade becomes 0.

    Args:
        rows: (n, values of an image), floating.

    Source: Goodfellow et al., Maxout Networks, ICML 2013, for CIFAR-10.

    Example:
        >>> contrast_normalised(torch.tensor([[1.0, 3.0], [5.0, 5.0]])).tolist()
        [[-1.0, 1.0], [0.0, 0.0]]
    """
    centred = rows - rows.mean(1, keepdim=True)
    deviation = centred.square().mean(1, keepdim=True).sqrt()
    # Rounding leaves something of an image of one shade.
    flat = deviation <= 1e-12 * rows.abs().amax(1, keepdim=True)
    return torch.where(flat, 0.0, centred / torch.where(flat, 1.0, deviation))


def zca(mean: Tensor, second_moment: Tensor, epsilon: float = EPSILON) -> Tensor:
    """The matrix of ZCA whitening, W = (C + epsilon I)^(-1/2), with C the covariance; it is symmetric.

    Whitened rows are (x - mean) W.

    Args:
        mean: of the rows, (p,).
        second_moment: x^T x / n over the rows, (p, p).
        epsilon: above 0.

    Source: Bell & Sejnowski, Vision Research 37, 1997; Krizhevsky, Learning Multiple Layers of Features from Tiny
    Images, 2009, appendix A.

    Example:
        >>> zca(torch.zeros(2).double(), torch.diag(torch.tensor([3.9, 0.15]).double())).round(decimals=6).tolist()
        [[0.5, 0.0], [0.0, 2.0]]
    """
    values, directions = torch.linalg.eigh(second_moment - mean.outer(mean))
    return (directions * (values.clamp(min=0) + epsilon).rsqrt()) @ directions.T


def planes_as_pixels(images: Tensor) -> Tensor:
    """Images with one colour plane after another, read as if the colours of each pixel followed each other.

    y[c, i, j] = z[(i width + j) channels + c], where z holds the values of x by channel, row and column.

    Only for comparison with published tables: the loaders of APD and GPM read CIFAR-100's superclasses so. Of an image
    in three colours nine small ones are seen, each with every third column, three for each plane.

    Args:
        images: (n, channels, height, width).

    Source: the code of Yoon et al., ICLR 2020 (data_loader.py), and of Saha et al., ICLR 2021
    (dataloader/cifar100_superclass.py).

    Example:
        >>> planes_as_pixels(torch.arange(12).view(1, 3, 2, 2)).tolist()
        [[[[0, 3], [6, 9]], [[1, 4], [7, 10]], [[2, 5], [8, 11]]]]
    """
    count, channels, height, width = images.shape
    return images.reshape(count, height, width, channels).permute(0, 3, 1, 2)


def prepared(source: Source, preparation: Preparation) -> Source:
    """A data set as a network is to see it.

    Contrast normalisation looks at each image alone; the whitening is fitted on all training images of the source, and
    applied to both parts. Each preparation replaces the scaling of the source. The prepared images are kept in the
    cache, and compared with their digests when they are read.

    Args:
        source: with its stored pixels.
        preparation: "none", "gcn" (contrast normalisation), "gcn_zca" (and whitening, with 0.1 added to the
            variances), or "planes" (see planes_as_pixels; scaled to [0, 1]).

    Raises:
        UserError: images too large to be whitened, images of one channel with "planes", or a cache that cannot be
            written.

    Example:
        >>> from orthotrace.data.sources import digits
        >>> source = prepared(digits(), "gcn")
        >>> source.train.inputs().flatten(1).std(1, correction=0).mean().round(decimals=4)
        tensor(1.)
    """
    if preparation == "none":
        return source
    features = source.train.store[0].numel()
    if preparation == "gcn_zca" and features > LARGEST:
        raise UserError(
            f"images of {features} values are too large to be whitened: {LARGEST} at most; set dataset.size, or gcn",
            "preparation",
        )
    if preparation == "planes" and source.train.store.shape[1] == 1:
        raise UserError("images of one channel have no planes of colours: set none", "preparation")
    folder, _ = cached(_key(source, preparation), lambda folder: _prepare(folder, source, preparation))
    made = {}
    for name in ("train", "test"):
        store, mapped = stored(folder / f"{name}.npy")
        made[name] = replace(source.part(name), store=store, index=None, scaling=Scaling(), mapped=mapped)
    return replace(source, **made)


def _key(source: Source, preparation: Preparation) -> str:
    """In the cache: by what is stored of all images."""
    whole = hashlib.sha256(repr((VERSION, preparation, EPSILON)).encode())
    for part in (source.train, source.test):
        whole.update(repr((len(part), tuple(part.store.shape[1:]), part.store.dtype)).encode())
        for places in torch.arange(len(part)).split(ROWS):
            whole.update(part.pixels(places).contiguous().numpy().tobytes())
    return whole.hexdigest()[:32]


def _prepare(folder: Path, source: Source, preparation: Preparation) -> dict[str, Any]:
    threads = torch.get_num_threads()
    # Sums of another number of threads have other last bits, and the prepared images with them.
    torch.set_num_threads(1)
    try:
        change = _change(source.train, preparation)
        for name in ("train", "test"):
            part = source.part(name)
            store: Any = np.lib.format.open_memmap(
                folder / f"{name}.npy", "w+", np.float32, (len(part), *part.store.shape[1:])
            )
            done = 0
            for images in _blocks(part, f"preparing {name} images"):
                store[done : done + len(images)] = change(images).float().reshape(images.shape).numpy()
                done += len(images)
            store.flush()
    finally:
        torch.set_num_threads(threads)
    return {"preparation": preparation}


def _change(train: Images, preparation: Preparation) -> Callable[[Tensor], Tensor]:
    """What makes prepared images of stored ones (n, channels, height, width)."""
    if preparation == "planes":
        # Of images in floating point the values stay, as without normalisation.
        return lambda images: planes_as_pixels(images.float().div(255 if images.dtype == torch.uint8 else 1))
    if preparation == "gcn":
        return _contrast_normalised
    whiten = _whitening(train)
    return lambda images: whiten(_contrast_normalised(images))


def _contrast_normalised(images: Tensor) -> Tensor:
    """Rows (n, values of an image), in float64."""
    return contrast_normalised(images.flatten(1).double())


def _whitening(part: Images) -> Callable[[Tensor], Tensor]:
    """What whitens rows, fitted on images without holding them all."""
    features = part.store[0].numel()
    mean, second_moment = torch.zeros(features).double(), torch.zeros(features, features).double()
    for images in _blocks(part, "covariance of the training images"):
        rows = _contrast_normalised(images)
        mean += rows.sum(0)
        second_moment.addmm_(rows.T, rows)
    mean /= len(part)
    second_moment /= len(part)
    matrix = zca(mean, second_moment)
    return lambda rows: (rows - mean) @ matrix


def _blocks(part: Images, what: str) -> Iterator[Tensor]:
    """The stored images, some at a time, with a progress bar."""
    from rich.console import Console
    from rich.progress import track

    places = torch.arange(len(part)).split(ROWS)
    for some in track(places, what, transient=True, disable=not Console().is_terminal):
        yield part.pixels(some)
