"""Training in the null space of earlier inputs (Adam-NSCL)."""

from typing import Any

from torch import nn

from orthotrace.core.errors import checked
from orthotrace.core.seeds import Seeds
from orthotrace.data.streams import Stream
from orthotrace.methods.context import TaskContext
from orthotrace.methods.projection import ProjectionMethod, own_share
from orthotrace.subspace import NullSpace


class NSCL(ProjectionMethod):
    """Leaves free the directions in which the inputs of all tasks so far have the least energy.

    The paper projects what Adam applies; so does the guard, for any optimizer. It penalises changes of batch
    normalisation by EWC, where the guard freezes it.

    Args:
        factor: free are directions of at most this times the least energy, at least 1 (paper: 10, or 30 for 20 tasks).
        **options: as for ProjectionMethod.

    Source: Wang, Li, Sun & Xu, CVPR 2021.
    """

    more = "a smaller factor holds more"
    reads_gradients = False

    @checked
    def __init__(self, factor: float = 10.0, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor

    def subspace(self, features: int, seed: int, **options: Any) -> NullSpace:
        """All but the null space of a layer's inputs."""
        return NullSpace(features, factor=self.factor, **options)

    def setup(self, model: nn.Module, seeds: Seeds, stream: Stream) -> None:
        """Make the covariances, which grow while a task is trained where a stream may be seen once only."""
        super().setup(model, seeds, stream)
        self.watches = stream.online

    def learn(self, context: TaskContext) -> None:
        """Add the inputs of all training images to the covariances."""
        if self.watches:
            return
        for inputs in self.inputs(context, own_share(context.part)):
            self.guard.observe(inputs)
