"""Trust region gradient projection."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from types import MethodType
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear

from orthotrace.core.errors import UserError, checked
from orthotrace.core.seeds import Seeds, generator
from orthotrace.data.streams import Stream
from orthotrace.methods.context import Forward, TaskContext
from orthotrace.methods.gpm import SampledProjection
from orthotrace.protection.layers import protectable, refuse_computed
from orthotrace.protection.matrices import WeightMatrix
from orthotrace.protection.products import CONVOLUTIONS
from orthotrace.subspace import RegionSubspace


class TRGP(SampledProjection):
    """GPM, in which a task may scale what earlier tasks that it trusts have learned.

    At a task's start each layer picks its trust regions: the earlier tasks j with |G B_j^T| > threshold |G|, the
    largest first, where B_j spans the inputs of j and G is the gradient of the new task. While the task is trained,
    and whenever it is tested, the layer works with

        W + sum_j A_j (Q_j - I) B_j,   A_j = W B_j^T,

    the scales Q_j (from I) being trained beside W and kept for the task; W itself moves outside all inputs so far, as
    in GPM, so that A_j stays as it is while the task is trained. A test must therefore know which task an image is of,
    in the domain- and class-incremental scenarios too, as in the paper: compare it there with methods that know it.

    Args:
        threshold: in [0, 1] (paper: .5).
        regions: of a layer, at most (paper: 2).
        rate: learning rate of the scales, over that of the weights; above 0.
        **options: as for SampledProjection.

    Source: Lin, Yang, Fan & Zhang, TRGP: Trust Region Gradient Projection for Continual Learning, ICLR 2022.
    """

    @checked
    def __init__(
        self,
        threshold: Annotated[float, Field(ge=0, le=1)] = 0.5,
        regions: Annotated[int, Field(ge=0)] = 2,
        rate: Annotated[float, Field(gt=0)] = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.threshold = threshold
        self.regions = regions
        self.rate = rate
        self.scales = Scales()
        # Of the running task: index of a matrix -> its regions.
        self._running: dict[int, list[Region]] = {}

    def subspace(self, features: int, seed: int, **options: Any) -> RegionSubspace:
        """Principal directions, and those of each task."""
        return RegionSubspace(features, **options)

    def setup(self, model: nn.Module, seeds: Seeds, stream: Stream) -> None:
        """Let the layers work with scaled weights."""
        super().setup(model, seeds, stream)
        refuse_computed(self.guard.layers, type(self).__name__)
        for name, layer in self.guard.layers.items():
            if not isinstance(layer, (nn.Linear, *CONVOLUTIONS)):
                raise UserError(
                    f"{type(self).__name__} scales the weights of Linear layers and convolutions, and '{name}' is "
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
                for weight, span, scale in self._running[parts[0][0]]:
                    inside = linear(input, span)
                    outputs = outputs + linear(linear(inside, scale) - inside, weight)
                return outputs
            weight = scaled_weight(layer.weight, [(part, self._running.get(number, [])) for number, part in parts])
            return layer._conv_forward(input, weight, layer.bias)

        return forward

    def enter(self, context: TaskContext) -> None:
        """Work with the scales of this task, where it has begun before."""
        super().enter(context)
        self._take(context.number)

    def begin_task(self, context: TaskContext) -> None:
        """Choose the trust regions."""
        super().begin_task(context)
        self._running = {}
        if not context.number:
            return
        for number, gradient in enumerate(self._gradients(context)):
            space: RegionSubspace = self.guard.subspaces[self.guard.labels[number]]
            for task in self.trusted(number, gradient):
                self.scales.add((context.number, number, task), torch.eye(len(space.region(task))).to(gradient))
        self._take(context.number)

    def trusted(self, number: int, gradient: Tensor) -> list[int]:
        """The earlier tasks that are trust regions of a matrix, by its place: the largest first."""
        space: RegionSubspace = self.guard.subspaces[self.guard.labels[number]]
        size = float(gradient.norm())
        shares = [
            float((gradient @ space.region(task).T).norm()) / size if size else 0.0
            for task in range(len(space.members))
        ]
        best = sorted(range(len(shares)), key=lambda task: -shares[task])[: self.regions]
        return [task for task in best if shares[task] > self.threshold]

    def _gradients(self, context: TaskContext) -> list[Tensor]:
        """Of the loss of the new task, on a sample of it, for each matrix."""
        model, part, number = self.model, context.part, context.number
        order = torch.randperm(len(part), generator=generator(context.seeds.method, 2, number))
        sample = part.take(order[: self.samples].to(part.labels.device))
        training = model.training
        model.eval()
        with torch.enable_grad():
            inputs, labels = next(sample.split(len(sample), next(model.parameters())))
            loss = context.outputs.loss(model(inputs), labels, number, sample.tasks)
            weights = {name: layer.weight for name, layer in self.guard.layers.items() if layer.weight.requires_grad}
            # Where the readout alone is trained there are none.
            gradients = torch.autograd.grad(loss, list(weights.values())) if weights else ()
            found = dict(zip(weights, gradients, strict=True))
        model.train(training)
        # A layer that is not trained trusts nobody.
        return [
            found[part.name][part.outputs].flatten(1) if part.name in found else torch.zeros_like(part.weight)
            for part in self.guard.parts
        ]

    def training_forward(self, network: Forward, inputs: Tensor, context: TaskContext) -> Tensor:
        """Logits of a batch; where the projection is soft, A moves with W."""
        if self.hold < 1 and self._running:
            with torch.no_grad():
                self._running = self._regions(context.number, start=False)
        return super().training_forward(network, inputs, context)

    def _take(self, task: int) -> None:
        """Work with the scales of a task."""
        self._running = self._regions(task, start=True)
        for key, scale in self.scales.items():
            scale.requires_grad_(key[0] == task)

    def _regions(self, task: int, start: bool) -> dict[int, list[Region]]:
        """Regions of a task by index of a matrix."""
        found: dict[int, list[Region]] = {}
        for (of, number, region), scale in self.scales.items():
            if of == task:
                part = self.guard.parts[number]
                span = self.guard.subspaces[part.label].region(region)
                weight = self.guard.start(number)[:, : part.features] if start else part.weight
                found.setdefault(number, []).append(Region(weight @ span.T, span, scale))
        return found

    def task_parameters(self, context: TaskContext) -> list[nn.Parameter]:
        """The scales of the running task."""
        return [scale for key, scale in self.scales.items() if key[0] == context.number]

    def network(self, model: nn.Module, task: int) -> nn.Module:
        """The network with the scales of a task in its weights."""
        copied = copy.deepcopy(super().network(model, task))
        layers = protectable(copied)
        regions = self._regions(task, start=False)
        with torch.no_grad():
            for name in self.guard.layers:
                layer = layers[name]
                layer.__dict__.pop("forward")
                chosen = [(part, regions.get(n, [])) for n, part in enumerate(self.guard.parts) if part.name == name]
                layer.weight.copy_(scaled_weight(layer.weight, chosen))
        return copied

    def kept(self, model: nn.Module, number: int) -> nn.Module:
        """The network as the task that has just ended is tested with."""
        return self.network(model, number)


class Region(NamedTuple):
    """What a layer does with the inputs of a task that it trusts.

    Attributes:
        weight: A = W B^T, (out, k).
        span: B, (k, features).
        scale: Q, (k, k).
    """

    weight: Tensor
    span: Tensor
    scale: Tensor


def scaled_weight(weight: Tensor, regions: list[tuple[WeightMatrix, list[Region]]]) -> Tensor:
    """W + sum_j A_j (Q_j - I) B_j, in the shape of W."""
    matrices = []
    for part, chosen in regions:
        matrix = weight[part.outputs].flatten(1)
        for of, span, scale in chosen:
            matrix = matrix + (of @ scale - of) @ span
        matrices.append(matrix)
    return (matrices[0] if len(matrices) == 1 else torch.cat(matrices)).view(weight.shape)


class Scales(nn.Module):
    """Parameters by (task, matrix, region); those of a saved state are made when it is loaded.

    Example:
        >>> scales = Scales()
        >>> scales.add((1, 0, 0), torch.eye(2))
        >>> fresh = Scales()
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
            task, number, region = map(int, name.split("_"))
            yield (task, number, region), value

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any, **kwargs: Any) -> None:
        for key, value in state_dict.items():
            name = key.removeprefix(prefix)
            if key.startswith(prefix) and name not in self._parameters:
                self.register_parameter(name, nn.Parameter(torch.empty_like(value)))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
