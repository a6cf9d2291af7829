"""Backward transfer beside gradient projection (CUBER)."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import checked
from orthotrace.core.seeds import Seeds
from orthotrace.data.images import Batch
from orthotrace.data.streams import Stream
from orthotrace.methods.base import Outcome
from orthotrace.methods.context import Forward, TaskContext
from orthotrace.methods.trgp import TRGP
from orthotrace.subspace import ReleasedSubspace


class CUBER(TRGP):
    """TRGP, in which a layer may change what it learned in tasks that the new one agrees with.

    At a task's start an earlier task j whose inputs hold enough of the gradient G of the new task,
    |G B_j^T| > threshold |G| (at most ``regions`` of them in each layer), is one of two kinds:

        <G_j, G> > correlation |G_j| |G|: its rows are let go, so that W may move along them, and the loss has
            strength |(W - W0) R^T|^2 beside it, with R the rows that are let go and W0 the weight at the start;
        else: it is a trust region, as in TRGP, and W does not move along its rows,

    with G_j the gradient at the end of task j, which is kept. Rows that another task needs too stay held. A test must
    know which task an image is of, in every scenario, as for TRGP.

    Args:
        correlation: in [0, 1).
        strength: of the penalty, at least 0.
        **options: as for TRGP.

    Source: Lin, Yang, Fan & Zhang, Beyond Not-Forgetting: Continual Learning with Backward Knowledge Transfer, NeurIPS
    2022, definitions 1 and 2. Its values of correlation and strength are not taken over: tune them.
    """

    reads_gradients = False

    @checked
    def __init__(
        self,
        correlation: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        strength: Annotated[float, Field(ge=0)] = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.correlation = correlation
        self.strength = strength

    def subspace(self, features: int, seed: int, **options: Any) -> ReleasedSubspace:
        """Principal directions, and those of each task, which may be let go."""
        return ReleasedSubspace(features, **options)

    def setup(self, model: nn.Module, seeds: Seeds, stream: Stream) -> None:
        """Make room for the gradients of all tasks."""
        super().setup(model, seeds, stream)
        for number, part in enumerate(self.guard.parts):
            self.register_buffer(f"gradients_{number}", torch.zeros(0, *part.weight.shape).to(part.weight))

    def trusted(self, number: int, gradient: Tensor) -> list[int]:
        """The trust regions of a matrix; those that agree with the new task are let go instead."""
        found = super().trusted(number, gradient)
        kept: Tensor = getattr(self, f"gradients_{number}")
        agreeing = [task for task in found if self._agrees(kept[task], gradient)]
        self.guard.subspaces[self.guard.labels[number]].release(agreeing)
        return [task for task in found if task not in agreeing]

    def _agrees(self, old: Tensor, new: Tensor) -> bool:
        return float((old * new).sum()) > self.correlation * float(old.norm()) * float(new.norm())

    def loss(self, network: Forward, batch: Batch, context: TaskContext) -> tuple[Tensor, Tensor]:
        """Loss of the batch, and how far the weights moved along what is let go."""
        loss, logits = super().loss(network, batch, context)
        for number, part in enumerate(self.guard.parts):
            rows = self.guard.subspaces[part.label].let_go()
            if len(rows):
                moved = part.of(part.parameter) - self.guard.start(number)[:, : part.features]
                loss = loss + self.strength * (moved.to(rows.dtype) @ rows.T).square().sum()
        return loss, logits

    def end_task(self, context: TaskContext) -> Outcome:
        """Keep the gradient of the task."""
        for number, gradient in enumerate(self.gradients(context, self.sample(context))):
            kept: Tensor = getattr(self, f"gradients_{number}")
            setattr(self, f"gradients_{number}", torch.cat([kept, gradient[None].to(kept)]))
        return super().end_task(context)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        for name, buffer in self._buffers.items():
            saved = state_dict.get(prefix + name)
            if name.startswith("gradients_") and saved is not None and buffer is not None:
                self._buffers[name] = buffer.new_zeros(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
