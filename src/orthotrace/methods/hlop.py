"""Hebbian learning based orthogonal projection."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from orthotrace.core.errors import checked
from orthotrace.methods.context import TaskContext
from orthotrace.methods.projection import CountedProjection
from orthotrace.subspace import HebbianSubspace, Subspace


class HLOP(CountedProjection):
    """Lateral weights learn the principal directions of each layer's inputs while the task is trained.

    Args:
        step, momentum, iterations, interval, max_rows, levels: of the Hebbian rule, see HebbianSubspace.
        start_epoch: of each task, from 1: from which epoch the rule learns.
        closing_pass: end a task with one pass over its training images, without updates of the weights, in which
            the trace is averaged. Not in the paper, and not possible where a stream may be seen once only.
        patches: drawn from the inputs of a convolution, of each batch; None for all.
        **options: as for CountedProjection.

    Source: Xiao et al., Hebbian Learning based Orthogonal Projection for Continual Learning of Spiking Neural
    Networks, ICLR 2024. The rule is scale-free here: see HebbianSubspace.
    """

    watches = True
    reads_gradients = False

    @checked
    def __init__(
        self,
        step: Annotated[float, Field(gt=0)] | None = None,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        iterations: Annotated[int, Field(ge=1)] = 1,
        interval: Annotated[int, Field(ge=1)] = 5,
        max_rows: Annotated[int, Field(ge=1)] = 100,
        start_epoch: Annotated[int, Field(ge=1)] = 1,
        closing_pass: bool = False,
        patches: Annotated[int, Field(ge=1)] | None = 1024,
        levels: Annotated[int, Field(ge=1)] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(patches=patches, **options)
        self.learning_options = {
            "step": step,
            "momentum": momentum,
            "iterations": iterations,
            "interval": interval,
            "max_rows": max_rows,
            "levels": levels,
        }
        self.start_epoch = start_epoch
        self.epochs_needed = 1 if closing_pass else start_epoch
        self.closing_pass = self.looks_again = closing_pass

    def subspace(self, features: int, seed: int, **options: Any) -> HebbianSubspace:
        """Lateral weights of a layer."""
        return HebbianSubspace(features, seed=seed, **self.learning_options, **options)

    def learn(self, context: TaskContext) -> None:
        """The closing pass, in batches of the size of training."""
        if not self.closing_pass:
            return

        def refine(space: Subspace, rows: Tensor) -> None:
            assert isinstance(space, HebbianSubspace)
            space.refine(rows)

        for batch in self.batches(context):
            with torch.no_grad(), self.guard.watching() as inputs:
                self.model(batch.inputs)
            self.guard.observe(inputs, refine)
