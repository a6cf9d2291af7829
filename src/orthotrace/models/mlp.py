"""Multilayer perceptron."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from orthotrace.core.errors import checked
from orthotrace.models.width import scaled

Nonlinearity = Literal["relu", "sigmoid", "tanh"]
KINDS: dict[Nonlinearity, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


class MLP(nn.Sequential):
    """Linear layers fc1, fc2, ... with a nonlinearity after each, and a linear ``head``.

    Initial weights from N(0, gain^2 / fan_in), biases 0. The gain is torch's for the nonlinearity: sqrt 2 for ReLU
    keeps the scale of activations through the layers; 5/3 for tanh, 1 for sigmoid.

    Args:
        shape: of one input, which is flattened.
        classes: number of outputs, at least 1.
        hidden: width of each hidden layer.
        bias: whether the layers have biases.
        width: factor on the hidden widths, above 0.
        nonlinearity: "relu", "sigmoid" or "tanh", which also names the modules: relu1, sigmoid1, ...

    Raises:
        UserError: a width that is not positive.

    Source: He et al., Delving Deep into Rectifiers, ICCV 2015, eq. 10, for the initial weights.

    Example:
        >>> import torch
        >>> MLP((1, 8, 8), 10, hidden=[256, 256])(torch.zeros(3, 1, 8, 8)).shape
        torch.Size([3, 10])
    """

    @checked
    def __init__(
        self,
        shape: Sequence[int],
        classes: Annotated[int, Field(ge=1)],
        hidden: Sequence[Annotated[int, Field(ge=1)]] = (256, 256),
        bias: bool = True,
        width: Annotated[float, Field(gt=0)] = 1.0,
        nonlinearity: Nonlinearity = "relu",
    ) -> None:
        super().__init__()
        self.add_module("flatten", nn.Flatten())
        features = math.prod(shape)
        for number, units in enumerate(hidden, start=1):
            units = scaled(units, width)
            self.add_module(f"fc{number}", self._linear(features, units, bias, nonlinearity))
            self.add_module(f"{nonlinearity}{number}", KINDS[nonlinearity]())
            features = units
        self.add_module("head", self._linear(features, classes, bias, nonlinearity))

    @staticmethod
    def _linear(features: int, units: int, bias: bool, nonlinearity: Nonlinearity) -> nn.Linear:
        layer = nn.Linear(features, units, bias=bias)
        nn.init.kaiming_normal_(layer.weight, nonlinearity=nonlinearity)
        if bias:
            nn.init.zeros_(layer.bias)
        return layer
