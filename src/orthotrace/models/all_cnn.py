"""All-convolutional networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import nn

from orthotrace.core.errors import UserError, checked
from orthotrace.models.convnet import Probability, Units
from orthotrace.models.width import scaled


class AllCNN(nn.Sequential):
    """Convolutions alone, a ReLU after each, and the mean of the last maps as logits.

    Stages of convolutions 3 x 3, the last of each with stride 2 and dropout after it; then a convolution 3 x 3 without
    padding, one of 1 x 1, and ``head`` of 1 x 1 with a map for each class, whose mean after the ReLU is the logit.

    Initial weights from N(0, 2 / fan_in); biases 0.

    All-CNN-C has the stages of the default. All-CNN-7 has seven layers, of which the paper that made it says no more:
    ours takes the second convolution out of each stage, which is the Strided-CNN-C of Springenberg et al.

    Args:
        shape: of one input, (channels, height, width).
        classes: number of outputs, at least 1.
        stages: output channels of the convolutions, stage by stage.
        last: output channels of the two convolutions before the head.
        dropout: probability after each stage.
        width: factor on all channels, above 0.

    Raises:
        UserError: a value out of its range, or images too small for so many stages.

    Source: Springenberg et al., Striving for Simplicity, ICLR 2015 workshop; Mehrer et al., Nature Communications
    11:5725, 2020, for the place of the dropout, and for All-CNN-7; He et al., ICCV 2015, for the initial weights.

    Example:
        >>> import torch
        >>> model = AllCNN((3, 32, 32), 10)
        >>> model(torch.zeros(2, 3, 32, 32)).shape, sum(value.numel() for value in model.parameters())
        (torch.Size([2, 10]), 1369738)
    """

    @checked
    def __init__(
        self,
        shape: Sequence[int],
        classes: Units,
        stages: Sequence[Sequence[Units]] = ((96, 96, 96), (192, 192, 192)),
        last: tuple[Units, Units] = (192, 192),
        dropout: Probability = 0.5,
        width: Annotated[float, Field(gt=0)] = 1.0,
    ) -> None:
        super().__init__()
        before, *sides = shape
        layers = 0
        for number, stage in enumerate(stages, start=1):
            for place, planes in enumerate(stage, start=1):
                layers, planes = layers + 1, scaled(planes, width)
                layer = nn.Conv2d(before, planes, 3, stride=2 if place == len(stage) else 1, padding=1)
                self._add(f"conv{layers}", layers, layer)
                before = planes
            self.add_module(f"drop{number}", nn.Dropout(dropout))
            sides = [(side + 1) // 2 for side in sides]
        if min(sides) < 3:
            raise UserError(f"images of {tuple(shape)} are too small for {len(stages)} stages; take fewer", "stages")
        third, fourth = (scaled(planes, width) for planes in last)
        self._add(f"conv{layers + 1}", layers + 1, nn.Conv2d(before, third, 3))
        self._add(f"conv{layers + 2}", layers + 2, nn.Conv2d(third, fourth, 1))
        self._add("head", layers + 3, nn.Conv2d(fourth, classes, 1))
        self.add_module("pool", nn.AdaptiveAvgPool2d(1))
        self.add_module("flatten", nn.Flatten())

    def _add(self, name: str, number: int, layer: nn.Conv2d) -> None:
        """A convolution and its ReLU."""
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        self.add_module(name, layer)
        self.add_module(f"relu{number}", nn.ReLU())
