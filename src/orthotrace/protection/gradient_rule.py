"""The rule "gradient": take what is held from gradients, and from what optimizers keep of them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import torch
from torch.optim import Optimizer

from orthotrace.core.precision import full_precision
from orthotrace.protection.held import Held

# What optimizers keep that has the direction of a step.
DIRECTIONS = ("momentum_buffer", "exp_avg", "prev")


@torch.no_grad()
def project_gradients(held: Held) -> None:
    """Take the component in the rows held from each gradient."""
    with full_precision(held.started.device.type):
        for label, part in zip(held.labels, held.parts, strict=True):
            bias = part.bias_parameter
            constant = bias.grad if bias is not None and held.holds_constant(label) else None
            part.project_out(held.subspaces[label], part.parameter.grad, constant)
        for seen in held.embeddings.values():
            if seen.layer.weight.grad is not None:
                seen.take_out(seen.layer.weight.grad)


@torch.no_grad()
def project_moments(held: Held, optimizers: Iterable[Optimizer]) -> None:
    """What an optimizer carries over from an earlier task must not undo it."""
    with full_precision(held.started.device.type):
        for optimizer, (label, part) in product(optimizers, zip(held.labels, held.parts, strict=True)):
            values = (part.parameter, part.bias_parameter)
            weight, bias = ({} if value is None else optimizer.state.get(value, {}) for value in values)
            for name in DIRECTIONS:
                constant = bias.get(name) if held.holds_constant(label) else None
                part.project_out(held.subspaces[label], weight.get(name), constant)
