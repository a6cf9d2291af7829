"""Products of patterns, block by block of features; distances of pairs that nearly coincide are computed anew."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Stimuli at once: of a symmetric product half is enough.
ROWS = 250
# Below this part of the squares of the patterns, a squared distance by their product has lost too many digits.
NEAR = 1e-5
# Entries of differences at once.
ENTRIES = 2**20


def gram(parts: Iterator[Tensor], x: Tensor) -> Tensor:
    """The sum of X X^T over blocks of features, in float64: the upper triangle by blocks of rows, then the lower."""
    n = len(x)
    found = torch.zeros(n, n, dtype=torch.float64, device=x.device)
    for part in parts:
        for start in range(0, n, ROWS):
            stop = start + ROWS
            found[start:stop, start:] += part[start:stop] @ part[start:].T
    return found.triu_().add_(found.triu(1).T)


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


def squared_distances(x: Tensor, block: int) -> tuple[Tensor, float]:
    """Squared Euclidean distances (n, n) in units of the square of a scale, and the scale.

    Example:
        >>> squared_distances(torch.tensor([[0.0], [3.0], [3.0]]), 1)[0][0].tolist()
        [0.0, 9.0, 9.0]
    """
    most = float(largest(x).amax()) or 1.0
    scale = 1.0 if 1e-8 < most < 1e8 else most
    # Features are centred first: a common mean would take the digits in which stimuli differ.
    parts = (part if scale == 1 else part / scale for part in x.split(block, dim=1))
    product = gram((part - part.mean(0) for part in parts), x)
    own = product.diagonal()
    whole = own[:, None] + own[None]
    found = (whole - 2 * product).clamp_min(0).fill_diagonal_(0)
    # float32 of many entries has not the digits to begin with.
    if x.dtype == torch.float64:
        rows, columns = (found < NEAR * whole).triu(1).nonzero(as_tuple=True)
        squares = (apart(x, rows, columns) / scale).square()
        found[rows, columns] = found[columns, rows] = squares
    return found, scale


def apart(x: Tensor, rows: Tensor, columns: Tensor, size: Tensor | None = None) -> Tensor:
    """Euclidean distances of some pairs of patterns by their differences; of patterns over sizes (n, 1), if given.

    Example:
        >>> apart(torch.tensor([[0.0, 0.0], [3e300, 4e300]], dtype=torch.float64), torch.tensor([0]), torch.tensor([1]))
        tensor([5.0000e+300], dtype=torch.float64)
    """
    found = torch.zeros(len(rows), dtype=torch.float64, device=x.device)
    step = max(1, ENTRIES // max(1, x.shape[1]))
    for start in range(0, len(rows), step):
        i, j = rows[start : start + step], columns[start : start + step]
        a, b = x[i].double(), x[j].double()
        if size is not None:
            a, b = a / size[i], b / size[j]
        difference = a - b
        most = difference.abs().amax(1, keepdim=True)
        unit = torch.where(most > 0, most, 1)
        found[start : start + step] = (difference / unit).square().sum(1).sqrt() * unit[:, 0]
    return found
