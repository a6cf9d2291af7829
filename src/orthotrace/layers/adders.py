"""Adder layers for a whole model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from orthotrace.core.errors import UserError, checked
from orthotrace.layers.adder import AdderConv2d, AdderLinear, Rate
from orthotrace.layers.chosen import check_free, chosen_layers
from orthotrace.layers.normalisation import is_normalisation
from orthotrace.layers.replace import leave_fast_paths, named_once


@checked
def adder(model: nn.Module, rate: Rate | None = 0.1, layers: Sequence[str] | None = None) -> list[str]:
    """Put adder layers in the place of Linear layers and convolutions of images, in place.

    Their weights are drawn from N(0, 1), the size of what a normalisation gives them, and have the names of those they
    replace.

    Args:
        model: any torch model that has a normalisation.
        rate: eta of the adaptive learning rate of the weights, above 0; None for the gradient as it is.
        layers: names of the layers; None for all but the last Linear layer, the readout.

    Returns:
        The names of the layers.

    Raises:
        UserError: an unknown layer, none at all, one that is parametrised, shared, without a shape yet, within an
            attention, or padded other than by zeros on both sides alike; a model without a normalisation.

    Source: Chen et al., AdderNet, CVPR 2020.

    Example:
        >>> model = nn.Sequential(nn.Linear(9, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
        >>> adder(model)
        ['0']
        >>> type(model[0]).__name__
        'AdderLinear'
    """
    found = chosen_layers(model, layers, (nn.Linear, nn.Conv2d))
    if not any(is_normalisation(module) for module in model.modules()):
        raise UserError(
            "adder layers answer with nothing above 0, of which a ReLU passes nothing: take a model with "
            "normalisation, such as convnet or resnet18"
        )
    # An attention multiplies with the weight of its last layer itself.
    within = tuple(f"{name}." for name, one in model.named_modules() if isinstance(one, nn.MultiheadAttention))
    if layers is None:
        found = {name: layer for name, layer in found.items() if not name.startswith(within)}
    for name, layer in found.items():
        if name.startswith(within):
            raise UserError(f"layer '{name}' belongs to an attention, which multiplies; name other layers", "layers")
        if not name:
            raise UserError("the model itself is the layer: put it into a Sequential", "model")
        named_once(model, name)
        check_free(model, name, layer)
    made = {name: _made(name, layer, rate) for name, layer in found.items()}
    for name, layer in made.items():
        parent, _, last = name.rpartition(".")
        old = found[name]
        setattr(model.get_submodule(parent), last, layer.to(old.weight).train(old.training))
        leave_fast_paths(model, layer)
    return list(made)


def _made(name: str, layer: Any, rate: float | None) -> nn.Module:
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return AdderLinear(layer.in_features, layer.out_features, bias, rate)
    left, right, above, below = layer._reversed_padding_repeated_twice
    if layer.padding_mode != "zeros" or left != right or above != below:
        raise UserError(
            f"layer '{name}' pads its border otherwise than by zeros on both sides alike; name other layers", "layers"
        )
    return AdderConv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        (above, left),
        layer.dilation,
        layer.groups,
        bias,
        rate,
    )
