"""The cases of `scripts/benchmark.py whitening`: batch normalisation and the paper's search beside concept whitening.

The peer of an alignment is the curvilinear search that Chen, Bei & Rudin (2020) turn their axes with, written for this
benchmark from the formulas of Wen & Yin (A feasible method for optimization with orthogonality constraints, 2013,
section 4): all of R moves along a Cayley curve, R(t) = (I + t/2 A)^-1 (I - t/2 A) R with A = G R^T - R G^T, at a step t
that a bisection finds by the Armijo and Wolfe conditions. As in the paper, G is held while a step is searched for:
along the curve the objective is judged by its linear part, which for a convex objective is a bound from below. Other
than in the public code, G is the true gradient, found anew after every step, trials are at most 60, and the search ends
where the objective does. It is given whitened features; ours is given inputs, and the inverse root of their covariance
as an evaluation pass through the layer has left it (its own time is in the record, root_s).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from measuring import measured
from torch import Tensor, nn

from orthotrace.layers import ConceptWhitening
from orthotrace.layers.reductions import Reduction, reduced
from orthotrace.linalg import orthonormalise

CONCEPTS, IMAGES, SIDE, AMPLITUDE = 7, 50, 6, 4.0
# Shape, and the largest ratio to batch normalisation that is promised.
TRAINED = (((64, 256, 14, 14), 11.0), ((64, 512, 7, 7), 34.0), ((16, 64, 56, 56), None))
EVALUATED = (64, 256, 14, 14)
ALIGNED = tuple((width, reduction) for width in (64, 256, 512) for reduction in ("mean", "pool_max"))
FASTER = 100.0


@dataclass
class Search:
    """The peer: turns a rotation by curvilinear search.

    Args:
        features: of each concept, whitened, (k, n, d, places...).
        reduction: of the maps.
        trials: of a step's size, at most.
        tolerance: the search ends with a step that gains less, relative to the objective.
        steps: at most.

    Attributes:
        inverses: of d x d matrices, so far.
        objectives: after each step.
    """

    features: Tensor
    reduction: Reduction
    trials: int = 60
    tolerance: float = 1e-6
    steps: int = 500

    def __post_init__(self) -> None:
        self.inverses = 0
        self.objectives: list[float] = []

    def gradient(self, rotation: Tensor) -> tuple[float, Tensor]:
        """The objective, and its gradient in the rotation, zero below the rows of the concepts."""
        rows = rotation[: len(self.features)].detach().clone().requires_grad_()
        answers = [
            reduced((row @ one.flatten(2)).view(len(one), 1, *one.shape[2:]), self.reduction).mean()
            for row, one in zip(rows, self.features, strict=True)
        ]
        total = torch.stack(answers).sum()
        gradient = torch.zeros_like(rotation)
        gradient[: len(rows)] = torch.autograd.grad(total, rows)[0]
        return float(total), gradient

    def run(self) -> Tensor:
        """The rotation that the search ends at, begun from the identity."""
        rotation = torch.eye(self.features.shape[2])
        step = 1.0
        for _ in range(self.steps):
            objective, gradient = self.gradient(rotation)
            self.objectives.append(objective)
            if len(self.objectives) > 1 and objective - self.objectives[-2] <= self.tolerance * abs(objective):
                break
            rotation, step = self.step(rotation, -gradient, step)
        return rotation

    def step(self, rotation: Tensor, gradient: Tensor, step: float) -> tuple[Tensor, float]:
        """A step downhill by Armijo and Wolfe, and its size."""
        skew = gradient @ rotation.T - rotation @ gradient.T
        identity = torch.eye(len(rotation))
        value, slope = float((gradient * rotation).sum()), -0.5 * float(skew.square().sum())
        low, high = 0.0, torch.inf
        found = rotation
        for _ in range(self.trials):
            half = step / 2 * skew
            # Both the new point and its derivative: -(I + t/2 A)^-1 A (R + R(t)) / 2.
            factor, pivots = torch.linalg.lu_factor(identity + half)
            found = torch.linalg.lu_solve(factor, pivots, rotation - half @ rotation)
            self.inverses += 1
            after = float((gradient * found).sum())
            if after > value + 1e-4 * step * slope + 1e-7 * abs(value):
                high = step
            else:
                towards = -torch.linalg.lu_solve(factor, pivots, skew @ (rotation + found) / 2)
                if float((gradient * towards).sum()) >= 0.9 * slope:
                    break
                low = step
            step = (low + high) / 2 if high < torch.inf else 2 * step
        return found, step
