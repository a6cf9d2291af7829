"""How degenerate the layers of networks are, in groups of networks that differ in their seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from orthotrace.analysis.networks.given import model_of, read_layers
from orthotrace.analysis.networks.spread import Spreading
from orthotrace.analysis.similarity.degeneracy import effective_rank, silent_share, unit_overlap
from orthotrace.results.statistics import mean_interval

if TYPE_CHECKING:
    from orthotrace.analysis.networks.places import Read
    from orthotrace.analysis.networks.read import NetworkReadings
    from orthotrace.analysis.networks.runs import Network, Stimuli
    from orthotrace.analysis.networks.windows import TimeReading

# Of what a layer answers, and of its weights.
QUANTITIES = ("activation_rank", "silent", "weight_rank", "overlap")


@dataclass(frozen=True)
class LayerDegeneracy:
    """How degenerate a layer is in the networks of a group.

    Attributes:
        method: label of the group.
        task: after how many tasks.
        layer: name: of activations where they are read, of weights that of the module which has them.
        quantity: one of QUANTITIES: the effective rank of the activations, centred, over the largest it could be; the
            share of units that answer all stimuli alike; the effective rank of the weights (out, in * kernel), over
            the shorter side; the mean |cosine| of the incoming weights of two units.
        values: of each network that has the layer.
        mean: of the values.
        low, high: its interval by Student's t; None with one network.
    """

    method: str
    task: int
    layer: str
    quantity: str
    values: tuple[float, ...]
    mean: float
    low: float | None
    high: float | None


def layer_degeneracy(
    readings: NetworkReadings,
    stimuli: Stimuli,
    read: Read = "post",
    level: float = 0.95,
    spreading: Spreading | None = None,
) -> list[LayerDegeneracy]:
    """How degenerate each layer is, after each of the tasks or epochs that the networks are read after.

    Layers without an RDM, such as those that answer all stimuli alike, are told too.

    Args:
        readings: the networks, and where their layers are read.
        stimuli: that they see.
        read: where layers are read, see networks.activations.activations.
        level: of the intervals, in (0, 1).
        spreading: of the work over processes, network by network; None for this one.

    Raises:
        UserError: as given.read_layers.
    """
    networks = readings.networks
    given = [(one.run, one.task, _layers_of(one, readings)) for one in networks]
    made = (spreading or Spreading()).each(_of_network, given, stimuli, read, readings.time)
    bar = track(made, "degeneracy", len(given), transient=True, disable=not Console().is_terminal)
    found: dict[tuple[str, int, str, str], list[float]] = {}
    for one, of in zip(networks, bar, strict=True):
        for (layer, quantity), value in of.items():
            found.setdefault((one.method, one.task, layer, quantity), []).append(value)
    rows = []
    for key, values in found.items():
        mean = mean_interval(values, level)
        rows.append(LayerDegeneracy(*key, tuple(values), mean.mean, mean.low, mean.high))
    return rows


def _layers_of(one: Network, readings: NetworkReadings) -> list[str]:
    """The layers that can be read of a network, with those that have no RDM."""
    without = {
        left.layer
        for left in readings.left_out
        if (left.method, left.run, left.task) == (one.method, one.run.folder.name, one.task) and left.what != "layer"
    }
    return [layer for layer in readings.places if layer in one.rdms or layer in without]


def _of_network(
    run: Any, task: int, layers: list[str], stimuli: Stimuli, read: Read, time: TimeReading
) -> dict[tuple[str, str], float]:
    """(layer, quantity) -> value."""
    found: dict[tuple[str, str], float] = {}
    for layer, of in read_layers(run, task, stimuli, layers, read, time=time) if layers else ():
        values = of.flatten(1).double().numpy()
        # Centring takes a direction.
        most = min(len(values) - 1, values.shape[1])
        found[layer, "activation_rank"] = effective_rank(values, centre=True) / most
        found[layer, "silent"] = silent_share(values)
    model = model_of(run, task)
    for name, module in model.named_modules() if model is not None else ():
        for weight, matrix in _matrices(module).items():
            place = name if weight == "weight" else f"{name}.{weight}".lstrip(".")
            found[place, "weight_rank"] = effective_rank(matrix) / min(matrix.shape)
            found[place, "overlap"] = unit_overlap(matrix)
    return found


def _matrices(module: nn.Module) -> dict[str, NDArray[np.float64]]:
    """The weights of a module by name, (units, inputs)."""
    # Rows of an embedding are tokens, not units.
    if isinstance(module, nn.Embedding):
        return {}
    names = ["weight", *(name for name, _ in module.named_parameters(recurse=False) if name != "weight")]
    found = {}
    for name in names:
        weight: Any = getattr(module, name, None)
        if "weight" in name and isinstance(weight, Tensor) and weight.ndim >= 2:
            matrix = weight.detach().double().cpu()
            if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
                # Of these the weight begins with the inputs.
                matrix = matrix.unflatten(0, (module.groups, -1)).transpose(1, 2).flatten(0, 1)
            found[name] = matrix.flatten(1).numpy()
    return found
