"""Scaled gradient projection."""

from typing import Any

from orthotrace.core.errors import checked
from orthotrace.methods.gpm import SampledProjection
from orthotrace.subspace import WeightedSubspace


class SGP(SampledProjection):
    """Holds the principal directions of each layer's inputs by their importance: what matters less may move a little.

    The share is taken of each step that the optimizer applied; the paper takes it of the gradient, which is the same
    for SGD. The projection is soft, so the leak that is reported is not zero.

    Args:
        alpha: how soon a direction counts as fully important, at least 0 (paper: 10 for CIFAR-100, 3 for its
            superclasses).
        **options: as for SampledProjection.

    Source: Saha & Roy, Continual Learning with Scaled Gradient Projection, AAAI 2023.
    """

    @checked
    def __init__(self, alpha: float = 10.0, **options: Any) -> None:
        super().__init__(**options)
        self.alpha = alpha

    def subspace(self, features: int, seed: int, **options: Any) -> WeightedSubspace:
        """Principal directions with importances."""
        return WeightedSubspace(features, alpha=self.alpha, **options)
