"""The cases of `scripts/benchmark.py whitening`: batch normalisation and the paper's search beside concept whitening.

The peer of an alignment is the curvilinear search that Chen, Bei & Rudin (2020) turn their axes with, written for this
benchmark from the formulas of Wen & Yin (A feasible method for optimization with orthogonality constraints, 2013,
section 4): all of R moves along a Cayley curve, R(t) = (I + t/2 A)^-1 (I - t/2 A) R with A = G R^T - R G^T, at a step t
that a bisection finds by the Armijo and Wolfe conditions. As in the paper, G is held while a step is searched for:
along the curve the objective is judged by its linear part, which for a convex objective is a bound from below. Other
than in the public code, G is the true gradient, found anew after every step, a trial solves instead of inverting, there
are at most 60 of them, and the search ends where the objective does. The search of each step begins with t = 1000, as
in the public code, or, as Wen & Yin would, with the size of the step before. It is given whitened features; ours is
given inputs, and the inverse root of their covariance as an evaluation pass has left it (root_s is its own time).
An update of R alone, from the whitened mean features of the concepts to the rotation, is a case of its own: there both
are given the same k x d matrix, and the objective is linear.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from measuring import measured
from torch import Tensor, nn

from orthotrace.layers import ConceptWhitening
from orthotrace.layers.reductions import Reduction, reduced
from orthotrace.linalg import orthonormalise, polar, rotated

CONCEPTS, IMAGES, SIDE, AMPLITUDE = 7, 50, 6, 4.0
Shape = tuple[int, ...]
# Shape, and the largest ratio to batch normalisation that is promised.
TRAINED: dict[Shape, float | None] = {(64, 256, 14, 14): 11.0, (64, 512, 7, 7): 34.0, (16, 64, 56, 56): None}
EVALUATED: Shape = (64, 256, 14, 14)
WIDTHS = (64, 256, 512)
REDUCTIONS: tuple[Reduction, ...] = ("mean", "pool_max")
# Of the search over ours, at least.
FASTER = 100.0
BEGINNINGS = {"curvilinear search from t = 1000": 1000.0, "curvilinear search from the last step": None}


@dataclass
class Search:
    """The peer: turns a rotation by curvilinear search.

    Args:
        features: of each concept, whitened, (k, n, d, places...).
        reduction: of the maps.
        trials: of a step's size, at most.
        begin: size of a step tried first; None: that of the step before.
        tolerance: the search ends with a step that gains less, relative to the objective.
        steps: at most.

    Attributes:
        solves: of d x d systems, so far.
        objectives: after each step.
    """

    features: Tensor
    reduction: Reduction
    begin: float | None = None
    trials: int = 60
    tolerance: float = 1e-6
    steps: int = 500

    def __post_init__(self) -> None:
        self.solves = 0
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
        return float(total.detach()), gradient

    def run(self) -> Tensor:
        """The rotation that the search ends at, begun from the identity."""
        rotation = torch.eye(self.features.shape[2])
        step = 1.0
        for _ in range(self.steps):
            objective, gradient = self.gradient(rotation)
            self.objectives.append(objective)
            if len(self.objectives) > 1 and objective - self.objectives[-2] <= self.tolerance * abs(objective):
                break
            rotation, step = self.step(rotation, -gradient, self.begin or step)
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
            self.solves += 1
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


def planted(width: int, images: int = IMAGES, side: int = SIDE) -> Tensor:
    """White maps of each concept with its direction planted at one place of each, (k, n, d, side, side)."""
    draws = torch.Generator().manual_seed(0)
    true = orthonormalise(torch.randn(CONCEPTS, width, generator=draws))
    maps = torch.randn(CONCEPTS, images, width, side * side, generator=draws)
    places = torch.randint(side * side, (CONCEPTS, images), generator=draws)
    for concept, direction in enumerate(true):
        maps[concept, torch.arange(images), :, places[concept]] += AMPLITUDE * direction
    return maps.unflatten(3, (side, side))


def products_against_batch_norm(rounds: int, shape: Shape) -> list[Any]:
    """Times of the five products of channels with images that whitening consists of, alone, and of batch normalisation.

    Forward S = X X^T and Y = W X; backward W^T dY, dW = dY X^T, and dS X.
    """
    channels, places = shape[1], shape[0] * shape[2] * shape[3]
    draws = torch.Generator().manual_seed(0)
    inputs, slopes = (torch.randn(channels, places, generator=draws) for _ in range(2))
    weight, images = torch.randn(channels, channels, generator=draws), torch.randn(shape, generator=draws)
    layer = nn.BatchNorm2d(channels)

    def products() -> None:
        square = inputs @ inputs.T
        _ = weight @ inputs, weight.T @ slopes, slopes @ inputs.T, square @ inputs

    def peer() -> None:
        layer(images.detach().requires_grad_()).backward(images)

    products()
    peer()
    times = []
    for _ in range(rounds):
        peer_s, peer_mb, _ = measured(peer)
        ours_s, ours_mb, _ = measured(products)
        times.append((ours_s, ours_mb, peer_s, peer_mb))
    return times


def against_batch_norm(rounds: int, shape: Shape, training: bool) -> list[Any]:
    """Times of concept whitening and of batch normalisation: forward and backward, or evaluation."""
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(shape, generator=draws)
    slopes = torch.randn(shape, generator=draws)
    layers = [ConceptWhitening(shape[1], ["concept"]).train(training), nn.BatchNorm2d(shape[1]).train(training)]

    def once(layer: nn.Module) -> None:
        if training:
            layer(inputs.detach().requires_grad_()).backward(slopes)
        else:
            with torch.no_grad():
                layer(inputs)

    for layer in layers:
        once(layer)
    times = []
    for _ in range(rounds):
        peer_s, peer_mb, _ = measured(lambda: once(layers[1]))
        ours_s, ours_mb, _ = measured(lambda: once(layers[0]))
        times.append((ours_s, ours_mb, peer_s, peer_mb))
    return times


def against_search(
    rounds: int, features: Tensor, reduction: Reduction, begin: float | None
) -> tuple[list[Any], dict[str, Any]]:
    """Times of an alignment to the objective of the search, and of the search; what both reach."""
    sets = {f"concept {number}": one for number, one in enumerate(features)}
    # What the layer whitens with as long as it has seen nothing: inputs are white but for its shrinkage.
    whitened = features / (1 + 1e-5) ** 0.5
    times, roots, reached, goal, solves = [], [], 0.0, 0.0, 0
    for _ in range(rounds):
        search = Search(whitened, reduction, begin)
        peer_s, peer_mb, _ = measured(search.run)
        goal, solves = search.objectives[-1], search.solves
        layer = ConceptWhitening(features.shape[2], list(sets), reduction=reduction, memory=0.0, steps=1).eval()
        roots.append(measured(layer.affine)[0])
        ours_s, ours_mb, reached = measured(lambda layer=layer, goal=goal: aligned(layer, sets, goal))
        times.append((ours_s, ours_mb, peer_s, peer_mb))
    extra = {"ours_objective": round(reached, 5), "peer_objective": round(goal, 5), "peer_solves": solves}
    return times, {**extra, "root_s": round(statistics.median(roots), 5)}


def update_against_search(rounds: int, features: Tensor, begin: float | None) -> tuple[list[Any], dict[str, Any]]:
    """Times of one update of the rotation by the mean features of the concepts, and of the search for it."""
    means = features.mean((1, 3, 4))
    places = torch.arange(len(means))
    identity = torch.eye(means.shape[1])
    times, reached, goal, solves = [], 0.0, 0.0, 0
    for _ in range(rounds):
        search = Search(means[:, None, :, None], "mean", begin)
        peer_s, peer_mb, _ = measured(search.run)
        goal, solves = search.objectives[-1], search.solves
        # A millisecond: the best of a few, where the machine has other things to do.
        tries = [measured(lambda: rotated(identity, places, polar(means))) for _ in range(5)]
        ours_s, ours_mb, rotation = min(tries, key=lambda one: one[0])
        reached = float((rotation[places] * means).sum())
        times.append((ours_s, ours_mb, peer_s, peer_mb))
    return times, {"ours_objective": round(reached, 5), "peer_objective": round(goal, 5), "peer_solves": solves}


def aligned(layer: ConceptWhitening, sets: dict[str, Tensor], goal: float, updates: int = 50) -> float:
    """The objective after updates until it is the goal, to the digits of float32; at most so many."""
    reached = layer.align(sets)
    for _ in range(updates - 1):
        if reached >= goal - 1e-6 * abs(goal):
            break
        reached = layer.align(sets)
    return reached


def table(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of the table of docs/results/concepts.md: the two searches of a case in one."""
    lines: dict[str, list[str]] = {}
    for one in records:
        ours, peer = (
            f"{1000 * one[key]:.2g}" if one[key] < 0.01 else f"{1000 * one[key]:.0f}" for key in ("ours_s", "peer_s")
        )
        if "ours_over_peer" in one:
            lines[one["case"]] = [f"{ours} ms", f"batch norm {peer} ms", f"{one['ours_over_peer']:.1f} x its time"]
        elif one["case"] not in lines:
            lines[one["case"]] = [f"{ours} ms", f"search {peer} ms", f"{one['peer_over_ours']:.0f}"]
        else:
            lines[one["case"]][1] += f"; {peer} ms"
            lines[one["case"]][2] += f"; {one['peer_over_ours']:.0f} times faster"
    return [f"| {case} | {' | '.join(cells)} |" for case, cells in lines.items()]
