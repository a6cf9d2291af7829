"""Adaptive plasticity improvement."""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear

from orthotrace.core.distributed import all_reduce_sum, shard
from orthotrace.core.errors import checked
from orthotrace.core.seeds import generator
from orthotrace.data.images import Images
from orthotrace.methods.context import TaskContext
from orthotrace.methods.task_weights import Addend, TaskParameters, TaskWeights
from orthotrace.protection.matrices import WeightMatrix
from orthotrace.subspace import ComplementSubspace, SvdSubspace

# Of the sample, for the mean of the retention.
BATCHES = 10


class API(TaskWeights):
    """DualGPM, in which a layer gets new inputs where too little of the gradient of a task is left.

    At a task's start the retention of each layer is measured, the mean over batches of |P G| / |G|, with G the gradient
    and P the projection. Where it is r < threshold the layer gets

        k = ceil(directions (threshold - r))

    new inputs U_t x, with U_t (k, features) the principal directions of its inputs in the new task; a convolution
    those of its channels, as k new channels. In task t it works with

        W x + sum_{j <= t} V_j U_j x.

    V_t is trained beside W, free of any projection, and kept as task t leaves it. A test must therefore know which task
    an image is of, in the domain- and class-incremental scenarios too: compare it there with methods that know it.

    Args:
        threshold: of the retention, in [0, 1] (paper: .5). 0 adds nothing: then this is DualGPM.
        directions: at least 1 (paper: 10).
        rate: learning rate of V, over that of the weights; above 0.
        **options: as for SampledProjection.

    Source: Liang & Li, Adaptive Plasticity Improvement for Continual Learning, CVPR 2023. There the retention is
    measured while the network trains on the task for some epochs, and V_j is trained in later tasks too, outside the
    inputs of earlier ones.
    """

    reads_gradients = False

    @checked
    def __init__(
        self,
        threshold: Annotated[float, Field(ge=0, le=1)] = 0.5,
        directions: Annotated[int, Field(ge=1)] = 10,
        rate: Annotated[float, Field(gt=0)] = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.threshold = threshold
        self.directions = directions
        self.rate = rate
        # V by (task, matrix, 0), U by (task, matrix, 1).
        self.added = TaskParameters()

    def subspace(self, features: int, seed: int, **options: Any) -> SvdSubspace:
        """Principal directions of a sample, or the free ones where they are the fewer."""
        return ComplementSubspace(features, **options)

    def begin_task(self, context: TaskContext) -> None:
        """Measure the retention, and add inputs where it is low."""
        super().begin_task(context)
        # With what earlier tasks added; this one has added nothing yet.
        self.take(context.number)
        if not context.number:
            return
        sample = self.sample(context)
        wanted = [
            math.ceil(self.directions * (self.threshold - share)) if share < self.threshold else 0
            for share in self.retention(context, sample)
        ]
        if any(wanted):
            spans = self._directions(context, sample, wanted)
            for number, (part, span) in enumerate(zip(self.guard.parts, spans, strict=True)):
                if len(span):
                    draw = generator(context.seeds.method, 8, context.number, number)
                    self.added.add((context.number, number, 0), new_weight(part, len(span), draw))
                    self.added.add((context.number, number, 1), span.to(part.weight))
            self.take(context.number)

    def retention(self, context: TaskContext, sample: Images) -> list[float]:
        """Mean of |P G| / |G| over batches of a sample of the task, for each matrix; 1 where there is no gradient."""
        shares: list[list[float]] = [[] for _ in self.guard.parts]
        for batch in torch.arange(len(sample)).chunk(min(BATCHES, len(sample))):
            gradients = self.gradients(context, sample.take(batch.to(sample.labels.device)))
            for number, gradient in enumerate(gradients):
                if size := float(gradient.norm()):
                    space = self.guard.subspaces[self.guard.labels[number]]
                    shares[number].append(float(space.project(gradient).norm()) / size)
        return [sum(of) / len(of) if of else 1.0 for of in shares]

    def _directions(self, context: TaskContext, sample: Images, wanted: list[int]) -> list[Tensor]:
        """Principal directions (k, channels) of the inputs of each matrix, at most so many."""
        own = sample.take(shard(torch.arange(len(sample), device=sample.labels.device)))
        moments = [part.weight.new_zeros(channels(part), channels(part)).double() for part in self.guard.parts]
        for inputs in self.inputs(context, own, draw=9):
            for part, moment in zip(self.guard.parts, moments, strict=True):
                rows = part.rows(inputs).double().unflatten(1, (channels(part), -1)).transpose(1, 2).flatten(0, 1)
                moment += rows.T @ rows
        found = []
        for part, moment, number in zip(self.guard.parts, moments, wanted, strict=True):
            all_reduce_sum(moment)
            energies, vectors = torch.linalg.eigh(moment)
            # A direction without energy tells a layer nothing.
            least = self.guard.subspaces[part.label].rounding(float(energies.clamp_min(0).sum()))
            found.append(vectors.T.flip(0)[: min(number, int((energies > least).sum()))])
        return found

    def take(self, task: int) -> None:
        """Work with the inputs that were added up to a task, and train the weights of its own."""
        self._running = self.addends(task, start=True)
        for (of, _, kind), value in self.added.items():
            value.requires_grad_(of == task and kind == 0)

    def addends(self, task: int, start: bool) -> dict[int, list[Addend]]:
        """What was added up to a task, by index of a matrix."""
        values = dict(self.added.items())
        found: dict[int, list[Addend]] = {}
        for of, number, kind in values:
            if of <= task and kind == 0:
                found.setdefault(number, []).append(Added(values[of, number, 0], values[of, number, 1]))
        return found

    def task_parameters(self, context: TaskContext) -> list[nn.Parameter]:
        """The weights that the running task added."""
        return [value for (task, _, kind), value in self.added.items() if task == context.number and kind == 0]


class Added(NamedTuple):
    """What new inputs of a layer do: V U x.

    Attributes:
        new: V, (out, k, positions of a kernel), one position in a Linear layer.
        span: U, (k, channels).
    """

    new: Tensor
    span: Tensor

    def outputs(self, inputs: Tensor) -> Tensor:
        """V U x."""
        return linear(linear(inputs, self.span), self.new.flatten(1))

    def weight(self) -> Tensor:
        """V U: (out, features)."""
        return torch.einsum("okp,kc->ocp", self.new, self.span).flatten(1)


def channels(part: WeightMatrix) -> int:
    """Inputs of a matrix, at one position of a kernel."""
    return part.layer.weight.shape[1]


def new_weight(part: WeightMatrix, count: int, draw: torch.Generator) -> Tensor:
    """V at its start, as torch begins a layer of the enlarged width n: uniform in +- 1 / sqrt(n)."""
    positions = part.features // channels(part)
    size = 1 / math.sqrt(part.features + count * positions)
    new = torch.empty(len(part.weight), count, positions, dtype=torch.float64).uniform_(-size, size, generator=draw)
    return new.to(part.weight)
