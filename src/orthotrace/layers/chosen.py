"""Which layers of a model are given other weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from orthotrace.core.errors import UserError, refuse_unknown

LAYERS: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def chosen_layers(
    model: nn.Module,
    names: Sequence[str] | None,
    kinds: tuple[type[nn.Module], ...] = LAYERS,
    first: bool = True,
) -> dict[str, Any]:
    """The Linear layers and convolutions that are named; where none are, all but the last Linear layer, the readout.

    Args:
        model: that has them.
        names: of the layers, or None.
        kinds: of layers that may be chosen.
        first: where none are named, take the first layer too.

    Raises:
        UserError: an unknown name; no layer is left.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3), nn.Flatten(), nn.Linear(8, 2))
        >>> list(chosen_layers(model, None)), list(chosen_layers(model, None, first=False))
        (['0', '1'], ['1'])
    """
    there = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    if names is not None:
        refuse_unknown(names, there, "there is no Linear layer or convolution", "layers")
        return {name: there[name] for name in names}
    spared = [name for name, layer in there.items() if isinstance(layer, nn.Linear)][-1:]
    spared += [] if first else list(there)[:1]
    found = {name: layer for name, layer in there.items() if name not in spared}
    if not found:
        beside = "its readout; name it" if first else "its first layer and its readout; name them"
        raise UserError(f"the model has no Linear layer and no convolution beside {beside}", "layers")
    return found


def check_free(model: nn.Module, name: str, layer: Any) -> None:
    """See whether the weight of a layer can be computed from another, or replaced.

    Raises:
        UserError: it is computed from others already, has no shape yet, is not finite, or is shared.
    """
    # torch's older weight_norm and spectral_norm compute the weight before each call.
    if parametrize.is_parametrized(layer, "weight") or not isinstance(layer.weight, nn.Parameter):
        raise UserError(f"the weight of layer '{name}' is parametrised already; remove that, or name other layers")
    if isinstance(layer.weight, nn.UninitializedParameter):
        raise UserError(f"layer '{name}' has no shape yet: run a batch through the model first")
    if not layer.weight.isfinite().all():
        raise UserError(f"the weight of layer '{name}' is not finite")
    for other, module in model.named_modules():
        if module is not layer and any(value is layer.weight for value in module.parameters(recurse=False)):
            raise UserError(f"layers '{name}' and '{other}' share a weight; name other layers")
