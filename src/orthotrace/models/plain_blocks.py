"""Plain blocks: a convolution, a linear layer, a pooling."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import UserError, checked
from orthotrace.models.style import BlockStyle, strided

Units = Annotated[int, Field(ge=1)]


class ConvBlock(nn.Module):
    """A convolution 3 x 3, its normalisation and its nonlinearity; the sum with a skip is before the nonlinearity.

    Args:
        shape: of the input, (channels, height, width).
        style: of the network.
        channels: of the output.
        stride: of the convolution.
        residual: add the input; where channels or sides change, or under maxout, by a convolution 1 x 1.

    Attributes:
        shape: of the output.

    Raises:
        UserError: a value out of its range.

    Source: He et al., CVPR 2016, eq. 1 and 2, for the skip.

    Example:
        >>> import torch
        >>> ConvBlock((3, 8, 8), BlockStyle(), channels=4, stride=2, residual=True)(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 4, 4, 4])
    """

    @checked
    def __init__(
        self, shape: tuple[int, ...], style: BlockStyle, channels: Units, stride: Units = 1, residual: bool = False
    ) -> None:
        super().__init__()
        before, *sides = shape
        planes = style.scaled(channels)
        wide = planes * style.pieces
        self.conv = style.convolution(before, wide, 3, stride)
        self.bn = style.normalisation(wide)
        self.residual = residual
        if residual:
            same = before == wide and stride == 1
            self.skip = nn.Identity() if same else style.convolution(before, wide, 1, stride)
        self.act = style.activation()
        self.shape = (planes, *strided(tuple(sides), stride))

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (n, *shape) of maps."""
        maps = self.bn(self.conv(inputs))
        return self.act(maps + self.skip(inputs) if self.residual else maps)


class LinearBlock(nn.Module):
    """A linear layer, its normalisation and its nonlinearity; maps are flattened.

    The sum with a skip is before the nonlinearity.

    Args:
        shape: of the input.
        style: of the network.
        units: of the output.
        residual: add the input; where their number changes, or under maxout, by another linear layer.

    Attributes:
        shape: of the output.

    Raises:
        UserError: a value out of its range.

    Example:
        >>> import torch
        >>> LinearBlock((3, 8, 8), BlockStyle(norm=False), units=4)(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 4])
    """

    @checked
    def __init__(self, shape: tuple[int, ...], style: BlockStyle, units: Units, residual: bool = False) -> None:
        super().__init__()
        before, units = math.prod(shape), style.scaled(units)
        wide = units * style.pieces
        self.flatten = nn.Flatten() if len(shape) > 1 else nn.Identity()
        self.fc = style.linear(before, wide)
        self.bn = style.normalisation(wide, flat=True)
        self.residual = residual
        if residual:
            self.skip = nn.Identity() if before == wide else style.linear(before, wide)
        self.act = style.activation()
        self.shape = (units,)

    def forward(self, inputs: Tensor) -> Tensor:
        """Units (n, *shape) of maps, or of units."""
        inputs = self.flatten(inputs)
        units = self.bn(self.fc(inputs))
        return self.act(units + self.skip(inputs) if self.residual else units)


class PoolBlock(nn.Sequential):
    """Pooling over windows that do not overlap: by the average, the maximum, or a draw.

    Args:
        shape: of the input, (channels, height, width).
        style: of the network, which says how.
        size: side of a window.

    Attributes:
        shape: of the output.

    Raises:
        UserError: a value out of its range, or maps that are smaller than a window.

    Example:
        >>> PoolBlock((3, 9, 9), BlockStyle(pool="max")).shape
        (3, 4, 4)
    """

    @checked
    def __init__(self, shape: tuple[int, ...], style: BlockStyle, size: Units = 2) -> None:
        before, *sides = shape
        if min(sides) < size:
            raise UserError(f"maps of {tuple(sides)} are smaller than a window of {size}: take fewer poolings", "size")
        if style.pool == "stochastic":
            from orthotrace.layers.stochastic_pooling import StochasticPool2d

            pool: nn.Module = StochasticPool2d(size)
        else:
            pool = nn.MaxPool2d(size) if style.pool == "max" else nn.AvgPool2d(size)
        super().__init__(OrderedDict(pool=pool))
        self.shape = (before, *(side // size for side in sides))
