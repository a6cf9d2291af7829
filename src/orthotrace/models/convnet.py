"""Plain convolutional networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from orthotrace.core.errors import UserError, checked
from orthotrace.layers.response import LocalResponseNorm
from orthotrace.models.width import scaled

Probability = Annotated[float, Field(ge=0, lt=1)]
Units = Annotated[int, Field(ge=1)]
# What batch normalisation takes in evaluation: means over the batches of training, or of the batch at hand.
Statistics = Literal["running", "batch"]


def _add_classifier(
    model: nn.Sequential,
    channels: int,
    sides: Sequence[int],
    hidden: Sequence[int],
    classes: int,
    convolutions: int = 0,
    bias: bool = True,
    norm: bool = False,
    dropout: float | None = None,
    statistics: Statistics = "running",
) -> None:
    """Flattening, hidden linear layers numbered after the convolutions, and ``head``."""
    model.add_module("flatten", nn.Flatten())
    features = channels * sides[0] * sides[1]
    for number, units in enumerate(hidden, start=1):
        model.add_module(f"fc{number}", nn.Linear(features, units, bias=bias))
        if norm:
            layer = nn.BatchNorm1d(units, track_running_stats=statistics == "running")
            model.add_module(f"bn{convolutions + number}", layer)
        model.add_module(f"relu{convolutions + number}", nn.ReLU())
        if dropout is not None:
            model.add_module(f"drop{convolutions + number}", nn.Dropout(dropout))
        features = units
    model.add_module("head", nn.Linear(features, classes))


class ConvNet(nn.Sequential):
    """Convolutions 3 x 3, each with batch normalisation, ReLU and 2 x 2 average pooling; then a linear ``head``.

    Args:
        shape: of one input, (channels, height, width).
        classes: number of outputs, at least 1.
        channels: output channels of each convolution.
        bias: whether the convolutions have biases; the head has one.
        width: factor on all channels, above 0.
        norm: whether there is batch normalisation; without it initial weights are from N(0, 2 / fan_in).

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
        norm: bool = True,
    ) -> None:
        super().__init__()
        before, *sides = shape
        for number, planes in enumerate(channels, start=1):
            planes = scaled(planes, width)
            layer = nn.Conv2d(before, planes, 3, padding=1, bias=bias)
            self.add_module(f"conv{number}", layer)
            if norm:
                self.add_module(f"bn{number}", nn.BatchNorm2d(planes))
            else:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            self.add_module(f"relu{number}", nn.ReLU())
            self.add_module(f"pool{number}", nn.AvgPool2d(2))
            before, sides = planes, [side // 2 for side in sides]
        if not all(sides):
            raise UserError(
                f"images of {tuple(shape)} are too small for {len(channels)} poolings; take fewer", "channels"
            )
        _add_classifier(self, before, sides, [], classes)


class VGG(nn.Sequential):
    """Stages of convolutions 3 x 3 with 2 x 2 maximum pooling after each stage; linear layers; a linear ``head``.

    Each convolution and each hidden linear layer has batch normalisation and ReLU.

    Args:
        shape: of one input, (channels, height, width).
        classes: number of outputs, at least 1.
        stages: output channels of the convolutions, stage by stage.
        hidden: widths of the hidden linear layers.
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
        widths = [scaled(units, width) for units in hidden]
        _add_classifier(self, before, sides, widths, classes, layers, bias, norm=True)


class AlexNet(nn.Sequential):
    """The small AlexNet of gradient projection memory: three convolutions, two linear layers, a linear ``head``.

    Convolutions 4 x 4, 3 x 3 and 2 x 2 without padding, each with batch normalisation, ReLU, dropout and 2 x 2 maximum
    pooling; then linear layers with batch normalisation, ReLU and dropout.

    Running statistics are of activations with dropout, whose variance is larger than without: on ten classes of
    CIFAR-100 a trained network got .33 of the test images right by them, and .70 by the statistics of each batch of
    them, as published. Those need two images at least, and what is answered to one depends on the others of its batch.

    Args:
        shape: of one input, (channels, height, width).
        classes: number of outputs, at least 1.
        channels: output channels of the three convolutions.
        hidden: widths of the hidden linear layers.
        dropout: probability after the first two convolutions, and after everything else.
        statistics: of batch normalisation in evaluation, "running" or, as published, "batch".
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
        statistics: Statistics = "running",
    ) -> None:
        super().__init__()
        before, *sides = shape
        for number, (planes, kernel) in enumerate(zip(channels, (4, 3, 2), strict=True), start=1):
            planes = scaled(planes, width)
            self.add_module(f"conv{number}", nn.Conv2d(before, planes, kernel, bias=bias))
            self.add_module(f"bn{number}", nn.BatchNorm2d(planes, track_running_stats=statistics == "running"))
            self.add_module(f"relu{number}", nn.ReLU())
            self.add_module(f"drop{number}", nn.Dropout(dropout[number > 2]))
            self.add_module(f"pool{number}", nn.MaxPool2d(2))
            before, sides = planes, [(side - kernel + 1) // 2 for side in sides]
        if min(sides) < 1:
            raise UserError(f"images of {tuple(shape)} are too small: 19 x 19 pixels at least, by dataset.size")
        widths = [scaled(units, width) for units in hidden]
        _add_classifier(self, before, sides, widths, classes, 3, bias, True, dropout[1], statistics)


class LeNet(nn.Sequential):
    """The LeNet-5 of gradient projection memory: two convolutions, two linear layers, a linear ``head``.

    Convolutions 5 x 5, each with ReLU, local response normalisation and 3 x 3 maximum pooling with stride 2. All its
    parameters are weights of layers.

    Args:
        shape: of one input, (channels, height, width).
        classes: number of outputs, at least 1.
        channels: output channels of the convolutions.
        hidden: widths of the hidden linear layers.
        bias: whether the layers have biases; the head has one.
        width: factor on channels and widths, above 0.
        initialisation: of the weights: "torch" as torch begins its layers, "he" uniform in +- sqrt(6 / fan-in), as the
            published code does.

    Raises:
        UserError: a value out of its range.

    Source: Saha, Garg & Roy, ICLR 2021, after Yoon et al., ICLR 2020; He et al., ICCV 2015.

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
        initialisation: Literal["torch", "he"] = "torch",
    ) -> None:
        super().__init__()
        before, *sides = shape
        for number, planes in enumerate(channels, start=1):
            planes = scaled(planes, width)
            self.add_module(f"conv{number}", nn.Conv2d(before, planes, 5, padding=2, bias=bias))
            self.add_module(f"relu{number}", nn.ReLU())
            self.add_module(f"lrn{number}", LocalResponseNorm(4, alpha=0.001 / 9, beta=0.75, k=1))
            self.add_module(f"pool{number}", nn.MaxPool2d(3, 2, padding=1))
            before, sides = planes, [(side + 1) // 2 for side in sides]
        widths = [scaled(units, width) for units in hidden]
        _add_classifier(self, before, sides, widths, classes, len(channels), bias)
        if initialisation == "he":
            for layer in self:
                if isinstance(layer, (nn.Conv2d, nn.Linear)):
                    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
