"""Representational dissimilarity matrices: from activations, as upper triangles.

An RDM of n stimuli is its upper triangle, row by row: n (n - 1) / 2 numbers. It is made in tiles of 1,024 stimuli and
blocks of features, so beside itself and the patterns it takes the memory of a few tiles. Patterns are of any kind that
arrays.real takes, and everything is computed in float64; only products of float32 patterns of more than two million
entries are in float32, at twice the speed.
Where rounding would be seen in the result, as of patterns that are nearly parallel, the blocks concerned are computed
again in float64 (see rounding). The rounding of activations that a network gave in float32 cannot be undone.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from orthotrace.analysis.rdm.arguments import whole
from orthotrace.analysis.rdm.arrays import representable, scaled_back
from orthotrace.analysis.rdm.channels import checked, over_channels
from orthotrace.analysis.rdm.patterns import UndefinedPatternsError, matrix, with_gaps
from orthotrace.analysis.rdm.pieces import ordered
from orthotrace.analysis.rdm.products import Product, by_tiles, largest, scaled, sizes, sums_first, tiles_of
from orthotrace.analysis.rdm.rounding import WidePatterns, corrected, new_triangle, squared_distances
from orthotrace.analysis.rdm.triangles import start_of
from orthotrace.core.errors import UserError, one_line

Patterns = Tensor | ArrayLike
BLOCK = 4096


def correlation(patterns: Patterns, block: int = BLOCK, missing: bool = False) -> NDArray[np.float64]:
    """Correlation distance between the patterns of each pair of stimuli.

        D_ij = 1 - r(x_i, x_j)

    Not invariant to a shift or a rotation of the features, but to a shift and a scaling of each pattern.

    Args:
        patterns: activations (n, ...), flattened to (n, p), p >= 2.
        block: features at once.
        missing: channels may be missing (NaN): two patterns are compared by those that both have.

    Returns:
        (n (n - 1) / 2,), in [0, 2]; with missing channels NaN where two patterns share no channel, or one is constant
        in those.

    Raises:
        UserError: fewer than three stimuli or two features, entries that are not finite real numbers, or a pattern
            that is constant, so that its correlation is undefined; names the first such stimulus.

    Source: Kriegeskorte, Mur & Bandettini, Frontiers in Systems Neuroscience 2:4 (2008).

    Example:
        >>> correlation([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 2.0, 1.0]]).round(6)
        array([0., 2., 2.])
    """
    if (gaps := with_gaps(patterns, missing, 2)) is not None:
        return over_channels(gaps, "correlation")
    return _halved(_directions(matrix(patterns, features=2), _block(block), centre=True))


def cosine(patterns: Patterns, block: int = BLOCK, missing: bool = False) -> NDArray[np.float64]:
    """Cosine distance between the patterns of each pair of stimuli.

        D_ij = 1 - <x_i, x_j> / (|x_i| |x_j|)

    Args:
        patterns: activations (n, ...), flattened.
        block: features at once.
        missing: as for correlation.

    Returns:
        (n (n - 1) / 2,), in [0, 2]; with missing channels NaN as for correlation, where a pattern is zero.

    Raises:
        UserError: as correlation; a pattern of zeros, which has no direction.

    Example:
        >>> cosine([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]]).round(6)
        array([1., 2., 1.])
    """
    if (gaps := with_gaps(patterns, missing)) is not None:
        return over_channels(gaps, "cosine")
    return _halved(_directions(matrix(patterns), _block(block), centre=False))


def squared_euclidean(
    patterns: Patterns, per_feature: bool = False, block: int = BLOCK, missing: bool = False
) -> NDArray[np.float64]:
    """Squared Euclidean distance between the patterns of each pair of stimuli.

        D_ij = |x_i - x_j|^2, or that over the number of features

    Args:
        patterns: activations (n, ...), flattened.
        per_feature: divide by the number of features, as rsatoolbox does.
        block: features at once.
        missing: as for correlation. With s of p channels shared, the sum over these times p / s: none is smaller for
            what is missing.

    Returns:
        (n (n - 1) / 2,), at least 0; with missing channels NaN where two patterns share none.

    Raises:
        UserError: as correlation, constant patterns apart.

    Example:
        >>> squared_euclidean([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
        array([25.,  0., 25.])
    """
    if (gaps := with_gaps(patterns, missing)) is not None:
        return over_channels(gaps, "squared_euclidean") / (gaps.shape[1] if per_feature else 1)
    x = matrix(patterns)
    distances, scale = squared_distances(x, _block(block))
    found = scaled_back(distances, scale, 2, "patterns")
    return np.divide(found, x.shape[1], out=found) if per_feature else found


def euclidean(patterns: Patterns, block: int = BLOCK, missing: bool = False) -> NDArray[np.float64]:
    """Euclidean distance between the patterns of each pair of stimuli.

        D_ij = |x_i - x_j|

    Args, Returns, Raises: as squared_euclidean.

    Example:
        >>> euclidean([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
        array([5., 0., 5.])
    """
    if (gaps := with_gaps(patterns, missing)) is not None:
        return over_channels(gaps, "euclidean")
    distances, scale = squared_distances(matrix(patterns), _block(block))
    return scaled_back(np.sqrt(distances, out=distances), scale, 1, "patterns")


def unit_euclidean(patterns: Patterns, block: int = BLOCK, missing: bool = False) -> NDArray[np.float64]:
    """Euclidean distance between patterns scaled to length 1.

        D_ij = |x_i / |x_i| - x_j / |x_j||

    Args, Raises: as cosine.

    Returns:
        (n (n - 1) / 2,), in [0, 2].

    Source: Mehrer, Spoerer, Kriegeskorte & Kietzmann, Nature Communications 11:5725 (2020).

    Example:
        >>> unit_euclidean([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]]).round(6)
        array([1.414214, 2.      , 1.414214])
    """
    if (gaps := with_gaps(patterns, missing)) is not None:
        return over_channels(gaps, "unit_euclidean")
    found = _directions(matrix(patterns), _block(block), centre=False)
    return np.sqrt(found, out=found)


def norm_difference(patterns: Patterns, block: int = BLOCK, missing: bool = False) -> NDArray[np.float64]:
    """Difference of the lengths of the patterns of each pair of stimuli.

        D_ij = | |x_i| - |x_j| |

    Args, Returns, Raises: as squared_euclidean.

    Source: Mehrer, Spoerer, Kriegeskorte & Kietzmann, Nature Communications 11:5725 (2020).

    Example:
        >>> norm_difference([[1.0, 0.0], [0.0, 3.0], [0.0, 1.0]])
        array([2., 0., 2.])
    """
    if (gaps := with_gaps(patterns, missing)) is not None:
        return over_channels(gaps, "norm_difference")
    x = matrix(patterns)
    size = sizes(x)
    own = WidePatterns.of(x, size, _block(block), centre=False, unit=True).length[:, 0]
    length = (own * (1.0 if size is None else size[:, 0].double())).cpu().numpy()
    found = new_triangle(len(x))
    for row in range(len(x)):
        found[start_of(row, len(x)) : start_of(row + 1, len(x))] = np.abs(length[row + 1 :] - length[row])
    return representable(found, "patterns")


def cityblock(patterns: Patterns, missing: bool = False) -> NDArray[np.float64]:
    """City-block distance between the patterns of each pair of stimuli.

        D_ij = sum_k |x_ik - x_jk|

    Args, Returns, Raises: as squared_euclidean.

    Example:
        >>> cityblock([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
        array([7., 0., 7.])
    """
    from scipy.spatial.distance import pdist

    if (gaps := with_gaps(patterns, missing)) is not None:
        return over_channels(gaps, "cityblock")
    return representable(pdist(matrix(patterns).double().cpu().numpy(), "cityblock"), "patterns")


def custom(
    patterns: Patterns, distance: Callable[[NDArray[Any], NDArray[Any]], float], missing: bool = False
) -> NDArray[np.float64]:
    """Any dissimilarity of two patterns.

    Args:
        patterns: activations (n, ...), flattened to (n, p).
        distance: of two patterns (p,), a number.
        missing: channels may be missing (NaN): the distance is of those that two patterns share, (s,); NaN without any.

    Raises:
        UserError: as squared_euclidean; a distance that is not a finite number, which names the two stimuli.

    Example:
        >>> custom([[0.0, 1.0], [2.0, 1.0], [5.0, 1.0]], lambda a, b: np.abs(a - b).max())
        array([2., 5., 3.])
    """
    x = matrix(patterns, missing=missing).double().cpu().numpy()
    has = ~np.isnan(x)
    pairs = [(i, j) for i in range(len(x)) for j in range(i + 1, len(x)) if (has[i] & has[j]).any()]
    if has.all():
        found = [distance(x[i], x[j]) for i, j in pairs]
    else:
        found = [distance(x[i, has[i] & has[j]], x[j, has[i] & has[j]]) for i, j in pairs]
    try:
        values = np.array([float(one) for one in found])
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"it must give one number for two patterns: {one_line(error)}", "distance") from error
    if not np.isfinite(values).all():
        first = int(np.argmin(np.isfinite(values)))
        raise UserError(f"the distance of stimuli {pairs[first][0]} and {pairs[first][1]} is {values[first]}")
    if has.all():
        return values
    whole = np.full((len(x), len(x)), np.nan)
    whole[tuple(np.array(pairs, dtype=np.intp).reshape(-1, 2).T)] = values
    return checked(whole[np.triu_indices(len(x), 1)])


MEASURES = {
    function.__name__: function
    for function in (
        correlation, cosine, euclidean, squared_euclidean, unit_euclidean, norm_difference, cityblock,
    )
}  # fmt: skip


def _directions(x: Tensor, block: int, centre: bool) -> NDArray[np.float64]:
    """Squared distances of patterns of length 1, 2 - 2 cos, an upper triangle; of those without their mean, 2 - 2 r."""
    size = sizes(x)
    mean = torch.zeros(len(x), 1, dtype=x.dtype, device=x.device)

    def prepared(rows: slice, where: slice) -> Tensor:
        part = x[rows, where] if size is None else x[rows, where] / size[rows]
        return part - mean[rows] if centre else part

    if centre:
        parts = x.split(block, dim=1)
        total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        for one in ordered(lambda number: scaled(parts[number], size).sum(dim=1), len(parts)):
            total += one
        mean = (total / x.shape[1])[:, None].to(x.dtype)
    with closing(by_tiles(prepared, tiles_of(len(x)), x.shape[1], block)) as found:
        own, rest, products = sums_first(found, x)
        if centre:
            # What the rounding of the mean has left.
            own -= rest.square() / x.shape[1]
        spread = own.clamp_min(0).sqrt()
        if centre:
            # What rounding leaves of a constant pattern.
            most = 1.0 if size is not None else largest(x).double()
            constant = spread <= 4 * torch.finfo(x.dtype).eps * x.shape[1] ** 0.5 * most
            _refuse(constant, "is constant: its correlation is undefined")
        else:
            _refuse(spread == 0, "is zero: it has no direction")

        def apart() -> Iterator[Product]:
            for (rows, columns), product in products:
                if centre:
                    product -= rest[rows, None] * rest[None, columns] / x.shape[1]
                cosines = (product / spread[rows, None] / spread[None, columns]).clamp_(-1, 1)
                yield (rows, columns), 2 - 2 * cosines

        return corrected(
            apart(), torch.ones_like(own), x, block, lambda few: _directions(few, block, centre),
            lambda: WidePatterns.of(x, size, block, centre, unit=True),
        )  # fmt: skip


def _halved(found: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(found, 2, out=found)


def _refuse(wrong: Tensor, why: str) -> None:
    if wrong.any():
        raise UndefinedPatternsError(wrong.nonzero().flatten().tolist(), why)


def _block(block: int) -> int:
    return whole(block, "block", 1)
