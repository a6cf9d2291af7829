"""Learning from rates: under dsr a layer's weights need one product of rates going back, not one for each step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from orthotrace.layers.firing import weighted_mean
from orthotrace.layers.neurons import LIF

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def learn_from_rates(model: nn.Module, steps: int, decay: float) -> None:
    """Let layers of a chain, whose outputs go to neurons at once or are the logits, go back by their rates.

    What comes back to such a layer at step t is e times the weight of the step, so that the sum over steps of e_t x_t^T
    is e x^T with x the weighted rate, and what it hands on is again e W times the weights. It is the same gradient, at
    the cost of one step. A layer whose inputs do not change over time, before the first neurons, has it already.
    """
    children = list(model.children())
    seen = False
    for child, following in zip(children, [*children[1:], None], strict=True):
        if seen and type(child) in LAYERS and (following is None or isinstance(following, LIF)):
            child.register_forward_hook(_ByRates(steps, decay))
        seen = seen or isinstance(child, LIF)


class _ByRates:
    """The outputs of a layer for all steps, (steps * n, ...), which go back as those for its weighted rates."""

    def __init__(self, steps: int, decay: float) -> None:
        self.steps = steps
        self.decay = decay

    def __call__(self, layer: Any, args: tuple[Tensor, ...], outputs: Tensor) -> Tensor | None:
        if not torch.is_grad_enabled():
            return None
        over_steps = args[0].unflatten(0, (self.steps, -1))
        rates = weighted_mean(over_steps, self.decay)
        found = layer.forward(rates)
        return (outputs.detach().unflatten(0, (self.steps, -1)) + (found - found.detach())).flatten(0, 1)
