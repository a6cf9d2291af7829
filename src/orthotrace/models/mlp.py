"""Multilayer perceptron."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import nn

from orthotrace.core.errors import checked
from orthotrace.models.width import scaled


class MLP(nn.Sequential):
    """Linear layers fc1, fc2, ... with a ReLU after each, and a linear ``head``.

    Initial weights from N(0, 2 / fan_in), which keeps the scale of activations through the layers; biases 0.

    Args:
        shape: of one input, which is flattened.
        classes: number of outputs, at least 1.
        hidden: width of each hidden layer.
        bias: whether the layers have biases.
        width: factor on the hidden widths, above 0.

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
    ) -> None:
        super().__init__()
        self.add_module("flatten", nn.Flatten())
        features = math.prod(shape)
        for number, units in enumerate(hidden, start=1):
            units = scaled(units, width)
            self.add_module(f"fc{number}", self._linear(features, units, bias))
            self.add_module(f"relu{number}", nn.ReLU())
            features = units
        self.add_module("head", self._linear(features, classes, bias))

    @staticmethod
    def _linear(features: int, units: int, bias: bool) -> nn.Linear:
        layer = nn.Linear(features, units, bias=bias)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if bias:
            nn.init.zeros_(layer.bias)
        return layer
