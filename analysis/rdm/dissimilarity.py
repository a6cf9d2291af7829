"""Representational dissimilarity matrices: from activations, as upper triangles.

An RDM of n stimuli is its upper triangle, row by row: n (n - 1) / 2 numbers. Features are read in blocks, so memory
stays at a few n x n matrices and a block. Patterns are of any kind that arrays.real takes, and everything is computed
in float64; only products of float32 patterns of more than two million entries are in float32, at twice the speed.
Where rounding would be seen in the result, as of patterns that are nearly parallel, the blocks concerned are computed
again in float64 (see rounding). The rounding of activations that a network gave in float32 cannot be undone.
"""

from collections.abc import Callable
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
from orthotrace.analysis.rdm.products import largest, moments, scaled, sizes, squares, upper
from orthotrace.analysis.rdm.rounding import WidePatterns, corrected, squared_distances
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
    return upper(_directions(matrix(patterns, features=2), _block(block), centre=True) / 2)


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
    return upper(_directions(matrix(patterns), _block(block), centre=False) / 2)


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
    found = scaled_back(upper(distances), scale, 2, "patterns")
    return found / x.shape[1] if per_feature else found


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
    return scaled_back(upper(distances.sqrt()), scale, 1, "patterns")


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
    return upper(_directions(matrix(patterns), _block(block), centre=False).sqrt())


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
    own = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for part in x.split(_block(block), dim=1):
        own += squares(scaled(part.double(), size))
    length = own.sqrt() * (1.0 if size is None else size[:, 0].double())
    return representable(upper((length[:, None] - length[None]).abs()), "patterns")


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


def _directions(x: Tensor, block: int, centre: bool) -> Tensor:
    """Squared distances (n, n) of patterns of length 1, 2 - 2 cos; of those without their mean, 2 - 2 r."""
    size = sizes(x)
    mean = torch.zeros(len(x), 1, dtype=x.dtype, device=x.device)
    if centre:
        parts = x.split(block, dim=1)
        total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        for one in ordered(lambda number: scaled(parts[number], size).sum(dim=1), len(parts)):
            total += one
        mean = (total / x.shape[1])[:, None].to(x.dtype)
    product, own, rest = moments(x, block, lambda part: scaled(part, size) - mean if centre else scaled(part, size))
    if centre:
        # What the rounding of the mean has left.
        product -= rest[:, None] * rest[None] / x.shape[1]
        own -= rest.square() / x.shape[1]
    spread = own.clamp_min(0).sqrt()
    if centre:
        # What rounding leaves of a constant pattern.
        most = 1.0 if size is not None else largest(x).double()
        constant = spread <= 4 * torch.finfo(x.dtype).eps * x.shape[1] ** 0.5 * most
        _refuse(constant, "is constant: its correlation is undefined")
    else:
        _refuse(spread == 0, "is zero: it has no direction")
    apart = 2 - 2 * (product / spread[:, None] / spread[None]).clamp(-1, 1)
    return corrected(
        apart, 2.0, x, block, lambda few: _directions(few, block, centre),
        lambda: WidePatterns.of(x, size, block, centre, unit=True),
    )  # fmt: skip


def _refuse(wrong: Tensor, why: str) -> None:
    if wrong.any():
        raise UndefinedPatternsError(wrong.nonzero().flatten().tolist(), why)


def _block(block: int) -> int:
    return whole(block, "block", 1)
