"""Forgetting taken apart in the networks of a run, task by task and layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from orthotrace.analysis.networks.activations import activations
from orthotrace.analysis.networks.places import Read
from orthotrace.analysis.networks.runs import stream_of
from orthotrace.analysis.rdm.arguments import whole
from orthotrace.analysis.studies.readout import (
    DriftSplit,
    LinearReadout,
    ReadoutDiagnosis,
    diagnose_readout,
    drift_split,
    fitted_readout,
)
from orthotrace.core.errors import UserError
from orthotrace.data.images import Images
from orthotrace.results.run_folder import Run


@dataclass(frozen=True)
class Forgetting:
    """What became of a task in a layer while later tasks were learned.

    Attributes:
        task: the task, from 1.
        after: after how many tasks.
        layer: name; of the readout itself its inputs are looked at.
        trained: accuracy of the whole network on all test images of the task, as in scores.json.
        diagnosis: accuracies of the old, the turned and a new readout of the layer.
        drift: of the inputs of the readout; None of other layers.
    """

    task: int
    after: int
    layer: str
    trained: float
    diagnosis: ReadoutDiagnosis
    drift: DriftSplit | None


def forgetting(
    run: Run, layers: Sequence[str] | None = None, per_class: int = 100, read: Read = "post", strength: float = 1.0
) -> list[Forgetting]:
    """Accuracy by old, turned and new readouts on each task, after it and after every later one.

    At the inputs of the network's own readout, its last linear layer, the old readout is the network's own after the
    task; elsewhere it is fitted to the activations after the task.

    Args:
        run: finished, of images with classes.
        layers: names as for activations.activations, beside the readout; None for all that can be read.
        per_class: images of each class of a task at most, of its training and of its test part each; at least 2.
        read: layers after their block, before it, or at the output of the module.
        strength: of readout.fitted_readout.

    Raises:
        UserError: a network without a linear layer, layers that cannot be read, or a damaged checkpoint.
    """
    whole(per_class, "per_class", 2)
    stream, accuracy = stream_of(run), run.scores["accuracy"]
    tasks = run.tasks
    old: dict[int, dict[str, _Seen]] = {}
    found = []
    for after in tasks:
        model = run.network(after)
        head = _readout_of(model)
        for task in [one for one in tasks if one <= after]:
            part = stream.task(task - 1)
            train, test = (_first(one, per_class) for one in (part.train, part.test))
            outputs = stream.active.for_evaluation(task - 1, task)
            new = _seen(model, head, (train, test), layers, read, outputs)
            if task == after:
                old[task] = {
                    name: one if one.readout else one.with_readout(train.labels, strength) for name, one in new.items()
                }
            for name, one in old[task].items():
                if name not in new:
                    continue
                now = new[name]
                diagnosis = diagnose_readout(
                    (one.train, now.train), (one.test, now.test), train.labels, test.labels, one.readout, strength
                )
                drift = drift_split(one.test, now.test, one.readout.weight) if name == head and one.readout else None
                found.append(Forgetting(task, after, name, accuracy[after - 1][task - 1], diagnosis, drift))
    return found


@dataclass(frozen=True)
class _Seen:
    """Activations of a layer for the images of a task, and what reads them."""

    train: Tensor
    test: Tensor
    readout: LinearReadout | None = None

    def with_readout(self, labels: Tensor, strength: float) -> _Seen:
        return _Seen(self.train, self.test, fitted_readout(self.train, labels, strength))


def _readout_of(model: nn.Module) -> str:
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        raise UserError("the network has no linear layer that could be its readout", "layers")
    return names[-1]


def _first(part: Images, per_class: int) -> Images:
    """The first images of each class."""
    places = [(part.labels == label).nonzero().flatten()[:per_class] for label in part.labels.unique()]
    return part.take(torch.cat(places))


def _seen(
    model: nn.Module, head: str, parts: tuple[Images, Images], layers: Sequence[str] | None, read: Read, outputs: range
) -> dict[str, _Seen]:
    """Activations of the layers, and of the inputs of the readout."""
    of_layers = [dict(activations(model, part.inputs(), layers, read=read)) for part in parts]
    train, test = (_inputs_of(model, head, part.inputs()) for part in parts)
    found = {name: _Seen(values, of_layers[1][name]) for name, values in of_layers[0].items() if name in of_layers[1]}
    layer = model.get_submodule(head)
    assert isinstance(layer, nn.Linear)
    chosen = slice(outputs.start, outputs.stop)
    bias = layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias
    weight, bias = (one.detach()[chosen].double().numpy() for one in (layer.weight, bias))
    return {**found, head: _Seen(train, test, LinearReadout(weight, bias, np.array(outputs)))}


def _inputs_of(model: nn.Module, name: str, images: Tensor) -> Tensor:
    """What a module is given, (n, features)."""
    given: list[Tensor] = []
    hook = model.get_submodule(name).register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].flatten(1)))
    parameter = next(model.parameters())
    try:
        with torch.no_grad():
            for batch in images.split(256):
                model(batch.to(parameter))
    finally:
        hook.remove()
    return torch.cat(given)
