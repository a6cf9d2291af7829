"""Activations of few levels, clipped where training puts it."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import checked

ActivationBits = Annotated[int, Field(ge=1, le=16)]
# What a trained clip does not fall below.
LEAST = 5e-4


class PACT(nn.Module):
    """A ReLU that is clipped at a trained value a, and rounded to levels.

        y = (|x| - |x - a| + a) / 2, which is 0, x or a,   then a / n round(n y / a),   n = 2^bits - 1

    The rounding is left out on the way back: the gradient to x is 1 for 0 < x < a, else 0, and that to a is the sum of
    the errors where x >= a. The method's own decay of a is the optimizer's weight decay.

    Args:
        bits: 1 to 16; 2^bits levels, of which one is 0.
        clip: a at the start, above 0; the default is three standard deviations of what a normalisation gives.

    Raises:
        UserError: a value out of its range.

    Attributes:
        clip: a, a parameter; where it is below 5e-4 it counts as 5e-4.

    Source: Choi et al., PACT: Parameterized Clipping Activation for Quantized Neural Networks, 2018, eq. 1 to 3.

    Example:
        >>> PACT(bits=2, clip=3.0)(torch.tensor([-1.0, 0.4, 1.2, 9.0])).tolist()
        [0.0, 0.0, 1.0, 3.0]
    """

    # It moves old outputs as a normalisation does.
    drifts = True

    @checked
    def __init__(self, bits: ActivationBits, clip: Annotated[float, Field(gt=0)] = 3.0) -> None:
        super().__init__()
        self.bits = bits
        self.clip = nn.Parameter(torch.tensor(float(clip)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Levels of inputs of any shape."""
        top = self.clip.clamp_min(LEAST).to(inputs.dtype)
        clipped = torch.where(inputs < top, inputs.relu(), top)
        with torch.no_grad():
            step = top / (2**self.bits - 1)
            levels = (clipped / step).round() * step
        return levels + (clipped - clipped.detach())

    def extra_repr(self) -> str:
        """What it is made with."""
        return f"bits={self.bits}, clip={float(self.clip.detach()):g}"
