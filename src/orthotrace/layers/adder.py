"""Layers that add in place of multiplying: a unit answers with its distance from what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import unfold
from torch.nn.modules.utils import _pair as pair

from orthotrace.core.errors import UserError, checked
from orthotrace.layers.distance import negative_distance, rated

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
Sides = Count | tuple[Count, Count]
Zeros = Annotated[int, Field(ge=0)]
Padding = Zeros | tuple[Zeros, Zeros]
UNPROTECTED = (
    "answers with distances from its inputs: where an update is orthogonal to an input, the answer to that input still "
    "changes, so no projection protects it; take weights=free, or a method that does not project, such as ewc or er"
)


class _Adder(nn.Module):
    """What both layers have in common: the weight, its rate, and distances from it."""

    # Read by protection: why an orthogonal update of these weights keeps nothing.
    unprotected = UNPROTECTED

    bias: nn.Parameter | None

    def __init__(self, shape: Sequence[int], bias: bool, rate: float | None) -> None:
        super().__init__()
        self.rate = rate
        self.weight = nn.Parameter(torch.randn(*shape))
        self.register_parameter("bias", nn.Parameter(torch.zeros(shape[0])) if bias else None)

    def distances(self, rows: Tensor, groups: int = 1) -> Tensor:
        """Answers (groups, n, out / groups) to rows (groups, n, features), without the bias."""
        weight = rated(self.weight, self.rate)
        with torch.autocast(rows.device.type, enabled=False):
            return negative_distance(rows.to(weight.dtype), weight.reshape(groups, len(weight) // groups, -1))


class AdderLinear(_Adder):
    """A Linear layer with the distance in place of the product.

    y_o = b_o - sum_k |x_k - w_ok|

    The gradients are not those of the distance, which are signs:

        to w_ok   x_k - w_ok, of full precision
        to x_k    w_ok - x_k, clipped to [-1, 1]

    The gradient g of the weight, of k numbers, goes to the optimizer as rate sqrt(k) g / |g|, of each call: layers
    learn at one pace, though deeper ones get smaller errors. Under torch.func, as for a Fisher information, it is g.

    Before the bias no answer is above 0, and a ReLU alone would pass nothing: a normalisation belongs after the layer.
    What the rate makes of a loss that is scaled up, as for float16, is no longer undone: train in float32 or bfloat16.

    Args:
        in_features, out_features: numbers of inputs and outputs.
        bias: add a bias.
        rate: eta of the adaptive learning rate, above 0; None for the gradient as it is.

    Raises:
        UserError: an argument out of its range.

    Source: Chen et al., AdderNet, CVPR 2020, eq. 2, 5 to 7, 12 and 13.

    Example:
        >>> layer = AdderLinear(2, 1, bias=False)
        >>> _ = nn.init.ones_(layer.weight)
        >>> layer(torch.tensor([[1.0, 3.0]])).tolist()
        [[-2.0]]
    """

    @checked
    def __init__(self, in_features: Count, out_features: Count, bias: bool = True, rate: Rate | None = 0.1) -> None:
        super().__init__((out_features, in_features), bias, rate)
        self.in_features = in_features
        self.out_features = out_features

    def forward(self, inputs: Tensor) -> Tensor:
        """Answers (..., out) to inputs (..., in)."""
        found = self.distances(inputs.reshape(1, -1, self.in_features))[0]
        found = found if self.bias is None else found + self.bias
        return found.reshape(*inputs.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """What it is made with."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class AdderConv2d(_Adder):
    """A convolution of images with the distance from each patch in place of the product, see AdderLinear.

    y_o(p) = b_o - sum_k |x_k(p) - w_ok| over the numbers k of the patch at place p. The border is padded by zeros,
    which count as inputs.

    Args:
        in_channels, out_channels: maps before and after.
        kernel_size, stride, dilation: one number, or one for each side.
        padding: zeros at each end, likewise.
        groups: of channels, each with filters of its own.
        bias: add a bias.
        rate: as for AdderLinear.

    Raises:
        UserError: an argument out of its range; groups that do not divide the channels.

    Source: Chen et al., AdderNet, CVPR 2020.

    Example:
        >>> AdderConv2d(3, 8, 3, stride=2, padding=1)(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 8, 4, 4])
    """

    @checked
    def __init__(
        self,
        in_channels: Count,
        out_channels: Count,
        kernel_size: Sides,
        stride: Sides = 1,
        padding: Padding = 0,
        dilation: Sides = 1,
        groups: Count = 1,
        bias: bool = True,
        rate: Rate | None = 0.1,
    ) -> None:
        if in_channels % groups or out_channels % groups:
            raise UserError(f"{groups} do not divide {in_channels} and {out_channels} channels", "groups")
        super().__init__((out_channels, in_channels // groups, *pair(kernel_size)), bias, rate)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = pair(kernel_size)
        self.stride = pair(stride)
        self.padding = pair(padding)
        self.dilation = pair(dilation)
        self.groups = groups

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (n, out, height, width) of images (n, channels, height, width)."""
        patches = unfold(inputs, self.kernel_size, self.dilation, self.padding, self.stride)
        count, _, places = patches.shape
        rows = patches.unflatten(1, (self.groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)
        found = self.distances(rows, self.groups).unflatten(1, (count, places)).permute(1, 0, 3, 2).flatten(1, 2)
        found = found if self.bias is None else found + self.bias[:, None]
        return found.unflatten(2, self._sides(inputs.shape[2:]))

    def _sides(self, sides: Sequence[int]) -> tuple[int, ...]:
        """Of the maps."""
        each = zip(sides, self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        return tuple((side + 2 * pad - step * (size - 1) - 1) // by + 1 for side, size, by, pad, step in each)

    def extra_repr(self) -> str:
        """What it is made with."""
        names = ("kernel_size", "stride", "padding", "dilation", "groups")
        said = ", ".join(f"{name}={getattr(self, name)}" for name in names)
        return f"{self.in_channels}, {self.out_channels}, {said}, bias={self.bias is not None}"
