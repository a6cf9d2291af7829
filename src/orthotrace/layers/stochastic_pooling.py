"""Stochastic pooling."""

from __future__ import annotations

from itertools import accumulate
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import checked


class StochasticPool2d(nn.Module):
    """In training one activation of each window, drawn; in evaluation their mean, weighted by the same probabilities.

    p_i = a_i / sum_j a_j of the activations a in a window; training gives a_l with l drawn from p, evaluation
    sum_i p_i a_i. A window of zeros gives 0. Negative activations count as 0, since the paper pools after a ReLU.

    Windows do not overlap; what is left over at the right and below is left out, as torch's poolings do.

    Args:
        size: side of a window and stride, at least 1.

    Raises:
        UserError: a size out of its range.

    Source: Zeiler & Fergus, Stochastic Pooling, ICLR 2013, eq. 4 to 6.

    Example:
        >>> pool = StochasticPool2d(2)
        >>> image = torch.tensor([[[[0.0, 1.0], [3.0, 0.0]]]])
        >>> pool.eval()(image).item(), pool.train()(image).item() in (1, 3)
        (2.5, True)
    """

    # Networks that are trained together would share the draws, see orthotrace.layers.stack.
    draws = True

    @checked
    def __init__(self, size: Annotated[int, Field(ge=1)] = 2) -> None:
        super().__init__()
        self.size = size

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (n, channels, height / size, width / size) of maps (n, channels, height, width)."""
        windows = inputs.relu().unfold(2, self.size, self.size).unfold(3, self.size, self.size).flatten(4)
        total = windows.sum(-1)
        if not self.training:
            return windows.square().sum(-1) / total.clamp_min(torch.finfo(total.dtype).tiny)
        # By hand: torch's cumulative sum is not deterministic on a GPU, and a run that asks for that would end here.
        sums = torch.stack(list(accumulate(windows.detach().double().unbind(-1))), -1).to(windows.dtype)
        # Below the whole, so that the last of those that may be drawn is never passed.
        level = torch.rand_like(total) * sums[..., -1]
        # A zero adds nothing to the sum, so that it is never drawn where another is there.
        drawn = (sums <= level[..., None]).sum(-1, keepdim=True).clamp_max(windows.shape[-1] - 1)
        return windows.gather(-1, drawn).squeeze(-1)

    def extra_repr(self) -> str:
        """What a printed network says of it."""
        return f"size={self.size}"
