"""Projection methods whose layers work with other weights in each task."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from types import MethodType
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds, generator
from orthotrace.data.images import Images
from orthotrace.data.streams import Stream
from orthotrace.methods.context import TaskContext
from orthotrace.methods.gpm import SampledProjection
from orthotrace.protection.layers import protectable, refuse_computed
from orthotrace.protection.matrices import WeightMatrix
from orthotrace.protection.products import CONVOLUTIONS


class Addend(Protocol):
    """What a task adds to the weight of a layer."""

    def outputs(self, inputs: Tensor) -> Tensor:
        """What it adds to the outputs (n, ..., out) of a Linear layer, for inputs (n, ..., features)."""
        ...

    def weight(self) -> Tensor:
        """What it adds to the weight: (out, features)."""
        ...


class TaskWeights(SampledProjection):
    """A projection method whose layers work, in each task, with W and what the task adds to it.

    W is protected as in GPM. What a task adds is trained beside W, while the task is trained, and kept for the task: a
    test must know which task an image is of, in the domain- and class-incremental scenarios too.

    Args:
        **options: as for SampledProjection.

    Raises:
        UserError: at setup, computed weights, or layers other than Linear layers and convolutions.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Of the running task: index of a matrix -> what is added to it.
        self._running: dict[int, list[Addend]] = {}

    @abstractmethod
    def addends(self, task: int, start: bool) -> dict[int, list[Addend]]:
        """What a task adds, by index of a matrix.

        Args:
            task: from 0.
            start: from the weights at the start of the task that is trained, which do not move, where it needs them.
        """

    @abstractmethod
    def take(self, task: int) -> None:
        """Work with the weights of a task, and train what is its own."""

    def setup(self, model: nn.Module, seeds: Seeds, stream: Stream) -> None:
        """Let the layers work with the weights of a task."""
        super().setup(model, seeds, stream)
        refuse_computed(self.guard.layers, type(self).__name__)
        for name, layer in self.guard.layers.items():
            if not isinstance(layer, (nn.Linear, *CONVOLUTIONS)):
                raise UserError(
                    f"{type(self).__name__} changes the weights of Linear layers and convolutions, and '{name}' is "
                    f"neither ({type(layer).__name__}): take gpm, or another method"
                )
            chosen = [(number, part) for number, part in enumerate(self.guard.parts) if part.name == name]
            layer.forward = MethodType(self._forward(chosen), layer)

    def _forward(self, parts: list[tuple[int, WeightMatrix]]) -> Any:
        # The argument has the name that torch gives it: layers may be called by keyword.
        def forward(layer: Any, input: Tensor) -> Tensor:  # noqa: A002
            if not any(number in self._running for number, _ in parts):
                return type(layer).forward(layer, input)
            if isinstance(layer, nn.Linear):
                # By way of the input: a batch is mostly smaller than a weight.
                outputs = linear(input, layer.weight, layer.bias)
                for addend in self._running[parts[0][0]]:
                    outputs = outputs + addend.outputs(input)
                return outputs
            weight = task_weight(layer.weight, [(part, self._running.get(number, [])) for number, part in parts])
            return layer._conv_forward(input, weight, layer.bias)

        # Beside the weight's own product, what is trained sees a part of the input only: through U, or B.
        forward.__dict__["uses_its_input_once"] = True
        return forward

    def enter(self, context: TaskContext) -> None:
        """Work with the weights of this task, where it has begun before."""
        super().enter(context)
        self.take(context.number)

    def sample(self, context: TaskContext) -> Images:
        """Random training images of the task that begins."""
        part = context.part
        order = torch.randperm(len(part), generator=generator(context.seeds.method, 2, context.number))
        return part.take(order[: self.samples].to(part.labels.device))

    def gradients(self, context: TaskContext, images: Images) -> list[Tensor]:
        """Of the mean loss of images of the task, for each matrix."""
        model, number = self.model, context.number
        training = model.training
        model.eval()
        with torch.enable_grad():
            inputs, labels = next(images.split(len(images), next(model.parameters())))
            loss = context.outputs.loss(model(inputs), labels, number, images.tasks)
            weights = {name: layer.weight for name, layer in self.guard.layers.items() if layer.weight.requires_grad}
            # Where the readout alone is trained there are none.
            gradients = torch.autograd.grad(loss, list(weights.values())) if weights else ()
            found = dict(zip(weights, gradients, strict=True))
        model.train(training)
        # That of a layer that is not trained is 0.
        return [
            found[part.name][part.outputs].flatten(1) if part.name in found else torch.zeros_like(part.weight)
            for part in self.guard.parts
        ]

    def network(self, model: nn.Module, task: int) -> nn.Module:
        """The network with what a task adds in its weights."""
        copied = copy.deepcopy(super().network(model, task))
        layers = protectable(copied)
        added = self.addends(task, start=False)
        with torch.no_grad():
            for name in self.guard.layers:
                layer = layers[name]
                layer.__dict__.pop("forward")
                chosen = [(part, added.get(n, [])) for n, part in enumerate(self.guard.parts) if part.name == name]
                # Where nothing is added it is a view of the weight, in an order that may be another.
                layer.weight.copy_(task_weight(layer.weight, chosen).clone())
        return copied

    def kept(self, model: nn.Module, number: int) -> nn.Module:
        """The network as the task that has just ended is tested with."""
        return self.network(model, number)


def task_weight(weight: Tensor, added: Sequence[tuple[WeightMatrix, Sequence[Addend]]]) -> Tensor:
    """A weight, with what a task adds to each of its matrices, in its own shape."""
    matrices = []
    for part, addends in added:
        matrix = weight[part.outputs].flatten(1)
        for one in addends:
            matrix = matrix + one.weight()
        matrices.append(matrix)
    return (matrices[0] if len(matrices) == 1 else torch.cat(matrices)).view(weight.shape)


class TaskParameters(nn.Module):
    """Parameters by three numbers, such as task, matrix and region; those of a saved state are made when it is loaded.

    Example:
        >>> scales = TaskParameters()
        >>> scales.add((1, 0, 0), torch.eye(2))
        >>> fresh = TaskParameters()
        >>> _ = fresh.load_state_dict(scales.state_dict())
        >>> [key for key, _ in fresh.items()]
        [(1, 0, 0)]
    """

    def add(self, key: tuple[int, int, int], value: Tensor) -> None:
        """A new one."""
        self.register_parameter("_".join(map(str, key)), nn.Parameter(value))

    def items(self) -> Iterator[tuple[tuple[int, int, int], nn.Parameter]]:
        """All of them."""
        for name, value in self.named_parameters():
            first, second, third = map(int, name.split("_"))
            yield (first, second, third), value

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any, **kwargs: Any) -> None:
        for key, value in state_dict.items():
            name = key.removeprefix(prefix)
            if key.startswith(prefix) and name not in self._parameters:
                self.register_parameter(name, nn.Parameter(torch.empty_like(value)))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
