"""Memristor crossbars for the weights of a whole model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from torch import nn
from torch.nn.utils import parametrize

from orthotrace.core.errors import UserError, checked
from orthotrace.layers.chosen import check_free, chosen_layers
from orthotrace.layers.copies import copied_apart, own_class
from orthotrace.layers.crossbar import Crossbar, Levels, Noise, Share, Times


@checked
def memristor(
    model: nn.Module,
    levels: Levels | None = 32,
    write_noise: Noise = 0.0,
    read_noise: Noise = 0.0,
    drift: Noise = 0.0,
    time: Times = 1.0,
    g_min: Share = 0.01,
    reach: Annotated[float, Field(gt=0)] = 2.0,
    layers: Sequence[str] | None = None,
) -> list[str]:
    """Let a crossbar hold the weights of a model, in place; biases stay as they are.

    Args:
        model: whose Linear layers and convolutions.
        levels: of a device, at least 2; None for any conductance.
        write_noise: relative standard deviation of a conductance that is written, at least 0.
        read_noise: the same of one that is read.
        drift: exponent nu, at least 0.
        time: at which weights are read, in units of that at which they were written, at least 1.
        g_min: conductance of a device that is off, in [0, 1).
        reach: the largest weight that can be held, over the largest one now, above 0.
        layers: names of the layers; None for all but the last Linear layer, the readout.

    Returns:
        The names of the layers.

    Raises:
        UserError: an unknown layer, none at all, one that is parametrised, shared, zero or without a shape yet; a value
            out of its range.

    Example:
        >>> model = nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> memristor(model, levels=2, reach=1.0)
        ['0']
        >>> model[0].weight.unique().numel()
        3
    """
    found = chosen_layers(model, layers)
    options = (levels, write_noise, read_noise, drift, time, g_min, reach)
    for name, layer in found.items():
        check_free(model, name, layer)
        if not layer.weight.any():
            raise UserError(f"the weight of layer '{name}' is zero, which gives no range to devices; name other layers")
    for layer in found.values():
        own_class(layer)
        parametrize.register_parametrization(layer, "weight", Crossbar(layer.weight, *options))
        kind: Any = type(layer)
        kind.__deepcopy__ = copied_apart
    return list(found)
