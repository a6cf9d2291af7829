"""Labelled images in arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from orthotrace.core.errors import UserError
from orthotrace.data.images import Images, Scaling
from orthotrace.data.sources.base import Source, check_names, within

# How arrays are read: as images of a certain rank, or whatever their rank.
Layout = Literal["images", "any"]
NAMES = ("train_images", "train_labels", "test_images", "test_labels")


def arrays(
    train_images: Any,
    train_labels: Any,
    test_images: Any,
    test_labels: Any,
    classes: Sequence[str] | None = None,
    name: str = "arrays",
    normalise: bool = True,
    limit: int | None = None,
    layout: Layout = "images",
) -> Source:
    """Images, or inputs of any shape, from arrays or tensors.

    Args:
        train_images: (n, height, width), (n, height, width, channels) with 1 or 3 channels, or (n, channels, height,
            width); uint8, or floating as the inputs of the network.
        train_labels: (n,), integers from 0.
        test_images: like the training images.
        test_labels: like the training labels.
        classes: names by label; None for the numbers.
        name: of the data set.
        normalise: scale each channel of uint8 images to mean 0 and standard deviation 1 over the training images;
            else to [0, 1]. Floating images stay as they are.
        limit: images of each class in each part at most, the first ones; None for all.
        layout: "any" takes arrays (n, ...) of any rank as they are, such as sequences (n, steps, features): also
            integers, such as tokens (n, steps); one scaling for all values.

    Raises:
        UserError: shapes that do not fit, labels without a class, two classes of one name, or values that are not
            finite.

    Example:
        >>> import numpy as np
        >>> images, labels = np.zeros((6, 4, 4), dtype=np.uint8), np.arange(6) % 3
        >>> source = arrays(images, labels, images, labels)
        >>> source.shape, source.classes
        ((1, 4, 4), ('0', '1', '2'))
    """
    train, test = images_of(train_images, test_images, layout)
    labels = [_labels(train_labels, len(train), NAMES[1]), _labels(test_labels, len(test), NAMES[3])]
    count = 1 + int(max(part.max() for part in labels))
    names = check_names(range(count) if classes is None else classes)
    if count > len(names):
        raise UserError(f"the label {count - 1} is none of the {len(names)} classes", NAMES[1])
    if limit is not None:
        kept = [torch.tensor(list(map(within(limit), part.tolist()))) for part in labels]
        train, test = train[kept[0]], test[kept[1]]
        labels = [part[chosen] for part, chosen in zip(labels, kept, strict=True)]
    scaling = scaling_of(train, normalise)
    return Source(name, Images(train, labels[0], scaling=scaling), Images(test, labels[1], scaling=scaling), names)


def images_of(train: Any, test: Any, layout: Layout = "images") -> tuple[Tensor, Tensor]:
    """Training and test images, (n, channels, height, width), or (n, ...) in any layout, as arrays takes them.

    Raises:
        UserError: shapes, types or values that do not fit.

    Example:
        >>> [tuple(part.shape) for part in images_of(np.zeros((2, 4, 4, 3)), np.zeros((1, 4, 4, 3)))]
        [(2, 3, 4, 4), (1, 3, 4, 4)]
    """
    found = _images(train, NAMES[0], layout), _images(test, NAMES[2], layout)
    if found[0].shape[1:] != found[1].shape[1:] or found[0].dtype != found[1].dtype:
        shapes = [tuple(part.shape[1:]) for part in found]
        raise UserError(f"training images are {shapes[0]}, test images {shapes[1]}", NAMES[2])
    return found


def scaling_of(images: Tensor, normalise: bool) -> Scaling:
    """How uint8 images become inputs, see arrays; floating ones stay as they are.

    Example:
        >>> scaling_of(torch.zeros(1, 1, 2, 2, dtype=torch.uint8), normalise=False)
        Scaling(mean=(0.0,), std=(255.0,))
    """
    if images.dtype != torch.uint8:
        return Scaling()
    if images.ndim != 4:
        images = images.reshape(len(images), 1, -1, 1)
    return Scaling.of([images]) if normalise else Scaling(std=(255.0,))


def _images(given: Any, key: str, layout: Layout) -> Tensor:
    try:
        images = torch.as_tensor(np.asarray(given) if not isinstance(given, Tensor) else given)
    except TypeError as error:
        raise UserError(f"numbers expected, got {np.asarray(given).dtype}", key) from error
    if layout == "any":
        return _of_any_rank(images, key)
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.permute(0, 3, 1, 2)
    if images.ndim != 4 or not len(images):
        raise UserError(f"(n, height, width) or (n, channels, height, width) expected, got {tuple(images.shape)}", key)
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise UserError(f"uint8 or floating images expected, got {images.dtype}", key)
    return _finite(images, key)


def _of_any_rank(images: Tensor, key: str) -> Tensor:
    if images.ndim < 2 or not images.numel():
        raise UserError(f"(n, ...) expected, got {tuple(images.shape)}", key)
    if images.is_complex() or images.dtype == torch.bool:
        raise UserError(f"real numbers expected, got {images.dtype}", key)
    if images.dtype != torch.uint8 and not images.is_floating_point():
        images = images.long()
        if int(images.min()) < 0:
            raise UserError("whole numbers are tokens, from 0; store other numbers as floating", key)
    return _finite(images, key)


def _finite(images: Tensor, key: str) -> Tensor:
    if images.is_floating_point():
        images = images.float()
        if not images.isfinite().all():
            raise UserError("the images have values that are not finite", key)
    return images.contiguous()


def _labels(given: Any, count: int, key: str) -> Tensor:
    labels = torch.as_tensor(np.asarray(given) if not isinstance(given, Tensor) else given)
    if labels.shape != (count,):
        raise UserError(f"{count} labels expected, got the shape {tuple(labels.shape)}", key)
    if labels.is_floating_point() or (labels < 0).any():
        raise UserError(
            "labels must be integers from 0; numbers to be predicted are targets: train_targets, test_targets", key
        )
    return labels.long()
