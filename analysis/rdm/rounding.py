"""Squared distances whose digits rounding has taken: found, and computed again in float64, block by block.

A distance of two patterns by their product is a small difference of large numbers where the patterns are nearly
parallel, or nearly the same, as those of deep networks without training are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from orthotrace.analysis.rdm.products import largest, moments

# Of float64: below this part of the squares of two patterns, their distance is computed from their difference.
NEAR = 1e-5
# Of float32, whose rounding is measured: it may take this part of an entry, and this part of the spread of all.
ENTRY, SPREAD = 1e-4, 2e-6
# Stimuli by whose distances it is measured.
SAMPLE = 16
# A block with more than this part of doubtful entries is computed as a whole.
MANY = 1 / 64
# Stimuli of a block.
ROWS = 250
# Entries of differences at once.
ENTRIES = 2**20


@dataclass(frozen=True)
class WidePatterns:
    """Patterns in float64 as they are needed, (x / size - shift) / length; x (n, p), the others (n, 1).

    Attributes:
        x: patterns in their own type.
        size, shift, length: of each pattern.
    """

    x: Tensor
    size: Tensor
    shift: Tensor
    length: Tensor

    @classmethod
    def of(cls, x: Tensor, size: Tensor | float | None, block: int, centre: bool, unit: bool) -> WidePatterns:
        """Patterns over sizes; without their mean where they are to be centred, of length 1 where of a unit."""
        wide = torch.float64
        one = torch.ones(len(x), 1, dtype=wide, device=x.device)
        size = one if size is None else size * one
        shift, length = torch.zeros_like(one), one
        if centre:
            total = sum((part.to(wide) / size).sum(1, keepdim=True) for part in x.split(block, dim=1))
            shift = torch.as_tensor(total) / x.shape[1]
        if unit:
            squares = sum(part.square().sum(1, keepdim=True) for part in cls(x, size, shift, one).blocks(block))
            length = torch.as_tensor(squares).sqrt()
        return cls(x, size, shift, length)

    def blocks(self, block: int) -> Iterator[Tensor]:
        """All patterns, by blocks of features."""
        for part in self.x.split(block, dim=1):
            yield (part.double() / self.size - self.shift) / self.length

    def squared_differences(self, rows: Tensor, columns: Tensor) -> Tensor:
        """|x_i - x_j|^2 of some pairs."""
        found = torch.zeros(len(rows), dtype=torch.float64, device=self.x.device)
        step = max(1, ENTRIES // max(1, self.x.shape[1]))
        for start in range(0, len(rows), step):
            a, b = (self._at(one[start : start + step]) for one in (rows, columns))
            found[start : start + step] = (a - b).square().sum(1)
        return found

    def _at(self, rows: Tensor) -> Tensor:
        return (self.x[rows].double() / self.size[rows] - self.shift[rows]) / self.length[rows]


def corrected(
    found: Tensor,
    whole: Tensor | float,
    x: Tensor,
    block: int,
    right: Callable[[Tensor], Tensor],
    wide: Callable[[], WidePatterns],
) -> Tensor:
    """Squared distances by products, with those that have lost their digits to rounding computed again in float64.

    First block by block, by the products of what is left of the patterns without their common mean; what is still a
    small difference of large numbers then, pair by pair.

    Args:
        found: (n, n), by products in the patterns' own type; it is written to.
        whole: the sums of squares of each two patterns, (n, n), or one for all.
        x: the patterns, (n, p).
        block: features at once.
        right: the squared distances of a few patterns in float64.
        wide: all patterns in float64, in units of the distances.

    Returns:
        (n, n), symmetric, 0 on the diagonal.
    """
    found.fill_diagonal_(0)
    near = _doubtful(found, whole, x, right).fill_diagonal_(False)
    if not bool(near.any()):
        return found
    patterns, near = wide(), near.triu_()
    tiles = [
        (slice(start, start + ROWS), slice(other, other + ROWS))
        for start in range(0, len(x), ROWS)
        for other in range(start, len(x), ROWS)
    ]
    tiles = [one for one in tiles if int(near[one].sum()) > MANY * near[one].numel()]
    if tiles:
        product = torch.zeros_like(found)
        own = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        for part in patterns.blocks(block):
            rest = part - part.mean(0)
            own += rest.square().sum(1)
            for rows, columns in tiles:
                product[rows, columns] += rest[rows] @ rest[columns].T
        for rows, columns in tiles:
            total = own[rows, None] + own[None, columns]
            values = (total - 2 * product[rows, columns]).clamp_min_(0)
            found[rows, columns] = values
            near[rows, columns] = values < NEAR * total
        near.triu_(1)
    rows, columns = near.nonzero(as_tuple=True)
    found[rows, columns] = patterns.squared_differences(rows, columns)
    return found.triu_(1).add_(found.T.clone())


def squared_distances(x: Tensor, block: int) -> tuple[Tensor, float]:
    """Squared Euclidean distances (n, n) in units of the square of a scale, and the scale.

    Example:
        >>> squared_distances(torch.tensor([[0.0], [3.0], [3.0]]), 1)[0][0].tolist()
        [0.0, 9.0, 9.0]
    """
    most = float(largest(x).amax()) or 1.0
    scale = 1.0 if 1e-8 < most < 1e8 else most

    # Features are centred first: a common mean would take the digits in which stimuli differ.
    def centred(part: Tensor) -> Tensor:
        part = part if scale == 1 else part / scale
        return part - part.mean(0)

    product, own, _ = moments(x, block, centred)
    whole = own[:, None] + own[None]
    found = (whole - 2 * product).clamp_min(0)

    def right(few: Tensor) -> Tensor:
        exact, unit = squared_distances(few, block)
        return exact * (unit / scale) ** 2

    def wide() -> WidePatterns:
        return WidePatterns.of(x, scale, block, centre=False, unit=False)

    return corrected(found, whole, x, block, right, wide), scale


def _doubtful(found: Tensor, whole: Tensor | float, x: Tensor, right: Callable[[Tensor], Tensor]) -> Tensor:
    """Which entries have lost their digits."""
    if x.dtype == torch.float64:
        return found < NEAR * whole
    # The rounding of a product depends on signs, on zeros and on the library: it is measured on some pairs.
    chosen = torch.linspace(0, len(x) - 1, min(SAMPLE, len(x)), device=x.device).long()
    rows, columns = torch.triu_indices(len(chosen), len(chosen), offset=1, device=x.device)
    error = (found[chosen][:, chosen] - right(x[chosen].double()))[rows, columns]
    number = len(x) * (len(x) - 1)
    variance = found.square().sum() / number - (found.sum() / number).square()
    if float(error.square().mean()) > SPREAD**2 * float(variance):
        return torch.ones_like(found, dtype=torch.bool)
    if isinstance(whole, Tensor):
        pairs = torch.triu_indices(len(chosen), len(chosen), offset=1, device=x.device)
        error = error / whole[chosen[pairs[0]], chosen[pairs[1]]].clamp_min(torch.finfo(torch.float64).tiny)
        return found < float(error.square().mean().sqrt()) / ENTRY * whole
    return found < float(error.square().mean().sqrt()) / ENTRY
