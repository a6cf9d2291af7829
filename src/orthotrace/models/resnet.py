"""Residual networks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import checked
from orthotrace.models.width import scaled


class Block(nn.Module):
    """Two convolutions 3 x 3 beside a shortcut.

    Args:
        before: channels of the input.
        planes: channels of the output.
        stride: of the first convolution; where it is not 1, or the channels change, the shortcut is a convolution
            1 x 1.
        preactivation: normalisation and ReLU before each convolution instead of after it.

    Source: He et al., CVPR 2016; Identity Mappings, ECCV 2016, for the pre-activation.
    """

    def __init__(self, before: int, planes: int, stride: int, preactivation: bool) -> None:
        super().__init__()
        self.preactivation = preactivation
        self.bn1 = nn.BatchNorm2d(before if preactivation else planes)
        self.conv1 = nn.Conv2d(before, planes, 3, stride, 1, bias=False)
        self.relu1 = nn.ReLU()
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.relu2 = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != planes:
            conv = nn.Conv2d(before, planes, 1, stride, bias=False)
            normalised = [] if preactivation else [("bn", nn.BatchNorm2d(planes))]
            self.shortcut = nn.Sequential(OrderedDict([("conv", conv), *normalised]))

    def forward(self, inputs: Tensor) -> Tensor:
        """Feature maps (n, planes, height / stride, width / stride) of feature maps (n, before, height, width)."""
        if self.preactivation:
            active = self.relu1(self.bn1(inputs))
            changed = self.conv2(self.relu2(self.bn2(self.conv1(active))))
            # The identity takes the input itself, a convolution takes the activations.
            return changed + self.shortcut(inputs if isinstance(self.shortcut, nn.Identity) else active)
        changed = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(inputs)))))
        return self.relu2(changed + self.shortcut(inputs))


class ResNet18(nn.Module):
    """ResNet-18 with fewer channels: a stem, four stages of two blocks, global average pooling, a linear ``head``.

    Args:
        shape: of one input, (channels, height, width).
        classes: number of outputs, at least 1.
        channels: of the first stage (64 in the full ResNet-18); each later one has twice as many.
        stem: (kernel, stride) of the first convolution.
        preactivation: normalisation and ReLU before each convolution of a block.
        width: factor on the channels, above 0.

    Raises:
        UserError: a value out of its range.

    Source: Lopez-Paz & Ranzato, NeurIPS 2017, for 20 channels.

    Example:
        >>> import torch
        >>> model = ResNet18((3, 32, 32), 10)
        >>> model(torch.zeros(2, 3, 32, 32)).shape, sum(value.numel() for value in model.parameters())
        (torch.Size([2, 10]), 1094750)
    """

    @checked
    def __init__(
        self,
        shape: Sequence[int],
        classes: Annotated[int, Field(ge=1)],
        channels: Annotated[int, Field(ge=1)] = 20,
        stem: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (3, 1),
        preactivation: bool = False,
        width: Annotated[float, Field(gt=0)] = 1.0,
    ) -> None:
        super().__init__()
        kernel, stride = stem
        before = scaled(channels, width)
        self.conv1 = nn.Conv2d(shape[0], before, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.Identity() if preactivation else nn.BatchNorm2d(before)
        self.relu1 = nn.Identity() if preactivation else nn.ReLU()
        for number, (factor, stride) in enumerate(((1, 1), (2, 2), (4, 2), (8, 2)), start=1):
            planes = scaled(channels * factor, width)
            blocks = [Block(before, planes, stride, preactivation), Block(planes, planes, 1, preactivation)]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            before = planes
        last = [("bn", nn.BatchNorm2d(before)), ("relu", nn.ReLU())] if preactivation else []
        self.last = nn.Sequential(OrderedDict(last))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(before, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, classes) of inputs (n, *shape)."""
        maps = self.relu1(self.bn1(self.conv1(inputs)))
        for number in range(1, 5):
            maps = self.get_submodule(f"layer{number}")(maps)
        return self.head(self.flatten(self.pool(self.last(maps))))
