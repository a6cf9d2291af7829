"""Weights from elsewhere, put into a network."""

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from orthotrace.core.errors import UserError


def fits(model: nn.Module, weights: Mapping[str, Tensor]) -> bool:
    """Whether a network has weights of just these names.

    Example:
        >>> fits(nn.Linear(3, 2), {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)})
        True
    """
    return set(model.state_dict()) == set(weights)


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], classes: int) -> None:
    """Put weights and statistics into a network.

    Where only the readout differs, and only in its number of outputs, it stays as it is, which is told by a warning:
    what was learned for other classes means nothing for these.

    Args:
        model: changed in place.
        weights: by the names of its state_dict.
        classes: outputs of the model.

    Raises:
        UserError: names the first missing and the first unexpected weight, the first of another shape, or one that is
            not finite; nothing is changed then.

    Example:
        >>> model = nn.Linear(3, 2)
        >>> load_weights(model, {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, classes=2)
        >>> model.weight.unique().tolist()
        [1.0]
    """
    own = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    missing = [name for name in own if name not in weights]
    unexpected = [name for name in weights if name not in own]
    if missing or unexpected:
        said = [f"has no '{missing[0]}'"] if missing else []
        said += [f"has '{unexpected[0]}', which the network has not"] if unexpected else []
        raise UserError(f"the network has other weights: what it is to start from {', and '.join(said)}")
    readout = _readout(model, own, weights, classes)
    for name, value in own.items():
        if value.shape != weights[name].shape and name not in readout:
            raise UserError(f"'{name}' is {tuple(weights[name].shape)} there, and {tuple(value.shape)} in the network")
        if not weights[name].isfinite().all():
            raise UserError(f"'{name}' has values that are not finite")
    with torch.no_grad():
        for name, value in own.items():
            if name not in readout:
                value.copy_(weights[name])
    if readout:
        there = len(weights[readout[0]])
        warnings.warn(
            f"init_from: the readout ({', '.join(readout)}) has {there} outputs there and {classes} here, so it starts "
            "anew; all else is taken",
            stacklevel=2,
        )


def _readout(model: nn.Module, own: Mapping[str, Tensor], weights: Mapping[str, Tensor], classes: int) -> list[str]:
    """The weights of the last Linear layer, where these alone differ, in the number of outputs alone."""
    other = [name for name, value in own.items() if value.shape != weights[name].shape]
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    for name in reversed(layers):
        if layers[name].out_features == classes:
            mine = [key for key in own if key.rpartition(".")[0] == name]
            alike = all(
                weights[key].ndim == own[key].ndim and weights[key].shape[1:] == own[key].shape[1:] for key in other
            )
            return mine if other and set(other) <= set(mine) and alike else []
    return []
