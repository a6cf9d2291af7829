"""Networks that orthotrace did not train: built anew with weights from a file, or their activations on disk."""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from orthotrace.analysis.networks.activations import Activations, activations
from orthotrace.analysis.networks.places import LayerPlace, Read, is_pattern, matched
from orthotrace.analysis.networks.saved import SavedLayers
from orthotrace.analysis.networks.windows import TimeReading, parted
from orthotrace.config.build import build
from orthotrace.config.renamed import current
from orthotrace.core.digests import digest_of
from orthotrace.core.errors import UserError, nearest
from orthotrace.results.weights import weights_of

if TYPE_CHECKING:
    from orthotrace.analysis.networks.runs import Stimuli

# Of a column: a factor, a seed, a task.
Value = str | int | float | bool
# The names of layers, or common name -> own name.
Layers = Sequence[str] | Mapping[str, str] | None


@dataclass(frozen=True)
class BuiltNetwork:
    """A network as a callable makes it, with weights from a file where there is one.

    Attributes:
        model: a node with _target_ and arguments, a module, or a function that makes one.
        weights: of results.weights.weights_of; None for those that it is made with.
        layers: its layers by names of its own; None for those of the analysis.
        seed: of torch, while it is made.
    """

    model: Any
    weights: Path | None = None
    layers: Layers = None
    seed: int = 0

    def network(self) -> nn.Module:
        """The network in evaluation mode, made anew.

        Raises:
            UserError: it cannot be made, is no network, or the weights do not fit: names the first missing and the
                first unexpected one.
        """
        model = self._made()
        if self.weights is not None:
            weights = weights_of(self.weights)
            check_fit(model, weights, f"{self.weights} does not fit {self.called}")
            if any(one.dtype == torch.float64 for one in weights.values()):
                model.double()
            model.load_state_dict(weights, strict=False)
        return model.eval()

    def check(self, made: dict[str, nn.Module]) -> None:
        """Check that it can be made and that its weights fit.

        Args:
            made: networks that were made for such checks, to which it is added.

        Raises:
            UserError: as network.
        """
        key = json.dumps(self.model, sort_keys=True, default=str) if isinstance(self.model, Mapping) else ""
        model = made.get(key) or self._made()
        # One is held at a time: those of a kind mostly follow each other.
        made.clear()
        if key:
            made[key] = model
        if self.weights is not None:
            check_fit(model, weights_of(self.weights), f"{self.weights} does not fit {self.called}")

    def _made(self) -> nn.Module:
        if isinstance(self.model, nn.Module):
            # Its mode is the user's.
            return copy.deepcopy(self.model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            if isinstance(self.model, Mapping):
                model = build(OmegaConf.create({"model": dict(self.model)}), "model")
            else:
                model = self.model()
        if not isinstance(model, nn.Module):
            raise UserError(f"{self.called} gives no network (a torch.nn.Module), but {type(model).__name__}", "model")
        return model

    @property
    def called(self) -> str:
        """The name of what makes it."""
        if isinstance(self.model, Mapping):
            return str(self.model["_target_"])
        return (
            type(self.model).__name__
            if isinstance(self.model, nn.Module)
            else getattr(self.model, "__name__", type(self.model).__name__)
        )

    @cached_property
    def digest(self) -> str | None:
        """Of all that decides what it computes; None where that is not known, as of a module in memory."""
        if not isinstance(self.model, Mapping):
            return None
        parts = [json.dumps(self.model, sort_keys=True, default=str), source_of(str(self.model["_target_"]))]
        parts.append(digest_of_state(self.network()) if self.weights is None else digest_of(self.weights))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def read(
        self,
        stimuli: Stimuli,
        layers: Sequence[str] | None,
        read: Read,
        model: nn.Module | None = None,
        time: TimeReading | None = None,
    ) -> Activations:
        """Activations of its layers; of a network that was made already, where there is one."""
        model = self.network() if model is None else model
        own, over = self.layers if self.layers is not None else layers, vars(time or TimeReading())
        if not isinstance(own, Mapping):
            return activations(model, stimuli.images, own, read=read, **over)
        found = activations(model, stimuli.images, list(own.values()), read=read, **over)
        names = {name: parted(name) for name in found.places}
        bases = list(dict.fromkeys(layer for layer, _ in names.values()))
        common = {stands_for(name, bases): common for common, name in own.items()}
        return found.renamed({name: common[layer] + end for name, (layer, end) in names.items() if layer in common})

    def layer(self, stimuli: Stimuli, name: str, read: Read, windows: int | None = None) -> Tensor:
        """Activations of one layer, (n, features)."""
        own, end = parted(name)
        own = _own(self.layers, own)
        return only(activations(self.network(), stimuli.images, [own + end], read=read, windows=windows), name)


@dataclass(frozen=True)
class SavedNetwork:
    """A network of which there are activations alone.

    Attributes:
        saved: the activations of its layers.
        layers: as of BuiltNetwork.
    """

    saved: SavedLayers
    layers: Layers = None

    called = "activations"

    @property
    def weights(self) -> Path | None:
        """The file of the activations."""
        return self.saved.path

    @property
    def digest(self) -> str | None:
        """Of the activations; None where they lie in memory."""
        return self.saved.digest

    def chosen(self, layers: Sequence[str] | None) -> dict[str, str]:
        """Name of a layer -> its name in the file.

        Raises:
            UserError: a name or pattern that there is not.
        """
        there, own = list(self.saved.shapes), self.layers if self.layers is not None else layers
        if own is None:
            return {name: name for name in there}
        if isinstance(own, Mapping):
            return {common: self._one(name, there) for common, name in own.items()}
        return {
            one: one for name in own for one in (matched(name, there) if is_pattern(name) else [self._one(name, there)])
        }

    def _one(self, name: str, there: Sequence[str]) -> str:
        if is_pattern(name):
            return stands_for(name, there)
        if name not in there:
            raise UserError(f"{self.saved.told} has no layer '{name}'; {nearest(name, there)}", "layers")
        return name

    def layer(self, stimuli: Stimuli, name: str, read: Read) -> Tensor:
        """Activations of one layer, (n, features)."""
        return self.saved.layer(self._one(_own(self.layers, name), list(self.saved.shapes)), stimuli.order)

    def read(self, stimuli: Stimuli, layers: Sequence[str] | None, read: Read) -> Activations:
        """Activations of its layers; each is read from the file when it is asked for."""
        chosen = self.chosen(layers)
        places = [LayerPlace(name, "file", (), (0, "")) for name in chosen]
        return Activations(
            places, [], {name: lambda own=own: self.saved.layer(own, stimuli.order) for name, own in chosen.items()}
        )


@dataclass(frozen=True, eq=False)
class GivenNetwork:
    """A network that orthotrace did not train, after one or several of its tasks.

    Attributes:
        name: that no other has.
        columns: what the user says of it: seeds, factors.
        stages: task -> what it is then.
    """

    name: str
    columns: Mapping[str, Value]
    stages: Mapping[int, BuiltNetwork | SavedNetwork] = field(repr=False)

    @property
    def folder(self) -> Path:
        """Its name, as that of a run."""
        return Path(self.name)

    @property
    def tasks(self) -> list[int]:
        """The tasks after which it is known."""
        return sorted(self.stages)


@dataclass(frozen=True)
class GivenGroup:
    """Networks that differ in their seeds only.

    Attributes:
        label: the values of the columns in which groups differ.
        runs: the networks.
        parts: what the label is made of: columns, and the text for each.
        factors: the values of the columns.
    """

    label: str
    runs: tuple[GivenNetwork, ...]
    parts: tuple[tuple[str, str], ...] = ()
    factors: Mapping[str, Value] = field(default_factory=dict)


def check_fit(model: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Refuse weights that are not those of a network.

    Args:
        model: the network.
        weights: by the names of its state_dict.
        what: begins the line of the error.

    Raises:
        UserError: names the first missing and the first unexpected one, or the first of another shape.

    Example:
        >>> weights = {"weight": torch.zeros(2, 3), "bais": torch.zeros(2)}
        >>> check_fit(nn.Linear(3, 2), weights, "a.pt does not fit Linear")
        Traceback (most recent call last):
        orthotrace.core.errors.UserError: weights: a.pt does not fit Linear: first missing key 'bias', first ...
    """
    own = {name: value for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
    # Of tied weights a file may hold one name alone.
    there = {id(own[name]) for name in own if name in weights}
    missing = [name for name in own if name not in weights and id(own[name]) not in there]
    unexpected = [name for name in weights if name not in own]
    if missing or unexpected:
        said = [f"first missing key '{missing[0]}'"] if missing else []
        said += [f"first unexpected key '{unexpected[0]}'"] if unexpected else []
        raise UserError(f"{what}: {', '.join(said)}", "weights")
    for name, value in weights.items():
        if value.shape != own[name].shape:
            raise UserError(
                f"{what}: '{name}' is {tuple(value.shape)} there, and {tuple(own[name].shape)} in the network",
                "weights",
            )
        if not value.isfinite().all():
            raise UserError(f"{what}: '{name}' has values that are not finite", "weights")


def digest_of_state(model: nn.Module) -> str:
    """A digest of the weights of a network, which may come from a file that its callable reads."""
    found = hashlib.sha256()
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor):
            found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def stands_for(name: str, places: Sequence[str]) -> str:
    """The one layer that a name or a pattern stands for among those that are read.

    Raises:
        UserError: none, or several.

    Example:
        >>> stands_for("relu", ["conv1", "relu:2"]), stands_for("conv?", ["conv1", "relu:2"])
        ('relu:2', 'conv1')
    """
    if is_pattern(name):
        found = matched(name, places)
    else:
        found = [one for one in places if one == name or one.startswith((f"{name}:", f"{name}["))]
    if len(found) != 1:
        said = f"stands for {len(found)} layers ({', '.join(found)})" if found else "is not read"
        raise UserError(f"'{name}' {said}: one is needed for a common name", "layers")
    return found[0]


def _own(layers: Layers, name: str) -> str:
    """The name that a network itself has for a layer."""
    if not isinstance(layers, Mapping):
        return name
    if name not in layers:
        raise UserError(f"there is no layer '{name}'; {nearest(name, layers)}", "layers")
    return layers[name]


def source_of(target: str) -> str:
    """A digest of the file that has a callable, so that other code is another network; empty where there is none."""
    from hydra.utils import get_object

    try:
        file = inspect.getsourcefile(inspect.unwrap(get_object(current(target))))
    except (TypeError, ValueError, ImportError):
        return ""
    return digest_of(Path(file)) if file and Path(file).is_file() else ""


def model_of(run: Any, task: int) -> nn.Module | None:
    """The network of a run, or of one that was given, in evaluation mode; None where there are activations alone."""
    if not isinstance(run, GivenNetwork):
        return run.network(task)
    stage = run.stages[task]
    return stage.network() if isinstance(stage, BuiltNetwork) else None


def read_layers(
    run: Any,
    task: int,
    stimuli: Stimuli,
    layers: Sequence[str] | None,
    read: Read,
    model: nn.Module | None = None,
    time: TimeReading | None = None,
) -> Activations:
    """Activations of the layers of a network after a task: of a run, or of one that was given; or of a model of its.

    Raises:
        UserError: as activations.activations; or weights that do not fit.
    """
    if isinstance(run, GivenNetwork):
        stage = run.stages[task]
        return (
            stage.read(stimuli, layers, read, model, time)
            if isinstance(stage, BuiltNetwork)
            else stage.read(stimuli, layers, read)
        )
    over = vars(time or TimeReading())
    return activations(run.network(task) if model is None else model, stimuli.images, layers, read=read, **over)


def read_layer(
    run: Any, task: int, stimuli: Stimuli, name: str, read: Read | Literal["file"], windows: int | None = None
) -> Tensor:
    """Activations of one layer, (n, features), by the name that it has in an analysis; of spikes their rates.

    Raises:
        UserError: as read_layers.
    """
    how = "post" if read == "file" else read
    if isinstance(run, GivenNetwork):
        stage = run.stages[task]
        if isinstance(stage, BuiltNetwork):
            return stage.layer(stimuli, name, how, windows)
        return stage.layer(stimuli, name, how)
    return only(activations(run.network(task), stimuli.images, [name], read=how, windows=windows), name)


def only(found: Activations, name: str) -> Tensor:
    """The activations of the one layer that a name is of.

    Raises:
        UserError: there is another, or it has several parts: names it.
    """
    if len(found.places) != 1:
        raise UserError(f"there is no layer '{name}': there are {', '.join(found.places)}", "layers")
    ((_, values),) = found
    return values
