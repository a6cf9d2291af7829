"""Images in arrays and NumPy archives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orthotrace.core.errors import UserError, checked, refuse_unknown
from orthotrace.core.files import read
from orthotrace.data.images import Images, Scaling
from orthotrace.data.sources.base import Limit, Source, check_names, within

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
) -> Source:
    """Images from arrays or tensors.

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
    train, test = _images(train_images, "train_images"), _images(test_images, "test_images")
    if train.shape[1:] != test.shape[1:] or train.dtype != test.dtype:
        raise UserError(f"training images are {tuple(train.shape[1:])}, test images {tuple(test.shape[1:])}", NAMES[2])
    labels = [_labels(train_labels, len(train), NAMES[1]), _labels(test_labels, len(test), NAMES[3])]
    count = 1 + int(max(part.max() for part in labels))
    names = check_names(range(count) if classes is None else classes)
    if count > len(names):
        raise UserError(f"the label {count - 1} is none of the {len(names)} classes", NAMES[1])
    if limit is not None:
        kept = [torch.tensor(list(map(within(limit), part.tolist()))) for part in labels]
        train, test = train[kept[0]], test[kept[1]]
        labels = [part[chosen] for part, chosen in zip(labels, kept, strict=True)]
    scaling = Scaling()
    if train.dtype == torch.uint8:
        scaling = Scaling.of([train]) if normalise else Scaling(std=(255.0,))
    return Source(name, Images(train, labels[0], scaling=scaling), Images(test, labels[1], scaling=scaling), names)


def _images(given: Any, key: str) -> Tensor:
    images = torch.as_tensor(np.asarray(given) if not isinstance(given, Tensor) else given)
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.permute(0, 3, 1, 2)
    if images.ndim != 4 or not len(images):
        raise UserError(f"(n, height, width) or (n, channels, height, width) expected, got {tuple(images.shape)}", key)
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise UserError(f"uint8 or floating images expected, got {images.dtype}", key)
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
        raise UserError("labels must be integers from 0", key)
    return labels.long()


@checked
def archive(
    path: str, normalise: bool = True, classes: list[str | int] | None = None, limit: Limit | None = None
) -> Source:
    """Images from a NumPy archive (.npz) with the arrays train_images, train_labels, test_images, test_labels.

    An optional array ``classes`` has the names of the classes.

    Args:
        path: the file.
        normalise: as for arrays.
        classes: names by label; None for those in the file, or the numbers.
        limit: images of each class in each part at most, the first ones; None for all.

    Raises:
        UserError: the file is missing or damaged, or an array is missing or does not fit.
    """

    def load(file: Path) -> dict[str, Any]:
        with np.load(file, allow_pickle=False) as opened:
            return dict(opened)

    if not Path(path).is_file():
        raise UserError(f"there is no file {path}", "path")
    content = read(Path(path), load)
    refuse_unknown(NAMES, content, f"{path} has no array", "path")
    names = content.get("classes") if classes is None else check_names(classes)
    try:
        return arrays(
            **{name: content[name] for name in NAMES},
            classes=names,
            name=Path(path).stem,
            normalise=normalise,
            limit=limit,
        )
    except UserError as error:
        raise UserError(f"{path}, {error.key}: {error.message}", "path") from error
