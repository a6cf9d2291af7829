"""Squared distances whose digits rounding has taken: found, and computed again in float64, block by block.

A distance of two patterns by their product is a small difference of large numbers where the patterns are nearly
parallel, or nearly the same, as those of deep networks without training are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orthotrace.analysis.rdm import memory
from orthotrace.analysis.rdm.pieces import ordered
from orthotrace.analysis.rdm.products import TILE, Product, Tile, by_tiles, largest, sums_first, tiles_of
from orthotrace.analysis.rdm.triangles import places_of, put, start_of

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
# Entries of differences at once, and of patterns whose features are averaged.
ENTRIES, AVERAGED = 2**20, 2**22


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
            shift = cls(x, size, shift, one)._over_features(block, lambda part, _: part) / x.shape[1]
        if unit:
            length = cls(x, size, shift, one)._over_features(block, lambda part, _: part.square()).sqrt()
        return cls(x, size, shift, length)

    def part(self, rows: slice, where: slice) -> Tensor:
        """Some features of some patterns."""
        return (self.x[rows, where].double() / self.size[rows] - self.shift[rows]) / self.length[rows]

    def means(self) -> Tensor:
        """Of each feature over the patterns, (p,)."""
        return feature_means(self.x, lambda where: self.part(slice(None), where))

    def squares_about(self, mean: Tensor, block: int) -> Tensor:
        """The sum of squares of each pattern, (n,), without a mean of each feature."""
        return self._over_features(block, lambda part, where: (part - mean[where]).square())[:, 0]

    def _over_features(self, block: int, of: Callable[[Tensor, slice], Tensor]) -> Tensor:
        """The sum over all features of something of each, (n, 1)."""
        found = torch.zeros(len(self.x), 1, dtype=torch.float64, device=self.x.device)
        for rows, where in _parts(self.x, block):
            found[rows] += of(self.part(rows, where), where).sum(1, keepdim=True)
        return found

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


def _parts(x: Tensor, block: int) -> Iterator[Tile]:
    """Some patterns and some features at a time."""
    for start in range(0, len(x), TILE):
        for at in range(0, x.shape[1], block):
            yield slice(start, min(start + TILE, len(x))), slice(at, min(at + block, x.shape[1]))


def feature_means(x: Tensor, prepare: Callable[[slice], Tensor]) -> Tensor:
    """The mean of each feature over all patterns, (p,), in the type in which they are prepared.

    Args:
        x: the patterns, (n, p).
        prepare: some features of all patterns.
    """
    width = max(1, AVERAGED // len(x))
    count = max(1, -(-x.shape[1] // width))

    def of(number: int) -> Tensor:
        return prepare(slice(number * width, (number + 1) * width)).mean(0)

    size = 8 * 3 * len(x) * min(width, x.shape[1])
    return torch.cat(list(ordered(of, count, size, f"the features of {len(x)} stimuli")))


def corrected(
    tiles: Iterable[Product],
    own: Tensor,
    x: Tensor,
    block: int,
    right: Callable[[Tensor], NDArray[np.float64]],
    wide: Callable[[], WidePatterns],
) -> NDArray[np.float64]:
    """Squared distances by products, with those that have lost their digits to rounding computed again in float64.

    First tile by tile, by the products of what is left of the patterns without their common mean; what is still a
    small difference of large numbers then, pair by pair.

    Args:
        tiles: of the distances, by products in the patterns' own type; all of those on and above the diagonal.
        own: the sum of squares of each pattern, (n,).
        x: the patterns, (n, p).
        block: features at once.
        right: the squared distances of a few patterns in float64.
        wide: all patterns in float64, in units of the distances.

    Returns:
        (n (n - 1) / 2,), the upper triangle.
    """
    found = new_triangle(n := len(x))
    for tile, values in tiles:
        put(found, tile, values.cpu().numpy(), n)
    limit = _limit(found, own, x, right)
    patterns: WidePatterns | None = None
    again: list[Tile] = []
    for rows, columns, tile_numbers in _near(found, own.cpu().numpy(), limit):
        patterns = patterns or wide()
        numbers, counts = np.unique(tile_numbers, return_counts=True)
        many = []
        top = int(rows[0]) // ROWS * ROWS
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            tile = (slice(top, min(top + ROWS, n)), slice(number * ROWS, min((number + 1) * ROWS, n)))
            if count > MANY * (tile[0].stop - tile[0].start) * (tile[1].stop - tile[1].start):
                again.append(tile)
                many.append(number)
        few = ~np.isin(tile_numbers, many)
        _by_differences(found, patterns, rows[few], columns[few])
    if patterns is not None and again:
        mean = patterns.means()
        own = patterns.squares_about(mean, block)

        def rest(rows: slice, where: slice) -> Tensor:
            return patterns.part(rows, where) - mean[where]

        with closing(by_tiles(rest, again, x.shape[1], block)) as products:
            for (rows, columns), (product, *_) in products:
                total = own[rows, None] + own[None, columns]
                values = (total - 2 * product).clamp_min_(0)
                put(found, (rows, columns), values.cpu().numpy(), n)
                near = (values < NEAR * total).cpu().numpy()
                near = np.triu(near, 1) if rows == columns else near
                at, beside = np.nonzero(near)
                _by_differences(found, patterns, at + rows.start, beside + columns.start)
    return found


def new_triangle(stimuli: int) -> NDArray[np.float64]:
    """An upper triangle to write to.

    Raises:
        UserError: it does not fit into the memory that is left.
    """
    entries = stimuli * (stimuli - 1) // 2
    memory.need(8 * entries, f"an RDM of {stimuli} stimuli")
    return np.empty(entries)


def squared_distances(x: Tensor, block: int) -> tuple[NDArray[np.float64], float]:
    """Squared Euclidean distances, an upper triangle, in units of the square of a scale, and the scale.

    Example:
        >>> squared_distances(torch.tensor([[0.0], [3.0], [3.0]]), 1)[0].tolist()
        [9.0, 9.0, 0.0]
    """
    most = float(largest(x).amax()) or 1.0
    scale = 1.0 if 1e-8 < most < 1e8 else most

    def scaled(part: Tensor) -> Tensor:
        return part if scale == 1 else part / scale

    # Features are centred first: a common mean would take the digits in which stimuli differ.
    mean = feature_means(x, lambda where: scaled(x[:, where]))

    def right(few: Tensor) -> NDArray[np.float64]:
        exact, unit = squared_distances(few, block)
        return exact * (unit / scale) ** 2

    def wide() -> WidePatterns:
        return WidePatterns.of(x, scale, block, centre=False, unit=False)

    def centred(rows: slice, where: slice) -> Tensor:
        return scaled(x[rows, where]) - mean[where]

    with closing(by_tiles(centred, tiles_of(len(x)), x.shape[1], block)) as found:
        own, _, products = sums_first(found, x)
        tiles = (
            ((rows, columns), (own[rows, None] + own[None, columns] - 2 * product).clamp_min_(0))
            for (rows, columns), product in products
        )
        return corrected(tiles, own, x, block, right, wide), scale


def _by_differences(
    found: NDArray[np.float64], patterns: WidePatterns, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> None:
    if len(rows):
        at, beside = (torch.from_numpy(one).to(patterns.x.device) for one in (rows, columns))
        found[places_of(rows, columns, len(patterns.x))] = patterns.squared_differences(at, beside).cpu().numpy()


def _near(
    found: NDArray[np.float64], own: NDArray[np.float64], limit: float
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]]:
    """Rows and columns of entries below a part of the squares of both patterns, and the number of their tile in a row.

    For the rows of one tile after the other.
    """
    n = len(own)
    for top in range(0, n, ROWS):
        rows, columns = [], []
        for row in range(top, min(top + ROWS, n)):
            values = found[start_of(row, n) : start_of(row + 1, n)]
            near = values < limit * (own[row] + own[row + 1 :]) if limit < math.inf else np.ones(len(values), bool)
            if near.any():
                columns.append(np.flatnonzero(near) + row + 1)
                rows.append(np.full(len(columns[-1]), row))
        if rows:
            beside = np.concatenate(columns)
            yield np.concatenate(rows), beside, beside // ROWS


def _limit(found: NDArray[np.float64], own: Tensor, x: Tensor, right: Callable[[Tensor], NDArray[np.float64]]) -> float:
    """Which part of the squares of two patterns their distance must be to have its digits; infinite where none has."""
    if x.dtype == torch.float64:
        return NEAR
    # The rounding of a product depends on signs, on zeros and on the library: it is measured on some pairs.
    n = len(x)
    chosen = torch.linspace(0, n - 1, min(SAMPLE, n), device=x.device).long()
    first, second = np.triu_indices(len(chosen), 1)
    places = chosen.cpu().numpy()
    error = found[places_of(places[first], places[second], n)] - right(x[chosen].double())
    parts = range(0, len(found), AVERAGED)
    mean = sum(float(found[at : at + AVERAGED].sum()) for at in parts) / len(found)
    variance = sum(float(np.square(found[at : at + AVERAGED]).sum()) for at in parts) / len(found) - mean**2
    if float(np.square(error).mean()) > SPREAD**2 * variance:
        return math.inf
    squares = own.cpu().numpy()[places]
    error = error / np.maximum(squares[first] + squares[second], np.finfo(np.float64).tiny)
    return float(np.sqrt(np.square(error).mean())) / ENTRY
