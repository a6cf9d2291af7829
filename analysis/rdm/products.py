"""Products of patterns, tile by tile of stimuli and block by block of features, and sizes in which they are numbers."""

import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

import torch
from torch import Tensor

from orthotrace.analysis.rdm.pieces import ordered

# Stimuli of a side of a tile: its products are as fast as those of all stimuli.
TILE = 1024
# Rows and columns of a matrix.
Tile = tuple[slice, slice]
Product = tuple[Tile, Tensor]


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
    whole = slice(0, len(x))
    with closing(by_tiles(lambda _, where: prepare(x[:, where]), [(whole, whole)], x.shape[1], block)) as found:
        return Moments(*next(found)[1])


def tiles_of(n: int, size: int | None = None) -> list[Tile]:
    """The tiles of the upper triangle of (n, n), those on the diagonal first.

    Example:
        >>> [(rows.start, columns.start) for rows, columns in tiles_of(5, 2)]
        [(0, 0), (2, 2), (4, 4), (0, 2), (0, 4), (2, 4)]
    """
    size = size or TILE
    parts = [slice(start, min(start + size, n)) for start in range(0, n, size)]
    return [*((one, one) for one in parts), *itertools.combinations(parts, 2)]


def by_tiles(
    prepare: Callable[[slice, slice], Tensor], tiles: Sequence[Tile], features: int, block: int
) -> Generator[tuple[Tile, list[Tensor]], None, None]:
    """Products of patterns tile by tile, summed over all features in float64; a tile on the diagonal has all moments.

    Tiles do not depend on the memory that there is, so neither does a sum. What takes too few of them closes it.

    Args:
        prepare: patterns (rows, features) of some rows and features, as they are multiplied.
        tiles: rows and columns of each.
        features: of all patterns.
        block: features at once.
    """
    count = max(1, -(-features // block))

    def of(number: int) -> tuple[Tensor, ...]:
        (rows, columns), at = tiles[number // count], number % count
        where = slice(at * block, min((at + 1) * block, features))
        part = prepare(rows, where)
        if rows == columns:
            return _products(part), squares(part), part.sum(1)
        return (_products(part, prepare(columns, where)),)

    side = max((max(one.stop - one.start for one in tile) for tile in tiles), default=0)
    # Numbers of 8 bytes at most: two parts, each as it is and as it is prepared, their product, and that in float64.
    size = 8 * (4 * side * min(block, features) + 2 * side * side)
    total: list[Tensor] = []
    pieces = ordered(
        of, len(tiles) * count, size, f"a tile of {side} x {side} stimuli and {min(block, features)} features"
    )
    with closing(pieces) as all_found:
        for number, found in enumerate(all_found):
            if number % count == 0:
                total = [one.double() for one in found]
            else:
                for into, one in zip(total, found, strict=True):
                    into += one
            if number % count == count - 1:
                yield tiles[number // count], total


def sums_first(found: Iterator[tuple[Tile, list[Tensor]]], like: Tensor) -> tuple[Tensor, Tensor, Iterator[Product]]:
    """Squares and sums of all patterns, (n,), and then the products of all tiles, of by_tiles over tiles_of.

    Args:
        found: of by_tiles.
        like: the patterns, (n, p).
    """
    squared, total = torch.zeros(2, len(like), dtype=torch.float64, device=like.device)
    diagonal: list[Product] = []
    for (rows, columns), (product, own, sums) in itertools.islice(found, -(-len(like) // TILE)):
        squared[rows], total[rows] = own, sums
        diagonal.append(((rows, columns), product))
    return squared, total, itertools.chain(diagonal, ((tile, products[0]) for tile, products in found))


def _products(part: Tensor, other: Tensor | None = None) -> Tensor:
    """X Y^T: on a CPU by numpy, which computes half of X X^T, and whose library is the faster one on many machines."""
    if part.device.type != "cpu":
        return part @ (part if other is None else other).T
    array = part.contiguous().numpy()
    return torch.from_numpy(array @ (array if other is None else other.contiguous().numpy()).T)


def squares(part: Tensor) -> Tensor:
    """The sum of squares of each pattern, (n,): by halves, where a product rounds many terms of one sign in turn."""
    return part.square().sum(1).double()


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
