"""Trust region gradient projection."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear

from orthotrace.core.errors import checked
from orthotrace.methods.context import Forward, TaskContext
from orthotrace.methods.task_weights import Addend, TaskParameters, TaskWeights
from orthotrace.subspace import RegionSubspace


class TRGP(TaskWeights):
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
        rate: learning rate of the scales, over that of the weights; above 0. None: 1 - momentum of the optimizer, so
            that a gradient moves them as far in all as by plain SGD, the paper's; with momentum .9 and a rate of 1
            they often diverge.
        **options: as for SampledProjection.

    Source: Lin, Yang, Fan & Zhang, TRGP: Trust Region Gradient Projection for Continual Learning, ICLR 2022.
    """

    reads_gradients = False

    @checked
    def __init__(
        self,
        threshold: Annotated[float, Field(ge=0, le=1)] = 0.5,
        regions: Annotated[int, Field(ge=0)] = 2,
        rate: Annotated[float, Field(gt=0)] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.threshold = threshold
        self.regions = regions
        self.rate = rate
        self.scales = TaskParameters()

    def subspace(self, features: int, seed: int, **options: Any) -> RegionSubspace:
        """Principal directions, and those of each task."""
        return RegionSubspace(features, **options)

    def begin_task(self, context: TaskContext) -> None:
        """Choose the trust regions."""
        super().begin_task(context)
        self._running = {}
        if not context.number:
            return
        for number, gradient in enumerate(self.gradients(context, self.sample(context))):
            space: RegionSubspace = self.guard.subspaces[self.guard.labels[number]]
            for task in self.trusted(number, gradient):
                self.scales.add((context.number, number, task), torch.eye(len(space.region(task))).to(gradient))
        self.take(context.number)

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

    def training_forward(self, network: Forward, inputs: Tensor, context: TaskContext) -> Tensor:
        """Logits of a batch; where the projection is soft, A moves with W."""
        if self.hold < 1 and self._running:
            with torch.no_grad():
                self._running = self.addends(context.number, start=False)
        return super().training_forward(network, inputs, context)

    def take(self, task: int) -> None:
        """Work with the scales of a task, and train them."""
        self._running = self.addends(task, start=True)
        for key, scale in self.scales.items():
            scale.requires_grad_(key[0] == task)

    def addends(self, task: int, start: bool) -> dict[int, list[Addend]]:
        """Regions of a task, by index of a matrix."""
        found: dict[int, list[Addend]] = {}
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


class Region(NamedTuple):
    """What a layer does with the inputs of a task that it trusts: it adds A (Q - I) B.

    Attributes:
        of: A = W B^T, (out, k).
        span: B, (k, features).
        scale: Q, (k, k).
    """

    of: Tensor
    span: Tensor
    scale: Tensor

    def outputs(self, inputs: Tensor) -> Tensor:
        """A (Q - I) B x."""
        inside = linear(inputs, self.span)
        return linear(linear(inside, self.scale) - inside, self.of)

    def weight(self) -> Tensor:
        """A (Q - I) B."""
        return (self.of @ self.scale - self.of) @ self.span
