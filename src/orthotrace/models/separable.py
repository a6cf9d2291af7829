"""Blocks of depthwise convolutions: separable, and inverted residual."""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import checked
from orthotrace.models.style import BlockStyle, strided

Units = Annotated[int, Field(ge=1)]


class Separable(nn.Sequential):
    """A depthwise convolution 3 x 3, of each channel by itself, and a pointwise one 1 x 1.

    Each has normalisation and nonlinearity.

    Args:
        shape: of the input, (channels, height, width).
        style: of the network.
        channels: of the output.
        stride: of the depthwise convolution.

    Attributes:
        shape: of the output.

    Raises:
        UserError: a value out of its range.

    Source: Howard et al., MobileNets, 2017, fig. 3.

    Example:
        >>> block = Separable((32, 8, 8), BlockStyle(norm=False), 64)
        >>> block.shape, sum(value.numel() for value in block.parameters()) == 32 * 9 + 32 * 64
        ((64, 8, 8), True)
    """

    @checked
    def __init__(self, shape: tuple[int, ...], style: BlockStyle, channels: Units, stride: Units = 1) -> None:
        before, *sides = shape
        planes = style.scaled(channels)
        depthwise = style.layer(before, before, 3, stride, groups=before)
        super().__init__(OrderedDict(depthwise=depthwise, pointwise=style.layer(before, planes, 1)))
        self.shape = (planes, *strided(tuple(sides), stride))


class InvertedResidual(nn.Module):
    """Expansion by a convolution 1 x 1, a depthwise one 3 x 3, and a projection 1 x 1 without a nonlinearity.

    The input is added where it has the shape of the output.

    Args:
        shape: of the input, (channels, height, width).
        style: of the network.
        channels: of the output.
        stride: of the depthwise convolution.
        expand: channels inside, over those of the input; with 1 there is no expansion.

    Attributes:
        shape: of the output.

    Raises:
        UserError: a value out of its range.

    Source: Sandler et al., MobileNetV2, CVPR 2018, table 1 and fig. 4d; ours has the nonlinearity of the network where
    theirs has ReLU6.

    Example:
        >>> block = InvertedResidual((8, 8, 8), BlockStyle(norm=False), channels=8, expand=6)
        >>> block.adds, sum(value.numel() for value in block.parameters()) == 8 * 48 + 48 * 9 + 48 * 8
        (True, True)
    """

    @checked
    def __init__(
        self, shape: tuple[int, ...], style: BlockStyle, channels: Units, stride: Units = 1, expand: Units = 6
    ) -> None:
        super().__init__()
        before, *sides = shape
        planes, inside = style.scaled(channels), before * expand
        if expand > 1:
            self.expand = style.layer(before, inside, 1)
        self.expands = expand > 1
        self.depthwise = style.layer(inside, inside, 3, stride, groups=inside)
        self.project = nn.Sequential(
            OrderedDict(conv=style.convolution(inside, planes, 1), bn=style.normalisation(planes))
        )
        self.adds = stride == 1 and before == planes
        self.shape = (planes, *strided(tuple(sides), stride))

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (n, *shape) of maps."""
        maps = self.depthwise(self.expand(inputs) if self.expands else inputs)
        projected = self.project(maps)
        return projected + inputs if self.adds else projected
