"""A small convolutional network for comparisons of representations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import nn

from orthotrace.core.errors import UserError, checked
from orthotrace.models.convnet import Units
from orthotrace.models.width import scaled

# Channels, kernel, stride and padding of each convolution.
LAYERS = (
    (16, 3, 1, 1), (16, 3, 1, 1), (32, 3, 2, 1), (32, 3, 1, 1), (32, 3, 1, 1), (64, 3, 2, 1), (64, 3, 1, 0),
    (64, 1, 1, 0),
)  # fmt: skip


class Tiny10(nn.Sequential):
    """Tiny-10: eight convolutions, each with batch normalisation and ReLU, global average pooling, a linear ``head``.

    3 x 3 with 16, 16, 32 (stride 2), 32, 32, 64 (stride 2) and, without padding, 64 channels; 1 x 1 with 64.

    Args:
        shape: of one input, (channels, height, width).
        classes: number of outputs, at least 1.
        bias: whether the convolutions have biases; the head has one.
        width: factor on all channels, above 0.

    Raises:
        UserError: a value out of its range, or images too small.

    Source: Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019, appendix E.

    Example:
        >>> import torch
        >>> Tiny10((3, 32, 32), 10)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    @checked
    def __init__(
        self,
        shape: Sequence[int],
        classes: Units,
        bias: bool = False,
        width: Annotated[float, Field(gt=0)] = 1.0,
    ) -> None:
        super().__init__()
        before, *sides = shape
        if min(sides) < 9:
            raise UserError(f"images of {tuple(shape)} are too small: 9 x 9 pixels at least, by dataset.size")
        for number, (planes, kernel, stride, padding) in enumerate(LAYERS, start=1):
            planes = scaled(planes, width)
            self.add_module(f"conv{number}", nn.Conv2d(before, planes, kernel, stride, padding, bias=bias))
            self.add_module(f"bn{number}", nn.BatchNorm2d(planes))
            self.add_module(f"relu{number}", nn.ReLU())
            before = planes
        self.add_module("pool", nn.AdaptiveAvgPool2d(1))
        self.add_module("flatten", nn.Flatten())
        self.add_module("head", nn.Linear(before, classes))
