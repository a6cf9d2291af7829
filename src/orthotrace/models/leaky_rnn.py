"""A rate network of leaky units, which answers at every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import UserError, checked
from orthotrace.models.width import scaled


class LeakyRNN(nn.Module):
    """Leaky units r_t = (1 - alpha) r_{t-1} + alpha relu(W [x_t; r_{t-1}] + b + noise), read out at every step.

    Input and recurrent weights are one layer, ``recurrent``, which is called at each step; ``head`` reads the rates of
    all steps. The recurrent weights begin as half an orthogonal matrix, the input weights as N(0, 1 / features). In
    training Gaussian noise of deviation noise sqrt(2 / alpha) is added to what a unit receives.

    Args:
        shape: of one input, (steps, features).
        classes: number of outputs, at least 1.
        units: of the network.
        alpha: share of a unit that a step renews, dt / tau, in (0, 1].
        noise: of the units, in training.
        width: factor on the units, above 0.

    Raises:
        UserError: a value out of its range, or inputs that are no sequences.

    Source: Yang et al., Nature Neuroscience 22, 2019; Duncker et al., NeurIPS 2020, with noise .05 and alpha .2.

    Example:
        >>> LeakyRNN((5, 4), 3, units=8)(torch.zeros(2, 5, 4)).shape
        torch.Size([2, 3, 5])
    """

    @checked
    def __init__(
        self,
        shape: Sequence[int],
        classes: Annotated[int, Field(ge=1)],
        units: Annotated[int, Field(ge=1)] = 256,
        alpha: Annotated[float, Field(gt=0, le=1)] = 0.2,
        noise: Annotated[float, Field(ge=0)] = 0.05,
        width: Annotated[float, Field(gt=0)] = 1.0,
    ) -> None:
        super().__init__()
        if len(shape) != 2:
            raise UserError(
                f"sequences (steps, features) are needed, as dataset=cognitive has them, and these inputs are "
                f"{' x '.join(map(str, shape))}",
                "shape",
            )
        self.units = scaled(units, width)
        self.alpha = alpha
        self.noise = noise
        features = shape[1]
        self.recurrent = nn.Linear(features + self.units, self.units)
        self.head = nn.Linear(self.units, classes)
        with torch.no_grad():
            nn.init.zeros_(self.recurrent.bias)
            nn.init.normal_(self.recurrent.weight[:, :features], std=features**-0.5)
            nn.init.orthogonal_(self.recurrent.weight[:, features:], gain=0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (n, outputs, steps)."""
        return self.head(self.rates(inputs)).transpose(1, 2)

    def rates(self, inputs: Tensor) -> Tensor:
        """Of the units at every step, (n, steps, units)."""
        rate = inputs.new_zeros(len(inputs), self.units)
        found = []
        for x in inputs.unbind(1):
            received = self.recurrent(torch.cat([x, rate], dim=1))
            if self.training and self.noise:
                received = received + self.noise * math.sqrt(2 / self.alpha) * torch.randn_like(received)
            rate = (1 - self.alpha) * rate + self.alpha * received.relu()
            found.append(rate)
        return torch.stack(found, dim=1)
