"""What the neurons of a spiking network do: how often they fire, what that costs, and which are silent."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from orthotrace.data.images import Images
from orthotrace.layers.modes import evaluated
from orthotrace.layers.neurons import LIF
from orthotrace.layers.rates import LAYERS
from orthotrace.layers.spiking import SpikingNetwork

# Images that are looked at, at most.
FEW = 1000


@torch.no_grad()
def activity(model: nn.Module, part: Images, batch_size: int = 100) -> dict[str, dict[str, float]]:
    """Firing rates and operations of a spiking network in evaluation, over some images; nothing of any other network.

    Args:
        model: of the network.
        part: its images; the first thousand.
        batch_size: images at once.

    Returns:
        Layer of neurons -> firing_rate, spikes of a neuron in a step, in [0, 1]. Layer with weights ->
        synaptic_operations of an image: for each input that is not 0 one for each weight that it meets, over all steps;
        and multiply_adds, what the layer of an ordinary network needs for an image.

    Source: Merolla et al., Science 2014, for synaptic operations.

    Example:
        >>> from orthotrace.layers import spiking
        >>> model = spiking(nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), steps=5)
        >>> found = activity(model, Images(torch.ones(6, 1, 2, 2), torch.zeros(6, dtype=torch.int64)))
        >>> list(found), found["1"]
        (['1', '2', '3'], {'synaptic_operations': 60.0, 'multiply_adds': 12.0})
    """
    if not isinstance(model, SpikingNetwork):
        return {}
    few = part.take(torch.arange(min(FEW, len(part)), device=part.labels.device))
    counts: dict[str, Tensor] = {}
    seen: dict[str, int] = {}
    found: dict[str, dict[str, float]] = {}
    handles = []

    def count(name: str, share: Tensor) -> None:
        counts[name] = counts.get(name, torch.zeros((), dtype=torch.float64)) + share.double().cpu()
        seen[name] = seen.get(name, 0) + shown

    def hook(name: str) -> Any:
        def look(module: Any, args: tuple[Tensor, ...], outputs: Tensor) -> None:
            spikes = outputs if isinstance(module, LIF) else args[0]
            # Of every step; where the input repeats it is the same in each.
            count(name, (spikes != 0).double().mean() * shown)
            if not isinstance(module, LIF):
                places = math.prod(outputs.shape[1:-1] if isinstance(module, nn.Linear) else outputs.shape[2:])
                found[name] = {"multiply_adds": float(module.weight.numel() * places)}

        return look

    names = {name: module for name, module in model.named_modules() if isinstance(module, (LIF, *LAYERS))}
    try:
        handles = [module.register_forward_hook(hook(name), prepend=True) for name, module in names.items()]
        with evaluated(model):
            for inputs, _ in few.split(batch_size, next(model.parameters())):
                shown = len(inputs)
                model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    answers = {}
    # One that is never called has none; one that is called several times has its mean rate, and the sum of the costs.
    for name, module in names.items():
        if name in counts and isinstance(module, LIF):
            answers[name] = {"firing_rate": float(counts[name]) / seen[name]}
        elif name in counts:
            share, operations = float(counts[name]) / len(few), found[name]["multiply_adds"]
            answers[name] = {"synaptic_operations": share * operations * model.steps, "multiply_adds": operations}
    return answers


class Silence(Callback):
    """Warns of layers of neurons that did not fire in a whole epoch: nothing behind them can learn."""

    def __init__(self, model: nn.Module) -> None:
        self._neurons = {name: module for name, module in model.named_modules() if isinstance(module, LIF)}
        self._fired: dict[str, Tensor] = {}
        self._handles: list[Any] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to listen."""
        self._fired = {}
        self._handles = [module.register_forward_hook(self._hook(name)) for name, module in self._neurons.items()]

    def _hook(self, name: str) -> Any:
        def listen(module: nn.Module, args: tuple[Tensor, ...], spikes: Tensor) -> None:
            # Once a layer has fired nothing more is looked at.
            if name not in self._fired or not bool(self._fired[name]):
                self._fired[name] = spikes.detach().any()

        return listen

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop, and tell."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        silent = [name for name, fired in self._fired.items() if not bool(fired)]
        if silent:
            names = f"layer '{silent[0]}'" if len(silent) == 1 else f"layers {', '.join(silent)}"
            warnings.warn(
                f"{names}: no neuron fired in this epoch, so that nothing behind them learns; lower model.threshold, "
                "raise model.decay or model.steps, or lower the learning rate",
                stacklevel=2,
            )
