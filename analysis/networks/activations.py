"""Activations of the layers of a network for a set of stimuli."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from orthotrace.analysis.networks.forward import Forward
from orthotrace.analysis.networks.places import LayerPlace, Read, Unread, find_places, meant, readable_layers
from orthotrace.analysis.networks.windows import TimeReading, parted
from orthotrace.analysis.rdm.arguments import whole
from orthotrace.analysis.rdm.arrays import numbers, strided
from orthotrace.core.errors import UserError, nearest, one_line
from orthotrace.layers.spiking import SpikingNetwork

__all__ = ["Activations", "activations", "readable_layers"]

# Stimuli by which the layers are found: a number that few other dimensions have.
FEW = 7
# Layers that look their inputs up.
TOKENS = (nn.Embedding, nn.EmbeddingBag)


class Activations(Iterator[tuple[str, Tensor]]):
    """Layers and their activations (n, features), one after the other, once; each is freed when the next is read.

    Attributes:
        places: where each layer is read.
        left_out: layers that cannot be read, and why.
    """

    def __init__(
        self,
        places: Sequence[LayerPlace],
        left_out: Sequence[Unread],
        values: Mapping[str, list[Tensor] | Callable[[], Tensor]],
    ) -> None:
        self.places = {one.name: one for one in places}
        self.left_out = tuple(left_out)
        self._values = dict(values)

    def __next__(self) -> tuple[str, Tensor]:
        for name in self.places:
            if name in self._values:
                values = self._values.pop(name)
                return name, torch.cat(values) if isinstance(values, list) else values()
        raise StopIteration

    def renamed(self, names: Mapping[str, str]) -> Activations:
        """Some of the layers, not read yet, under other names."""
        places = [replace(self.places[own], name=name) for own, name in names.items()]
        return Activations(places, self.left_out, {name: self._values[own] for own, name in names.items()})


def activations(
    model: nn.Module,
    images: Tensor | ArrayLike,
    layers: Sequence[str] | None = None,
    batch_size: int = 256,
    read: Read = "post",
    windows: int | None = None,
    spikes: bool = False,
) -> Activations:
    """Activations of the layers of any torch module, whether its operations are modules or functions.

    A layer is read after its block (post): its normalisation, residual sum and nonlinearity, such as F.relu, also where
    they stand in the forward of another module; pooling stays apart. Or before it (pre): a layer with weights as it is,
    a nonlinearity at its input. Or at the output of the module of this name as it is (module).

    The block of a layer is found as the network runs. A network that does not run while its functions are watched is
    read at the outputs of its modules, with a warning; their places say so.

    Of a spiking network firing rates are read, the means over time. In windows of time every layer is read several
    times, as relu1@1-3 and relu1@4-6: steps 1 to 3, and 4 to 6. What is the same at all times, as before the first
    neurons or in any other network, is read once, as relu1.

    Args:
        model: in evaluation mode; otherwise dropout would be in the activations, and normalisation would learn.
        images: the stimuli, (n, ...): a tensor, or any array that arrays.real takes.
        layers: names of modules; of one that is called several times, all calls, as relu:1 and relu:2, or one of them;
            of one that gives several tensors, all, as body[0] and body[1], or one of them; patterns, such as conv*,
            of the layers that are read without names, or else of all; None for the ends of all blocks (post), all
            layers with weights (pre), or all nonlinearities and the readout (module).
        batch_size: stimuli at once.
        read: which of the three.
        windows: of time, at least 1 and at most the steps of a spiking network; None for one mean over all steps. A
            layer may be named with a window, as relu1@1-3.
        spikes: of a spiking network every step apart, for rdm.spike_trains; dsr's are as high as the threshold.

    Returns:
        An iterator over layer and activations, (n, features), with spikes (n, steps, features), once: keep
        ``dict(found)``. Its ``places`` say after what
        each layer is read, its ``left_out`` what could not be read, such as a module that is never called, and why.

    Raises:
        UserError: a model that is no module, or is in training mode; there is no such layer, or none that can be read;
            images that are no array of finite numbers, or that the network does not take; more windows than steps, or
            spikes of a network that does not spike.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU()).eval()
        >>> found = activations(model, torch.ones(5, 4))
        >>> [(name, values.shape) for name, values in found]
        [('2', torch.Size([5, 3]))]
        >>> activations(model, torch.ones(5, 4), ["0"]).places["0"].after
        ('1', '2')
        >>> from orthotrace.layers import spiking
        >>> model = spiking(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), steps=5).eval()
        >>> list(activations(model, torch.ones(5, 4), windows=2).places)
        ['1@1-3', '1@4-5', '2@1-3', '2@4-5']
        >>> dict(activations(model, torch.ones(5, 4), spikes=True))["1"].shape
        torch.Size([5, 5, 3])
    """
    if not isinstance(model, nn.Module):
        raise UserError(f"a torch module is needed, got {type(model).__name__}; load weights into one first", "model")
    if model.training:
        raise UserError("is in training mode, with dropout and statistics of batches; call model.eval() first", "model")
    if not isinstance(images, Tensor):
        images = torch.tensor(np.ascontiguousarray(numbers(images, "images")))
    shown = strided(images, "images")
    if not shown.ndim or not len(shown):
        raise UserError(f"stimuli (n, ...) are needed, got shape {tuple(shown.shape)}", "images")
    if not torch.isfinite(shown).all():
        raise UserError("some are not finite: a network gives nothing for them", "images")
    whole(batch_size, "batch_size", 1)
    time = TimeReading(None if windows is None else whole(windows, "windows", 1), spikes)
    if isinstance(model, SpikingNetwork):
        time.check(model.steps)
    elif spikes:
        raise UserError(f"{type(model).__name__} does not spike: it has no spikes of single steps", "spikes")
    names = layers
    if windows is not None and layers is not None:
        names = list(dict.fromkeys(parted(name)[0] for name in layers))
    reader = _Reader(model, names, read, time)
    parameter = next(model.parameters(), shown)
    values: dict[str, list[Tensor]] = {}
    places: dict[str, LayerPlace] | None = None
    left_out: dict[str, Unread] = {}
    # Numbers of tokens stay whole.
    tokens = not shown.is_floating_point() and any(isinstance(one, TOKENS) for one in model.modules())
    for batch in shown.split(batch_size):
        found, batch_places, unread = reader.read(batch.to(parameter.device if tokens else parameter))
        left_out |= {one.name: one for one in unread}
        if places is None:
            places = batch_places
        for name in [*(name for name in places if name not in found), *(name for name in found if name not in places)]:
            left_out[name] = Unread(name, "it is not read, or not as often, for some of the stimuli")
        places = {name: place for name, place in places.items() if name in found}
        values = {name: [*values.get(name, []), found[name]] for name in places}
    assert places is not None
    if layers is not None and list(layers) != names:
        places = _in_windows(layers, places)
    for name, parts in list(values.items()):
        if name in places and len({one.shape[1:] for one in parts}) > 1:
            left_out[name] = Unread(name, "its output has another size for some of the stimuli")
            del places[name], values[name]
    if not places:
        why = "; ".join(f"layer '{one.name}': {one.why}" for one in left_out.values())
        raise UserError(why or "the network has no layer that can be read: name modules", "layers")
    return Activations(list(places.values()), list(left_out.values()), values)


def _in_windows(layers: Sequence[str], places: Mapping[str, LayerPlace]) -> dict[str, LayerPlace]:
    """The places that names stand for of which some have a window."""
    found: dict[str, LayerPlace] = {}
    for name in layers:
        there = meant(name, list(places))
        if not there and (other := meant(parted(name)[0], list(places))):
            raise UserError(f"there is no window '{name}'; {nearest(name, other)}", "layers")
        found |= {one: places[one] for one in there}
    return found


class _Reader:
    """Reads batches, by the places of the first as long as the network does the same for each."""

    def __init__(self, model: nn.Module, layers: Sequence[str] | None, read: Read, time: TimeReading) -> None:
        self.model, self.layers, self.time = model, layers, time
        self.how: Read = read
        self.functions = True
        self.events: list[str] | None = None
        self.places: list[LayerPlace] = []
        self.unread: list[Unread] = []

    def read(self, batch: Tensor) -> tuple[dict[str, Tensor], dict[str, LayerPlace], list[Unread]]:
        """Activations (n, features), of spikes (n, steps, features), of a batch, and where they were read."""
        if self.events is None:
            self._follow(batch[:FEW])
        forward = self._read(batch)
        if forward.events != self.events:
            # It does something else for this batch, such as another number of steps.
            self._follow(batch)
            forward = self._read(batch)
            if forward.events != self.events:
                raise UserError("the network does something else each time that it runs: it cannot be read", "layers")
        found, places, unread = {}, {}, list(self.unread)
        for place in self.places:
            parts = forward.read.get(place.event, {})
            for end, value in parts.items():
                if value.shape[:1] == (len(batch),) and value.layout == torch.strided:
                    name = place.name + end
                    found[name] = value.reshape(*value.shape[: 1 + self.time.spikes], -1)
                    places[name] = replace(place, name=name)
            if not any(place.name + end in found for end in parts):
                unread.append(Unread(place.name, "it gives no tensor (n, ...) for some of the stimuli"))
        return found, places, unread

    def _read(self, batch: Tensor) -> Forward:
        picks = {one.event for one in self.places}
        return self._run(batch, Forward(self.model, False, picks, self.functions, self.time))

    def _follow(self, batch: Tensor) -> None:
        followed = self._run(batch, Forward(self.model, True, (), self.functions))
        self.events = followed.events
        self.places, self.unread = find_places(self.model, followed, self.layers, self.how, len(batch))

    def _run(self, batch: Tensor, forward: Forward) -> Forward:
        try:
            forward.run(batch)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            if forward.functions and forward.follow and self._runs_alone(batch):
                # Some code does not run while its functions are watched: modules are seen anyway.
                warnings.warn(
                    "the network does not run while its functions are watched: modules alone are", stacklevel=4
                )
                self.functions, self.how = False, "module"
                return self._run(batch, Forward(self.model, True, (), functions=False))
            raise UserError(
                f"the network does not take stimuli of shape (n, {', '.join(map(str, batch.shape[1:]))}): "
                f"{one_line(error)}",
                "images",
            ) from error
        return forward

    def _runs_alone(self, batch: Tensor) -> bool:
        try:
            with torch.no_grad():
                self.model(batch)
        except (RuntimeError, ValueError, TypeError, IndexError):
            return False
        return True
