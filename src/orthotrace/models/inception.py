"""The Inception block."""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import checked
from orthotrace.models.style import BlockStyle

Units = Annotated[int, Field(ge=1)]


class Inception(nn.Module):
    """Branches of several widths beside each other, joined along the channels.

    A convolution 1 x 1; a 1 x 1 and a 3 x 3; a 1 x 1 and a 5 x 5; a maximum pooling 3 x 3 with stride 1 and a 1 x 1.
    Each convolution has normalisation and nonlinearity.

    Args:
        shape: of the input, (channels, height, width).
        style: of the network.
        conv1: channels of the branch 1 x 1.
        conv3: of the branch 3 x 3: of its 1 x 1, and of its 3 x 3.
        conv5: of the branch 5 x 5, likewise.
        pooled: of the branch with the pooling.

    Attributes:
        shape: of the output.

    Raises:
        UserError: a value out of its range.

    Source: Szegedy et al., Going Deeper with Convolutions, CVPR 2015, fig. 2b.

    Example:
        >>> block = Inception((192, 28, 28), BlockStyle(norm=False, bias=True), 64, (96, 128), (16, 32), 32)
        >>> block.shape, sum(value.numel() for value in block.parameters())
        ((256, 28, 28), 163696)
    """

    @checked
    def __init__(
        self,
        shape: tuple[int, ...],
        style: BlockStyle,
        conv1: Units,
        conv3: tuple[Units, Units],
        conv5: tuple[Units, Units],
        pooled: Units,
    ) -> None:
        super().__init__()
        before, *sides = shape
        one, last = style.scaled(conv1), style.scaled(pooled)
        (narrow3, three), (narrow5, five) = (tuple(map(style.scaled, pair)) for pair in (conv3, conv5))
        self.branch1 = style.layer(before, one, 1)
        self.branch3 = nn.Sequential(
            OrderedDict(reduce=style.layer(before, narrow3, 1), conv=style.layer(narrow3, three, 3))
        )
        self.branch5 = nn.Sequential(
            OrderedDict(reduce=style.layer(before, narrow5, 1), conv=style.layer(narrow5, five, 5))
        )
        self.pooled = nn.Sequential(OrderedDict(pool=nn.MaxPool2d(3, 1, 1), conv=style.layer(before, last, 1)))
        self.shape = (one + three + five + last, *sides)

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (n, *shape) of maps."""
        branches = (self.branch1, self.branch3, self.branch5, self.pooled)
        return torch.cat([branch(inputs) for branch in branches], 1)
