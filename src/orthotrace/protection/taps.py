"""Taps collect the inputs of layers, as rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from orthotrace.errors import UserError


def protectable(model: nn.Module) -> dict[str, nn.Linear]:
    """The layers whose weights can be protected, by name, in the order of the model.

    Raises:
        UserError: a trainable parameter belongs to no such layer, or a layer keeps running statistics, so that they
            would change unprotected; two layers share
            one, so that protecting it for one would move it for the other; a weight has less than 32 bits, which
            rounds the protection away; or there is no layer at all.

    Example:
        >>> list(protectable(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))))
        ['0', '2']
    """
    layers = {name: module for name, module in model.named_modules() if type(module) is nn.Linear}
    for name, module in model.named_modules():
        if name in layers:
            continue
        if getattr(module, "track_running_stats", False):
            raise UserError(
                f"the statistics of layer '{name}' ({type(module).__name__}) would change unprotected, and all that "
                "follows with them; use a model without them (track_running_stats=False) or another method"
            )
        for parameter, value in module.named_parameters(recurse=False):
            if value.requires_grad:
                raise UserError(
                    f"the parameter {parameter} of layer '{name}' ({type(module).__name__}) would change unprotected: "
                    "only Linear layers can be protected; freeze it (requires_grad_(False)) or use another method"
                )
    if not layers:
        raise UserError("the model has no Linear layer that could be protected")
    owner: dict[int, str] = {}
    for name, layer in layers.items():
        if layer.weight.dtype in (torch.bfloat16, torch.float16):
            raise UserError(
                f"the weight of layer '{name}' is {layer.weight.dtype}, which rounds its protection away; "
                "keep weights in float32 and use autocast"
            )
        for value in layer.parameters(recurse=False):
            if owner.setdefault(id(value), name) != name:
                raise UserError(
                    f"layers '{owner[id(value)]}' and '{name}' share a parameter: it cannot be protected for both"
                )
    return layers


class Taps:
    """Collects the inputs that layers see in a forward pass.

    The hooks stay on the layers and cost nothing while nobody watches.

    Args:
        layers: Linear layers by name.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
        >>> taps = Taps({"first": model[0]})
        >>> with taps.watching() as inputs:
        ...     _ = model(torch.ones(5, 4))
        >>> [rows.shape for rows in inputs["first"]]
        [torch.Size([5, 4])]
    """

    def __init__(self, layers: Mapping[str, nn.Linear]) -> None:
        self._inputs: dict[str, list[Tensor]] | None = None
        for name, layer in layers.items():
            layer.register_forward_pre_hook(self._hook(name))

    def _hook(self, name: str) -> Any:
        def collect(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            if self._inputs is not None:
                # A later in-place operation on the input must not reach the rows.
                rows = args[0].detach().clone()
                self._inputs.setdefault(name, []).append(rows.reshape(-1, rows.shape[-1]))

        return collect

    @contextmanager
    def watching(self) -> Iterator[dict[str, list[Tensor]]]:
        """Collect within the block: layer -> rows of each of its calls, each (n, features)."""
        before, self._inputs = self._inputs, {}
        try:
            yield self._inputs
        finally:
            self._inputs = before
