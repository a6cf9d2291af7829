"""Gradient projection memory."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field

from orthotrace.core.distributed import shard
from orthotrace.core.errors import checked
from orthotrace.core.seeds import generator
from orthotrace.methods.context import TaskContext
from orthotrace.methods.projection import CountedProjection, ProjectionMethod
from orthotrace.subspace import ComplementSubspace, SvdSubspace


class SampledProjection(CountedProjection):
    """A projection method that holds principal directions of each layer's inputs on random samples of a task.

    Args:
        samples: training images drawn at the end of each task, at least 1 (GPM: 300 for permuted MNIST, 125 for
            CIFAR-100, 100 for 5-Datasets).
        **options: as for CountedProjection.
    """

    @checked
    def __init__(self, samples: Annotated[int, Field(ge=1)] = 300, **options: Any) -> None:
        super().__init__(**options)
        self.samples = samples

    def learn(self, context: TaskContext) -> None:
        """Draw the samples and let the subspaces observe them."""
        observe_sample(self, context, self.samples)


def observe_sample(method: ProjectionMethod, context: TaskContext, samples: int) -> None:
    """Let the subspaces of a method observe so many random training images of a task."""
    part = context.part
    order = torch.randperm(len(part), generator=generator(context.seeds.method, 1, context.number))
    sample = shard(order[:samples])
    for inputs in method.inputs(context, part.take(sample.to(part.labels.device))):
        method.guard.observe(inputs)


class GPM(SampledProjection):
    """Holds the principal directions of each layer's inputs.

    The paper projects the gradient; here the guard projects what the optimizer applied, which is the same for SGD and
    exact for every other optimizer.

    Args:
        complement: keep the free directions instead where they are the fewer (DualGPM): never more than half of the
            features in memory.
        **options: as for SampledProjection.

    Source: Saha, Garg & Roy, Gradient Projection Memory for Continual Learning, ICLR 2021.
    """

    reads_gradients = False

    @checked
    def __init__(self, complement: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.kind = ComplementSubspace if complement else SvdSubspace

    def subspace(self, features: int, seed: int, **options: Any) -> SvdSubspace:
        """Principal directions of a sample."""
        return self.kind(features, **options)
