"""The rule of Duncker et al. for recurrent networks."""

from typing import Any

import torch

from orthotrace.core.errors import checked
from orthotrace.methods.context import TaskContext
from orthotrace.methods.projection import ProjectionMethod
from orthotrace.subspace import TwoSidedSubspace


class Duncker(ProjectionMethod):
    """Multiplies each step by projectors of a layer's inputs and of its outputs: dW <- P_out dW P_in.

    See TwoSidedSubspace. At the end of a task its images are shown once more to the moments. Of a recurrent layer the
    inputs are [x; h] of all steps. The projection is soft, so the leak that is reported is not zero. A bias is held
    after the first task.

    Args:
        alpha: above 0; the smaller, the more is held.
        **options: as for ProjectionMethod.

    Source: Duncker, Driscoll, Shenoy, Sahani & Sussillo, NeurIPS 2020, with alpha .001.
    """

    more = "a smaller alpha holds more"

    @checked
    def __init__(self, alpha: float = 0.001, **options: Any) -> None:
        super().__init__(**options)
        self.alpha = alpha

    def subspace(self, features: int, seed: int, **options: Any) -> TwoSidedSubspace:
        """The projectors of a layer."""
        return TwoSidedSubspace(features, alpha=self.alpha, **options)

    def learn(self, context: TaskContext) -> None:
        """One pass over the task, and the weights at its end."""
        for batch in self.batches(context):
            with torch.no_grad(), self.guard.watching() as inputs:
                self.model(batch.inputs)
            self.guard.observe(inputs)
        for part in self.guard.parts:
            self.guard.subspaces[part.label].see(part.weight)
