"""Sources of labelled images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from orthotrace.errors import checked


@dataclass(frozen=True)
class Images:
    """Labelled images in one tensor.

    Attributes:
        images: (n, channels, height, width).
        labels: (n,), whole numbers from 0.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> Images:
        """The images at these places."""
        return Images(self.images[index], self.labels[index])


@dataclass(frozen=True)
class Source:
    """A data set with its fixed parts.

    Attributes:
        name: of the data set.
        train: for training and validation.
        test: the same for every seed, so that networks of different seeds are compared on the same images.
        classes: names by label.
    """

    name: str
    train: Images
    test: Images
    classes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image: (channels, height, width)."""
        return tuple(self.train.images.shape[1:])


@checked
def digits(scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0) -> Source:
    """The handwritten digits that scikit-learn ships: 1,437 training and 360 test images, 8 x 8 grey.

    The test part has 36 images of each class but for rounding, and is the same for every seed.

    Args:
        scale: factor on the pixels, which lie in [0, 1].

    Raises:
        UserError: the scale is not positive.

    Source: Alpaydin & Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.

    Example:
        >>> source = digits()
        >>> source.train.images.shape, len(source.test), float(source.train.images.max())
        (torch.Size([1437, 1, 8, 8]), 360, 1.0)
    """
    # scikit-learn takes a second to import.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data: Any = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16 * scale
    labels = torch.tensor(data.target, dtype=torch.int64)
    train, test = train_test_split(range(len(labels)), test_size=360, stratify=labels, random_state=0)
    whole = Images(images, labels)
    return Source(
        "digits",
        whole.take(torch.tensor(train)),
        whole.take(torch.tensor(test)),
        tuple(str(name) for name in data.target_names),
    )
