"""Plain convolutional networks of the field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import UserError, checked
from orthotrace.models.width import scaled

Probability = Annotated[float, Field(ge=0, lt=1)]
Units = Annotated[int, Field(ge=1)]


class ConvNet(nn.Sequential):
    """Convolutions 3 x 3, each with batch normalisation, ReLU and average pooling by 2; then the readout ``head``.

    Args:
        shape: of one input, (channels, height, width).
        classes: outputs, at least 1.
        channels: of each convolution.
        bias: whether the convolutions have biases; the head has one.
        width: factor on the channels, above 0.

    Raises:
        UserError: a value out of its range, or images too small for so many poolings.

    Source: Xiao et al., ICLR 2024, for 64-128-256 on CIFAR.

    Example:
        >>> import torch
        >>> ConvNet((3, 32, 32), 10)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    @checked
    def __init__(
        self,
        shape: Sequence[int],
        classes: Units,
        channels: Sequence[Units] = (64, 128, 256),
        bias: bool = False,
        width: Annotated[float, Field(gt=0)] = 1.0,
    ) -> None:
        super().__init__()
        before, *sides = shape
        for number, planes in enumerate(channels, start=1):
            planes = scaled(planes, width)
            self.add_module(f"conv{number}", nn.Conv2d(before, planes, 3, padding=1, bias=bias))
            self.add_module(f"bn{number}", nn.BatchNorm2d(planes))
            self.add_module(f"relu{number}", nn.ReLU())
            self.add_module(f"pool{number}", nn.AvgPool2d(2))
            before, sides = planes, [side // 2 for side in sides]
        if not all(sides):
            raise UserError(
                f"images of {tuple(shape)} are too small for {len(channels)} poolings; take fewer", "channels"
            )
        self.add_module("flatten", nn.Flatten())
        self.add_module("head", nn.Linear(before * sides[0] * sides[1], classes))

    def forward(self, input: Tensor) -> Tensor:
        """Logits (n, classes) of inputs (n, *shape)."""
        return super().forward(input)


class VGG(nn.Sequential):
    """Stages of convolutions 3 x 3, each stage with maximum pooling by 2; wide layers; the readout ``head``.

    After each convolution and each wide layer batch normalisation and ReLU.

    Args:
        shape: of one input, (channels, height, width).
        classes: outputs, at least 1.
        stages: channels of the convolutions of each stage.
        hidden: widths of the linear layers.
        bias: whether the layers have biases; the head has one.
        width: factor on channels and widths, above 0.

    Raises:
        UserError: a value out of its range, or images too small for so many stages.

    Source: Simonyan & Zisserman, ICLR 2015, with fewer layers and channels.

    Example:
        >>> import torch
        >>> VGG((3, 32, 32), 10)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    @checked
    def __init__(
        self,
        shape: Sequence[int],
        classes: Units,
        stages: Sequence[Sequence[Units]] = ((32, 32), (64, 64), (128, 128)),
        hidden: Sequence[Units] = (128,),
        bias: bool = False,
        width: Annotated[float, Field(gt=0)] = 1.0,
    ) -> None:
        super().__init__()
        before, *sides = shape
        layers = 0
        for stage, channels in enumerate(stages, start=1):
            for planes in channels:
                layers, planes = layers + 1, scaled(planes, width)
                self.add_module(f"conv{layers}", nn.Conv2d(before, planes, 3, padding=1, bias=bias))
                self.add_module(f"bn{layers}", nn.BatchNorm2d(planes))
                self.add_module(f"relu{layers}", nn.ReLU())
                before = planes
            self.add_module(f"pool{stage}", nn.MaxPool2d(2))
            sides = [side // 2 for side in sides]
        if not all(sides):
            raise UserError(f"images of {tuple(shape)} are too small for {len(stages)} poolings; take fewer", "stages")
        self.add_module("flatten", nn.Flatten())
        features = before * sides[0] * sides[1]
        for number, units in enumerate(hidden, start=1):
            units = scaled(units, width)
            self.add_module(f"fc{number}", nn.Linear(features, units, bias=bias))
            self.add_module(f"bn{layers + number}", nn.BatchNorm1d(units))
            self.add_module(f"relu{layers + number}", nn.ReLU())
            features = units
        self.add_module("head", nn.Linear(features, classes))

    def forward(self, input: Tensor) -> Tensor:
        """Logits (n, classes) of inputs (n, *shape)."""
        return super().forward(input)


class AlexNet(nn.Sequential):
    """The small AlexNet of gradient projection memory: three convolutions, two wide layers, the readout ``head``.

    Convolutions 4 x 4, 3 x 3 and 2 x 2 without padding, each with batch normalisation, ReLU, dropout and maximum
    pooling by 2; then linear layers with batch normalisation, ReLU and dropout.

    Args:
        shape: of one input, (channels, height, width).
        classes: outputs, at least 1.
        channels: of the three convolutions.
        hidden: widths of the linear layers.
        dropout: probability after the first two convolutions, and after everything else.
        bias: whether the layers have biases; the head has one.
        width: factor on channels and widths, above 0.

    Raises:
        UserError: a value out of its range, or images too small.

    Source: Saha, Garg & Roy, ICLR 2021, after Serra et al., ICML 2018.

    Example:
        >>> import torch
        >>> AlexNet((3, 32, 32), 10, width=0.1).eval()(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    @checked
    def __init__(
        self,
        shape: Sequence[int],
        classes: Units,
        channels: tuple[Units, Units, Units] = (64, 128, 256),
        hidden: Sequence[Units] = (2048, 2048),
        dropout: tuple[Probability, Probability] = (0.2, 0.5),
        bias: bool = False,
        width: Annotated[float, Field(gt=0)] = 1.0,
    ) -> None:
        super().__init__()
        before, *sides = shape
        for number, (planes, kernel) in enumerate(zip(channels, (4, 3, 2), strict=True), start=1):
            planes = scaled(planes, width)
            self.add_module(f"conv{number}", nn.Conv2d(before, planes, kernel, bias=bias))
            self.add_module(f"bn{number}", nn.BatchNorm2d(planes))
            self.add_module(f"relu{number}", nn.ReLU())
            self.add_module(f"drop{number}", nn.Dropout(dropout[number > 2]))
            self.add_module(f"pool{number}", nn.MaxPool2d(2))
            before, sides = planes, [(side - kernel + 1) // 2 for side in sides]
        if min(sides) < 1:
            raise UserError(f"images of {tuple(shape)} are too small: 19 x 19 pixels at least, by dataset.size")
        self.add_module("flatten", nn.Flatten())
        features = before * sides[0] * sides[1]
        for number, units in enumerate(hidden, start=1):
            units = scaled(units, width)
            self.add_module(f"fc{number}", nn.Linear(features, units, bias=bias))
            self.add_module(f"bn{number + 3}", nn.BatchNorm1d(units))
            self.add_module(f"relu{number + 3}", nn.ReLU())
            self.add_module(f"drop{number + 3}", nn.Dropout(dropout[1]))
            features = units
        self.add_module("head", nn.Linear(features, classes))

    def forward(self, input: Tensor) -> Tensor:
        """Logits (n, classes) of inputs (n, *shape)."""
        return super().forward(input)


class LeNet(nn.Sequential):
    """LeNet-5 as gradient projection memory takes it: two convolutions, two linear layers, the readout ``head``.

    Convolutions 5 x 5, each with ReLU, local response normalisation and maximum pooling 3 x 3 by 2. It has no
    parameters beside the weights.

    Args:
        shape: of one input, (channels, height, width).
        classes: outputs, at least 1.
        channels: of the convolutions.
        hidden: widths of the linear layers.
        bias: whether the layers have biases; the head has one.
        width: factor on channels and widths, above 0.

    Raises:
        UserError: a value out of its range.

    Source: Saha, Garg & Roy, ICLR 2021, after Yoon et al., ICLR 2020.

    Example:
        >>> import torch
        >>> LeNet((3, 32, 32), 5, width=0.1)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 5])
    """

    @checked
    def __init__(
        self,
        shape: Sequence[int],
        classes: Units,
        channels: Sequence[Units] = (20, 50),
        hidden: Sequence[Units] = (800, 500),
        bias: bool = False,
        width: Annotated[float, Field(gt=0)] = 1.0,
    ) -> None:
        super().__init__()
        before, *sides = shape
        for number, planes in enumerate(channels, start=1):
            planes = scaled(planes, width)
            self.add_module(f"conv{number}", nn.Conv2d(before, planes, 5, padding=2, bias=bias))
            self.add_module(f"relu{number}", nn.ReLU())
            self.add_module(f"lrn{number}", nn.LocalResponseNorm(4, alpha=0.001 / 9, beta=0.75, k=1))
            self.add_module(f"pool{number}", nn.MaxPool2d(3, 2, padding=1))
            before, sides = planes, [(side + 1) // 2 for side in sides]
        self.add_module("flatten", nn.Flatten())
        features = before * sides[0] * sides[1]
        for number, units in enumerate(hidden, start=1):
            units = scaled(units, width)
            self.add_module(f"fc{number}", nn.Linear(features, units, bias=bias))
            self.add_module(f"relu{number + len(channels)}", nn.ReLU())
            features = units
        self.add_module("head", nn.Linear(features, classes))

    def forward(self, input: Tensor) -> Tensor:
        """Logits (n, classes) of inputs (n, *shape)."""
        return super().forward(input)
