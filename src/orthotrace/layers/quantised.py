"""Weights of few levels, whose scale follows their distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from orthotrace.core.errors import UserError, checked
from orthotrace.layers.chosen import check_free, chosen_layers
from orthotrace.layers.copies import copied_apart, own_class
from orthotrace.layers.pact import PACT, ActivationBits

WeightBits = Annotated[int, Field(ge=2, le=4)]
# c1 and c2 by bits, fitted by scripts/sawb.py.
COEFFICIENTS = {2: (3.246, 2.218), 3: (7.491, 6.900), 4: (11.671, 11.655)}


class SAWB(nn.Module):
    """Statistics-aware weight binning: a weight as 2^bits levels, evenly from -a to a.

        a = max(c1 sqrt(E[w^2]) - c2 E|w|, E|w|),   levels -a, -a + 2a / n, ..., a,   n = 2^bits - 1

    Each weight takes the nearest level: for 2 bits -a, -a/3, a/3 or a. c1 and c2 are fitted by scripts/sawb.py, so that
    a is near the scale of least squared error for six kinds of distributions: within 3 % for 2 bits, 5 % for 3 bits and
    11 % for 4 bits. The gradient goes straight through to the weight that is trained. It is registered by
    ``torch.nn.utils.parametrize``, or by ``sawb`` for a whole model.

    Args:
        bits: 2, 3 or 4.

    Raises:
        UserError: a number of bits out of its range.

    Source: Choi et al., Accurate and Efficient 2-bit Quantized Neural Networks, SysML 2019, section 3.

    Example:
        >>> weight = torch.randn(8, 9)
        >>> SAWB(2)(weight).unique().numel()
        4
    """

    # Read by protection.
    unprotected = (
        "is rounded to few levels, which undoes a projection: take weights=memristor, which projections can hold, or a "
        "method that does not project, such as ewc or er"
    )

    @checked
    def __init__(self, bits: WeightBits = 2) -> None:
        super().__init__()
        self.bits = bits

    def scale(self, weight: Tensor) -> Tensor:
        """The largest level, a."""
        first, second = COEFFICIENTS[self.bits]
        values = weight.detach()
        size = values.abs().mean()
        scale = first * values.square().mean().sqrt() - second * size
        # Of weights of nearly one size the two means say too little; of zeros there are no levels.
        return torch.maximum(scale, size).clamp_min(torch.finfo(values.dtype).tiny)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that the layer works with, from the one that is trained."""
        with torch.no_grad(), torch.autocast(weight.device.type, enabled=False):
            scale, steps = self.scale(weight), 2**self.bits - 1
            place = ((weight / scale).clamp(-1, 1) + 1) * (steps / 2)
            levels = scale * (place.round() * (2 / steps) - 1)
        return levels + (weight - weight.detach())

    def right_inverse(self, weight: Tensor) -> Tensor:
        """A weight to train from, of one that is assigned."""
        return weight


@checked
def sawb(
    model: nn.Module,
    bits: WeightBits = 2,
    activation_bits: ActivationBits | None = None,
    layers: Sequence[str] | None = None,
) -> list[str]:
    """Let a model work with weights, and activations, of few bits, in place.

    Args:
        model: whose Linear layers and convolutions.
        bits: of the weights, 2 to 4.
        activation_bits: of what its ReLUs give, 1 to 16: each becomes a PACT; None leaves them as they are.
        layers: names of the layers; None for all but the first and the readout, as in the paper.

    Returns:
        The names of the layers.

    Raises:
        UserError: an unknown layer, none at all, one that is parametrised, shared, zero or without a shape yet; bits
            out of their range; no ReLU among the modules where activations are to have bits.

    Source: Choi et al., SysML 2019.

    Example:
        >>> model = nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> sawb(model, bits=2, activation_bits=2)
        ['2']
        >>> model[2].weight.unique().numel(), type(model[1]).__name__
        (4, 'PACT')
    """
    found = chosen_layers(model, layers, first=False)
    for name, layer in found.items():
        check_free(model, name, layer)
        if not layer.weight.any():
            raise UserError(f"the weight of layer '{name}' is zero, which has no levels; name other layers")
    if activation_bits is not None:
        _clip(model, activation_bits)
    for layer in found.values():
        own_class(layer)
        parametrize.register_parametrization(layer, "weight", SAWB(bits))
        kind: Any = type(layer)
        kind.__deepcopy__ = copied_apart
    return list(found)


def _clip(model: nn.Module, bits: int) -> None:
    """Put a PACT in the place of each ReLU; of one that is used under several names the same."""
    places = [
        (name, module) for name, module in model.named_modules(remove_duplicate=False) if isinstance(module, nn.ReLU)
    ]
    if not places:
        raise UserError(
            "the model has no ReLU among its modules: those that it calls as functions stay as they are",
            "activation_bits",
        )
    like = next(model.parameters())
    made = {id(relu): PACT(bits).to(like) for _, relu in places}
    for name, relu in places:
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, made[id(relu)])
