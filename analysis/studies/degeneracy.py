"""How degenerate the layers of networks are, in groups of networks that differ in their seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from orthotrace.analysis.networks.given import model_of, read_layers
from orthotrace.analysis.similarity.degeneracy import effective_rank, silent_share, unit_overlap
from orthotrace.results.statistics import mean_interval

if TYPE_CHECKING:
    from orthotrace.analysis.networks.places import Read
    from orthotrace.analysis.networks.read import NetworkReadings
    from orthotrace.analysis.networks.runs import Stimuli
    from orthotrace.analysis.networks.spread import Spreading
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
    readings: NetworkReadings, stimuli: Stimuli, level: float = 0.95, spreading: Spreading | None = None
) -> list[LayerDegeneracy]:
    """How degenerate each layer is, after each of the tasks or epochs that the networks are read after.

    Args:
        readings: the networks, and where their layers are read.
        stimuli: that they see.
        level: of the intervals, in (0, 1).
        spreading: of the work over processes, network by network; None for this one.

    Raises:
        UserError: as given.read_layers.
    """
    read = next(iter(readings.places.values())).read
    read = "post" if read == "file" else read
    networks = [one for one in readings.networks if one.rdms]
    given = [(one.run, one.task, list(one.rdms)) for one in networks]
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


def _of_network(
    run: Any, task: int, layers: list[str], stimuli: Stimuli, read: Read, time: TimeReading
) -> dict[tuple[str, str], float]:
    """(layer, quantity) -> value."""
    found: dict[tuple[str, str], float] = {}
    for layer, of in read_layers(run, task, stimuli, layers, read, time=time):
        values = of.flatten(1).double().numpy()
        # Centring takes a direction.
        most = min(len(values) - 1, values.shape[1])
        found[layer, "activation_rank"] = effective_rank(values, centre=True) / most
        found[layer, "silent"] = silent_share(values)
    model = model_of(run, task)
    for name, module in model.named_modules() if model is not None else ():
        weight: Any = getattr(module, "weight", None)
        # Rows of an embedding are tokens, not units.
        if isinstance(weight, Tensor) and weight.ndim >= 2 and not isinstance(module, nn.Embedding):
            matrix = weight.detach().flatten(1).double().cpu().numpy()
            found[name, "weight_rank"] = effective_rank(matrix) / min(matrix.shape)
            found[name, "overlap"] = unit_overlap(matrix)
    return found
