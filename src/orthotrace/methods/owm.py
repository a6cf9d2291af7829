"""Orthogonal weights modification."""

from typing import Any

import torch
from torch import nn

from orthotrace.core.errors import checked
from orthotrace.core.seeds import Seeds
from orthotrace.data.streams import Stream
from orthotrace.methods.context import TaskContext
from orthotrace.methods.projection import ProjectionMethod
from orthotrace.subspace import RecursiveSubspace


class OWM(ProjectionMethod):
    """Multiplies each step by a projector that a recursion builds from the mean inputs of batches.

    At the end of a task its batches are shown once more to the recursion, or while it is trained where a stream may be
    seen once only. Either way the projector of a task never knows the task itself, as that of the public code does.
    The projection is soft, so the leak that is reported is not zero.

    Args:
        alpha: of the recursion, above 0; the smaller, the more is held.
        **options: as for ProjectionMethod.

    Source: Zeng, Chen, Cui & Yu, Nature Machine Intelligence 2019.
    """

    more = "a smaller alpha holds more"

    @checked
    def __init__(self, alpha: float = 1000.0, **options: Any) -> None:
        super().__init__(**options)
        self.alpha = alpha

    def subspace(self, features: int, seed: int, **options: Any) -> RecursiveSubspace:
        """The projector of a layer."""
        return RecursiveSubspace(features, alpha=self.alpha, **options)

    def setup(self, model: nn.Module, seeds: Seeds, stream: Stream) -> None:
        """Make the projectors."""
        super().setup(model, seeds, stream)
        self.watches = stream.online

    def learn(self, context: TaskContext) -> None:
        """One pass over the task, in batches of the size of training."""
        if self.watches:
            return
        for batch in self.batches(context):
            with torch.no_grad(), self.guard.watching() as inputs:
                self.model(batch.inputs)
            self.guard.observe(inputs)
