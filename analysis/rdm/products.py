"""Products of patterns, block by block of features, and the sizes in which they are numbers."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Stimuli at once: of a symmetric product half is enough.
ROWS = 250


def gram(parts: Iterator[Tensor], x: Tensor) -> Tensor:
    """The sum of X X^T over blocks of features, in float64: the upper triangle by blocks of rows, then the lower."""
    n = len(x)
    found = torch.zeros(n, n, dtype=torch.float64, device=x.device)
    for part in parts:
        for start in range(0, n, ROWS):
            stop = start + ROWS
            found[start:stop, start:] += part[start:stop] @ part[start:].T
    return found.triu_().add_(found.triu(1).T)


def squares(part: Tensor) -> Tensor:
    """The sum of squares of each pattern, (n,): by halves, where a product rounds many terms of one sign in turn."""
    return part.square().sum(1).double()


def upper(values: Tensor) -> NDArray[np.float64]:
    """The upper triangle of (n, n), row by row."""
    rows, columns = torch.triu_indices(len(values), len(values), offset=1, device=values.device)
    return values[rows, columns].cpu().numpy()


def largest(x: Tensor) -> Tensor:
    """The largest entry of each pattern in size, (n,), without a copy of all."""
    low, high = x.aminmax(dim=1)
    return torch.maximum(high, -low)


def sizes(x: Tensor) -> Tensor | None:
    """The largest entry of each pattern, (n, 1), 1 where there is none; None where no square leaves the numbers."""
    size = largest(x)[:, None]
    if bool(((size > 1e-8) & (size < 1e8)).all()):
        return None
    return torch.where(size == 0, 1, size)


def scaled(part: Tensor, size: Tensor | None) -> Tensor:
    """In units of sizes."""
    return part if size is None else part / size
