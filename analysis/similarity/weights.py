"""How far the weights of two networks are from each other when their hidden units are matched."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm.arrays import finite
from orthotrace.core.errors import UserError

Matrix = NDArray[np.float64]
# Over all layers, at most.
SWEEPS = 100


@dataclass(frozen=True, eq=False)
class WeightDistance:
    """Distance of the weights of two networks.

    Attributes:
        aligned: after the hidden units of the second were matched with those of the first.
        plain: as the units are numbered.
        layers: aligned, of each layer.
        orders: of each hidden layer, the unit of the second that is matched with each unit of the first.
    """

    aligned: float
    plain: float
    layers: tuple[float, ...]
    orders: tuple[NDArray[np.intp], ...]


def weight_distance(
    first: Sequence[ArrayLike], second: Sequence[ArrayLike], biases: Sequence[Sequence[ArrayLike]] | None = None
) -> WeightDistance:
    """Distance of the weights of two networks that differ in the order of their hidden units, and in what they learnt.

        d = sqrt(sum_l |A_l - P_l B_l P_(l-1)^T|^2 / sum_l (|A_l|^2 + |B_l|^2))

    The orders P_l are found layer by layer, each the best for the layer before and after it as the others are (linear
    assignment), from the input on and then over all again until nothing changes: a local optimum. Inputs and outputs
    keep their order.

    Args:
        first: weights of a chain of layers from the input on: (out, in) of Linear, (out, in, ...) of convolutions. The
            inputs of a Linear layer after a convolution are its channels by their positions, as flatten gives them.
        second: likewise, of the same shapes.
        biases: of the first and of the second network, (out,) of each layer, which then count as weights.

    Returns:
        Distances in [0, sqrt(2)]: 0 for the same weights, 1 for independent ones of mean 0.

    Raises:
        UserError: networks of other shapes, layers that are no chain, or weights that are all 0.

    Source: Ainsworth, Hayase & Srinivasa, Git Re-Basin, ICLR 2023, section 3.2 (weight matching).

    Example:
        >>> a, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, 6.0]])
        >>> found = weight_distance([a, b], [a[::-1], b[:, ::-1]])
        >>> found.aligned, round(found.plain, 3), found.orders[0].tolist()
        (0.0, 0.314, [1, 0])
    """
    mine, theirs = _chain(first, "first"), _chain(second, "second")
    if [one.shape for one in mine] != [one.shape for one in theirs]:
        raise UserError("the two networks have weights of other shapes: they cannot be matched")
    unit = max(float(np.abs(one).max()) for one in [*mine, *theirs])
    shifts: list[list[Matrix]] = [[np.zeros(len(one)) for one in mine] for _ in range(2)]
    if biases is not None:
        if len(biases) != 2 or any(len(one) != len(mine) for one in biases):
            raise UserError("those of the first and of the second network are needed, of each layer", "biases")
        shifts = [[finite(one, "biases") for one in of] for of in biases]
        if any(b.shape != (len(w),) for of in shifts for b, w in zip(of, mine, strict=True)):
            raise UserError("one of each output of each layer is needed", "biases")
        unit = max([unit, *(float(np.abs(one).max()) for of in shifts for one in of)])
    if not unit:
        raise UserError("all weights are 0: their distance is undefined")
    mine, theirs = ([one / unit for one in of] for of in (mine, theirs))
    ours, others = ([one / unit for one in of] for of in shifts)
    orders = _matched(mine, theirs, ours, others)
    moved = [_moved(one, orders, place) for place, one in enumerate(theirs)]
    turned = [one if place == len(orders) else one[orders[place]] for place, one in enumerate(others)]
    sizes = [
        float(np.sum(a**2) + np.sum(b**2) + np.sum(c**2) + np.sum(d**2))
        for a, b, c, d in zip(mine, theirs, ours, others, strict=True)
    ]
    near, far = (
        [float(np.sum((a - b) ** 2) + np.sum((c - d) ** 2)) for a, b, c, d in zip(mine, to, ours, by, strict=True)]
        for to, by in ((moved, turned), (theirs, others))
    )
    layers = tuple(float(np.sqrt(one / size)) if size else 0.0 for one, size in zip(near, sizes, strict=True))
    return WeightDistance(
        float(np.sqrt(sum(near) / sum(sizes))), float(np.sqrt(sum(far) / sum(sizes))), layers, tuple(orders)
    )


def _chain(weights: Sequence[ArrayLike], name: str) -> list[Matrix]:
    """Weights as (out, in, positions), in the units of the layer before."""
    if not len(weights):
        raise UserError("no weights were given", name)
    found: list[Matrix] = []
    for number, one in enumerate(weights):
        values = finite(one, f"{name}[{number}]")
        if values.ndim < 2 or not values.size:
            raise UserError(f"weights (out, in, ...) are needed, got shape {values.shape}", f"{name}[{number}]")
        before = len(found[-1]) if found else values.shape[1]
        if values.shape[1] % before:
            raise UserError(
                f"it has {values.shape[1]} inputs, which are no multiple of the {before} outputs of the layer before",
                f"{name}[{number}]",
            )
        found.append(values.reshape(len(values), before, -1))
    return found


def _moved(weight: Matrix, orders: list[NDArray[np.intp]], place: int) -> Matrix:
    """The weights of a layer, its inputs and outputs in the orders."""
    weight = weight if place == 0 else weight[:, orders[place - 1]]
    return weight if place == len(orders) else weight[orders[place]]


def _matched(
    mine: list[Matrix], theirs: list[Matrix], ours: list[Matrix], others: list[Matrix]
) -> list[NDArray[np.intp]]:
    from scipy.optimize import linear_sum_assignment

    orders = [np.arange(len(one)) for one in mine[:-1]]
    before = orders.copy()
    for sweep, place in itertools.product(range(SWEEPS), range(len(orders))):
        if place == 0:
            before = [one.copy() for one in orders]
        n = len(mine[place])
        inputs = theirs[place] if place == 0 else theirs[place][:, orders[place - 1]]
        alike = mine[place].reshape(n, -1) @ inputs.reshape(n, -1).T + np.outer(ours[place], others[place])
        # At first by what comes in alone: the order of the layer after is not known yet.
        if sweep or len(orders) == 1:
            after = theirs[place + 1] if place + 1 == len(orders) else theirs[place + 1][orders[place + 1]]
            a, b = (one.transpose(1, 0, 2).reshape(n, -1) for one in (mine[place + 1], after))
            alike = alike + a @ b.T
        found = linear_sum_assignment(alike, maximize=True)[1]
        at = np.arange(n)
        # One that is no better leaves the order as it is: rounding would turn in circles.
        if not sweep or alike[at, found].sum() > alike[at, orders[place]].sum() + 1e-12 * np.abs(alike).sum():
            orders[place] = found
        if sweep and place + 1 == len(orders) and all(map(np.array_equal, before, orders)):
            break
    return orders
