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
from orthotrace.layers.spiking import SpikingNetwork
from orthotrace.results.run_folder import Run


@dataclass(frozen=True)
class Forgetting:
    """What became of a task in a layer while later tasks were learned.

    Attributes:
        task: the task, from 1.
        after: after how many tasks.
        classes: of the task.
        layer: name; of the readout itself its inputs are looked at.
        trained: accuracy of the whole network on all test images of the task, as in scores.json.
        diagnosis: accuracies of the old, the turned and a new readout of the layer.
        drift: of the inputs of the readout; None of other layers.
    """

    task: int
    after: int
    classes: int
    layer: str
    trained: float
    diagnosis: ReadoutDiagnosis
    drift: DriftSplit | None


def forgetting(
    run: Run,
    layers: Sequence[str] | None = None,
    per_class: int = 100,
    read: Read = "post",
    strength: float = 1.0,
    windows: int | None = None,
) -> list[Forgetting]:
    """Accuracy by old, turned and new readouts on each task, after it and after every later one.

    At the inputs of the network's own readout, the last linear layer that gives all its outputs, the old readout is the
    network's own after the task; elsewhere, and in a network that ends otherwise, it is fitted to the activations after
    the task.

    Args:
        run: finished, of images with classes.
        layers: names as for activations.activations, beside the readout; None for all that can be read.
        per_class: images of each class of a task at most, of its training and of its test part each; at least 2.
        read: layers after their block, before it, or at the output of the module.
        strength: of readout.fitted_readout.
        windows: of time, in which a spiking network is read; None for its firing rates.

    Raises:
        UserError: a run of a regression, layers that cannot be read, or a damaged checkpoint.
    """
    whole(per_class, "per_class", 2)
    stream, accuracy = stream_of(run), run.scores["accuracy"]
    if stream.regression:
        raise UserError(f"{run.folder.name} is of a regression: readouts are of classes", "run")
    tasks = run.tasks
    shown: dict[int, tuple[_Shown, _Shown]] = {}
    old: dict[int, dict[str, _Seen]] = {}
    found = []
    for after in tasks:
        model = run.network(after)
        part = stream.task(after - 1)
        shown[after] = _Shown.first(part.train, per_class), _Shown.first(part.test, per_class)
        for task in [one for one in tasks if one <= after]:
            train, test = shown[task]
            outputs = stream.active.for_evaluation(task - 1, task)
            new, own = _seen(model, shown[task], layers, read, outputs, windows)
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
                drift = drift_split(one.test, now.test, one.readout.weight) if name == own and one.readout else None
                score, classes = accuracy[after - 1][task - 1], len(test.labels.unique())
                found.append(Forgetting(task, after, classes, name, score, diagnosis, drift))
    return found


@dataclass(frozen=True)
class _Shown:
    """Some images of a task, as a network takes them, and their labels."""

    images: Tensor
    labels: Tensor

    @classmethod
    def first(cls, part: Images, per_class: int) -> _Shown:
        """The first images of each class."""
        places = [(part.labels == label).nonzero().flatten()[:per_class] for label in part.labels.unique()]
        chosen = part.take(torch.cat(places))
        return cls(chosen.inputs(), chosen.labels)


@dataclass(frozen=True)
class _Seen:
    """Activations of a layer for the images of a task, and what reads them."""

    train: Tensor
    test: Tensor
    readout: LinearReadout | None = None

    def with_readout(self, labels: Tensor, strength: float) -> _Seen:
        return _Seen(self.train, self.test, fitted_readout(self.train, labels, strength))


def _seen(
    model: nn.Module,
    parts: tuple[_Shown, _Shown],
    layers: Sequence[str] | None,
    read: Read,
    outputs: range,
    windows: int | None,
) -> tuple[dict[str, _Seen], str | None]:
    """Activations of the layers, and of the inputs of the network's own readout, where it has one; and its name."""
    of_layers = [dict(activations(model, part.images, layers, read=read, windows=windows)) for part in parts]
    found = {name: _Seen(values, of_layers[1][name]) for name, values in of_layers[0].items() if name in of_layers[1]}
    linear = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        return found, None
    name, layer = linear[-1]
    (train, answers), (test, _) = (_inputs_of(model, layer, part.images) for part in parts)
    if answers.shape[1:] != (layer.out_features,) or train.shape != (len(answers), layer.in_features):
        return found, None
    chosen = slice(outputs.start, outputs.stop)
    bias = layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias
    weight, bias = (one.detach()[chosen].double().numpy() for one in (layer.weight, bias))
    return {**found, name: _Seen(train, test, LinearReadout(weight, bias, np.array(outputs)))}, name


def _inputs_of(model: nn.Module, module: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """What a module is given, (n, features), and what the network answers."""
    given: list[Tensor] = []
    hook = module.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].flatten(1)))
    parameter = next(model.parameters())
    try:
        with torch.no_grad():
            answers = [model(batch.to(parameter)) for batch in images.split(256)]
    finally:
        hook.remove()
    if isinstance(model, SpikingNetwork) and len(given[0]) == model.steps * len(answers[0]):
        # Answers are means over time, as are these: what a linear readout makes of them is the same.
        given = [model.over_time(one) for one in given]
    return torch.cat(given), torch.cat(answers)
