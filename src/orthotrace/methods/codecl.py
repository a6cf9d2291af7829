"""Gradient projection by conceptors (CODE-CL)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from orthotrace.core.errors import checked
from orthotrace.methods.context import TaskContext
from orthotrace.methods.gpm import observe_sample
from orthotrace.methods.projection import ProjectionMethod
from orthotrace.subspace import ConceptorSubspace


class CodeCL(ProjectionMethod):
    """Holds the directions of each layer's inputs by how much the inputs use them, in a conceptor.

    The share is taken of each step that the optimizer applied; the paper takes it of the gradient, which is the same
    for SGD. The paper also learns to mix directions that tasks share; that is left out. The projection is soft, so the
    leak that is reported is not zero.

    Args:
        aperture: of the conceptor at the start, above 0 (paper: 6 for AlexNet, 8 for ResNet18).
        threshold: share of the inputs that it must keep, in (0, 1) (paper: .95).
        cut: eigenvalues below it are left free, in [0, 1) (paper: .2).
        samples: training images drawn at the end of each task, at least 1.
        **options: as for ProjectionMethod.

    Source: Apolinario, Choudhary & Roy, CODE-CL, ICCV 2025.
    """

    more = "a larger aperture, or a smaller cut, holds more"

    @checked
    def __init__(
        self,
        aperture: Annotated[float, Field(gt=0)] = 6.0,
        threshold: Annotated[float, Field(gt=0, lt=1)] = 0.95,
        cut: Annotated[float, Field(ge=0, lt=1)] = 0.2,
        samples: Annotated[int, Field(ge=1)] = 300,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.aperture = aperture
        self.threshold = threshold
        self.cut = cut
        self.samples = samples

    def subspace(self, features: int, seed: int, **options: Any) -> ConceptorSubspace:
        """The conceptor of a layer's inputs."""
        return ConceptorSubspace(features, aperture=self.aperture, threshold=self.threshold, cut=self.cut, **options)

    def learn(self, context: TaskContext) -> None:
        """Draw the samples and let the conceptors observe them."""
        observe_sample(self, context, self.samples)
