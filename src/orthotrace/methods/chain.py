"""Networks that are chains: each layer gets all that it knows of an image from the layer before."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from orthotrace.core.errors import UserError
from orthotrace.protection.layers import protectable, refuse_computed
from orthotrace.protection.products import CONVOLUTIONS


@torch.no_grad()
def chain_of(model: nn.Module, images: Tensor) -> list[str]:
    """The names of the layers with weights, in the order of a forward pass.

    Args:
        model: that is looked at.
        images: two that differ, as the model takes them.

    Raises:
        UserError: a layer of another kind, or one that is never called, a convolution with groups, a layer that also
            gets something of an image past the layer before it, or in whose inputs units of that layer are mixed or
            joined.

    Example:
        >>> chain_of(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.eye(3)[:2])
        ['0', '2']
    """
    layers, training = protectable(model), model.training
    refuse_computed(layers, "a mask of units")
    for name, layer in layers.items():
        if not isinstance(layer, (nn.Linear, *CONVOLUTIONS)):
            raise UserError(
                f"layer '{name}' is a {type(layer).__name__}: masks of units need a chain of Linear layers and "
                "convolutions, such as model=mlp or convnet"
            )
    model.eval()
    seen = _inputs(model, layers, images)
    names = list(seen)
    for name in layers:
        if name not in seen:
            raise UserError(f"the layer '{name}' was not called: masks of units need every layer in its place")
    for before, name in itertools.pairwise(names):
        if getattr(layers[name], "groups", 1) > 1:
            raise UserError(f"layer '{name}' has groups: masks of units need every unit at every output")
        units, features = len(layers[before].weight), layers[name].weight.shape[1]
        if features % units:
            raise UserError(
                f"layer '{name}' has {features} inputs for each place, and layer '{before}' has {units} outputs, as "
                "under maxout: masks of units need every unit at its own inputs"
            )
        constant = _inputs(model, layers, images, {before: lambda outputs: torch.zeros_like(outputs)})[name]
        count = len(constant) // len(images)
        alike = constant.view(count, len(images), *constant.shape[1:]) if count * len(images) == len(constant) else None
        if alike is None or not torch.allclose(alike[:, 0], alike[:, 1], atol=1e-5):
            raise UserError(
                f"layer '{name}' gets more of an image than layer '{before}' gives it, as in a residual network: masks "
                "of units need a chain of layers, such as model=mlp or convnet"
            )
        for unit in {0, units - 1}:
            moved = _inputs(model, layers, images, {before: _raising(unit, layers[before])})[name]
            changed = ((moved - seen[name]).abs() > 1e-4).movedim(_axis(layers[name]), -1).flatten(0, -2).any(0)
            places = features // units
            changed[unit * places : (unit + 1) * places] = False
            if bool(changed.any()):
                raise UserError(
                    f"between the layers '{before}' and '{name}' units are mixed, as by a normalisation over units or "
                    "by steps of time: masks of units need each for itself"
                )
    model.train(training)
    return names


def _axis(layer: Any) -> int:
    """The axis of the units among the inputs of a layer."""
    return -1 if isinstance(layer, nn.Linear) else 1 - layer.weight.ndim


def _raising(unit: int, layer: Any) -> Any:
    """What adds to the outputs of one unit."""

    def change(outputs: Tensor) -> Tensor:
        changed = outputs.clone()
        changed.movedim(_axis(layer), 0)[unit] += 3.0
        return changed

    return change


def _inputs(model: nn.Module, layers: Any, images: Tensor, change: Any = None) -> dict[str, Tensor]:
    """The inputs of each layer when it is called first, while the outputs of some are changed."""
    found: dict[str, Tensor] = {}
    handles = []
    for name, layer in layers.items():

        def before(_: Any, inputs: tuple[Tensor, ...], name: str = name) -> None:
            found.setdefault(name, inputs[0].detach().clone())

        handles.append(layer.register_forward_pre_hook(before))
        if change and name in change:
            handles.append(layer.register_forward_hook(lambda _, inputs, outputs, name=name: change[name](outputs)))
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    return found
