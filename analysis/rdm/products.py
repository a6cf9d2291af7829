"""Products of patterns, block by block of features, and the sizes in which they are numbers."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orthotrace.analysis.rdm.pieces import ordered


class Moments(NamedTuple):
    """Of patterns, over all features, in float64.

    Attributes:
        products: X X^T, (n, n).
        squares: the sum of squares of each pattern, (n,).
        sums: of each pattern, (n,).
    """

    products: Tensor
    squares: Tensor
    sums: Tensor


def moments(x: Tensor, block: int, prepare: Callable[[Tensor], Tensor] = lambda part: part) -> Moments:
    """The moments of patterns by blocks of features: products in the patterns' type, the sums of them in float64.

    Args:
        x: patterns, (n, p).
        block: features at once.
        prepare: what is done to a block first.
    """

    def of(number: int) -> tuple[Tensor, Tensor, Tensor]:
        part = prepare(x[:, number * block : (number + 1) * block])
        return _products(part), squares(part), part.sum(1)

    found = Moments(
        *(torch.zeros(*shape, dtype=torch.float64, device=x.device) for shape in ((len(x),) * 2, *[(len(x),)] * 2))
    )
    for parts in ordered(of, -(-x.shape[1] // block)):
        for into, part in zip(found, parts, strict=True):
            into += part
    return found


def _products(part: Tensor) -> Tensor:
    """X X^T: on a CPU by numpy, which computes half of it, and whose library is the faster one on many machines."""
    if part.device.type != "cpu":
        return part @ part.T
    array = part.contiguous().numpy()
    return torch.from_numpy(array @ array.T)


def squares(part: Tensor) -> Tensor:
    """The sum of squares of each pattern, (n,): by halves, where a product rounds many terms of one sign in turn."""
    return part.square().sum(1).double()


def upper(values: Tensor) -> NDArray[np.float64]:
    """The upper triangle of (n, n), row by row."""
    rows, columns = torch.triu_indices(len(values), len(values), offset=1, device=values.device)
    return values[rows, columns].cpu().numpy()


def largest(x: Tensor) -> Tensor:
    """The largest entry of each pattern in size, (n,), without a copy of all."""
    # aminmax along a dimension takes six times as long.
    return torch.maximum(x.amax(1), -x.amin(1))


def sizes(x: Tensor) -> Tensor | None:
    """The largest entry of each pattern, (n, 1), 1 where there is none; None where no square leaves the numbers."""
    size = largest(x)[:, None]
    if bool(((size > 1e-8) & (size < 1e8)).all()):
        return None
    return torch.where(size == 0, 1, size)


def scaled(part: Tensor, size: Tensor | None) -> Tensor:
    """In units of sizes."""
    return part if size is None else part / size
