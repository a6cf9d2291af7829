"""Representational dissimilarity matrices: from activations, as upper triangles.

An RDM of n stimuli is its upper triangle, row by row: n (n - 1) / 2 numbers. Features are read in blocks, so memory
stays at one n x n matrix and a block. Patterns are of any kind that arrays.real takes, and everything is computed in
float64; only products of float32 patterns of more than four million entries are in float32, at twice the speed, to some
six digits. Give float64 there where stimuli are nearly the same, or of very different size.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from orthotrace.analysis.rdm.arguments import whole
from orthotrace.analysis.rdm.arrays import (
    finite,
    is_symmetric,
    kinds_of,
    labels,
    representable,
    same_index,
    scaled_back,
    unit_of,
)
from orthotrace.analysis.rdm.patterns import matrix
from orthotrace.analysis.rdm.products import NEAR, apart, gram, largest, scaled, sizes, squared_distances, upper
from orthotrace.core.errors import UserError, one_line

Patterns = Tensor | ArrayLike
BLOCK = 4096


def correlation(patterns: Patterns, block: int = BLOCK) -> NDArray[np.float64]:
    """Correlation distance between the patterns of each pair of stimuli.

        D_ij = 1 - r(x_i, x_j)

    Not invariant to a shift or a rotation of the features, but to a shift and a scaling of each pattern.

    Args:
        patterns: activations (n, ...), flattened to (n, p), p >= 2.
        block: features at once.

    Returns:
        (n (n - 1) / 2,), in [0, 2].

    Raises:
        UserError: fewer than three stimuli or two features, entries that are not finite real numbers, or a pattern
            that is constant, so that its correlation is undefined; names the first such stimulus.

    Source: Kriegeskorte, Mur & Bandettini, Frontiers in Systems Neuroscience 2:4 (2008).

    Example:
        >>> correlation([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 2.0, 1.0]]).round(6)
        array([0., 2., 2.])
    """
    x = matrix(patterns, features=2)
    size = sizes(x)
    block = _block(block)
    total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for part in x.split(block, dim=1):
        total += scaled(part, size).sum(dim=1)
    mean = (total / x.shape[1])[:, None].to(x.dtype)
    rest = torch.zeros_like(total)

    def centred() -> Iterator[Tensor]:
        for part in x.split(block, dim=1):
            found = scaled(part, size) - mean
            rest.add_(found.sum(dim=1))
            yield found

    product = gram(centred(), x)
    # What the rounding of the mean has left.
    product -= rest[:, None] * rest[None] / x.shape[1]
    spread = product.diagonal().clamp_min(0).sqrt()
    # What rounding leaves of a constant pattern.
    most = 1.0 if size is not None else largest(x).double()
    constant = spread <= 4 * torch.finfo(x.dtype).eps * x.shape[1] ** 0.5 * most
    _refuse(constant, "is constant: its correlation is undefined")
    return upper(1 - (product / spread[:, None] / spread[None]).clamp(-1, 1))


def cosine(patterns: Patterns, block: int = BLOCK) -> NDArray[np.float64]:
    """Cosine distance between the patterns of each pair of stimuli.

        D_ij = 1 - <x_i, x_j> / (|x_i| |x_j|)

    Args:
        patterns: activations (n, ...), flattened.
        block: features at once.

    Returns:
        (n (n - 1) / 2,), in [0, 2].

    Raises:
        UserError: as correlation; a pattern of zeros, which has no direction.

    Example:
        >>> cosine([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]]).round(6)
        array([1., 2., 1.])
    """
    x = matrix(patterns)
    size = sizes(x)
    product = gram((scaled(part, size) for part in x.split(_block(block), dim=1)), x)
    spread = product.diagonal().sqrt()
    _refuse(spread == 0, "is zero: it has no direction")
    return upper(1 - (product / spread[:, None] / spread[None]).clamp(-1, 1))


def squared_euclidean(patterns: Patterns, per_feature: bool = False, block: int = BLOCK) -> NDArray[np.float64]:
    """Squared Euclidean distance between the patterns of each pair of stimuli.

        D_ij = |x_i - x_j|^2, or that over the number of features

    Args:
        patterns: activations (n, ...), flattened.
        per_feature: divide by the number of features, as rsatoolbox does.
        block: features at once.

    Returns:
        (n (n - 1) / 2,), at least 0.

    Raises:
        UserError: as correlation, constant patterns apart.

    Example:
        >>> squared_euclidean([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
        array([25.,  0., 25.])
    """
    x = matrix(patterns)
    distances, scale = squared_distances(x, _block(block))
    found = scaled_back(upper(distances), scale, 2, "patterns")
    return found / x.shape[1] if per_feature else found


def euclidean(patterns: Patterns, block: int = BLOCK) -> NDArray[np.float64]:
    """Euclidean distance between the patterns of each pair of stimuli.

        D_ij = |x_i - x_j|

    Args, Returns, Raises: as squared_euclidean.

    Example:
        >>> euclidean([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
        array([5., 0., 5.])
    """
    distances, scale = squared_distances(matrix(patterns), _block(block))
    return scaled_back(upper(distances.sqrt()), scale, 1, "patterns")


def unit_euclidean(patterns: Patterns, block: int = BLOCK) -> NDArray[np.float64]:
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
    x = matrix(patterns)
    size = sizes(x)
    product = gram((scaled(part, size) for part in x.split(_block(block), dim=1)), x)
    spread = product.diagonal().sqrt()
    _refuse(spread == 0, "is zero: it has no direction")
    squares = 2 - 2 * (product / spread[:, None] / spread[None]).clamp(-1, 1)
    found = squares.sqrt()
    rows, columns = (squares < NEAR).triu(1).nonzero(as_tuple=True)
    # Lengths in two steps: their product with sizes may be no number.
    unit = x if size is None else scaled(x, size)
    found[rows, columns] = apart(unit, rows, columns, spread[:, None])
    return upper(found)


def norm_difference(patterns: Patterns, block: int = BLOCK) -> NDArray[np.float64]:
    """Difference of the lengths of the patterns of each pair of stimuli.

        D_ij = | |x_i| - |x_j| |

    Args, Returns, Raises: as squared_euclidean.

    Source: Mehrer, Spoerer, Kriegeskorte & Kietzmann, Nature Communications 11:5725 (2020).

    Example:
        >>> norm_difference([[1.0, 0.0], [0.0, 3.0], [0.0, 1.0]])
        array([2., 0., 2.])
    """
    x = matrix(patterns)
    size = sizes(x)
    squares = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for part in x.split(_block(block), dim=1):
        squares += scaled(part, size).double().square().sum(1)
    length = squares.sqrt() * (1.0 if size is None else size[:, 0].double())
    return representable(upper((length[:, None] - length[None]).abs()), "patterns")


def cityblock(patterns: Patterns) -> NDArray[np.float64]:
    """City-block distance between the patterns of each pair of stimuli.

        D_ij = sum_k |x_ik - x_jk|

    Args, Returns, Raises: as squared_euclidean.

    Example:
        >>> cityblock([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
        array([7., 0., 7.])
    """
    from scipy.spatial.distance import pdist

    return representable(pdist(matrix(patterns).double().cpu().numpy(), "cityblock"), "patterns")


def mahalanobis(patterns: Patterns, precision: ArrayLike, block: int = BLOCK) -> NDArray[np.float64]:
    """Squared Mahalanobis distance between the patterns of each pair of stimuli, for each feature.

        D_ij = (x_i - x_j)^T P (x_i - x_j) / p

    Args:
        patterns: activations (n, ...), flattened to (n, p).
        precision: P, (p, p), symmetric and positive definite: see noise.precision.
        block: features at once.

    Returns:
        (n (n - 1) / 2,), at least 0.

    Raises:
        UserError: as squared_euclidean; a precision of another shape, or that is not positive definite.

    Source: Walther et al., NeuroImage 137 (2016), eq. 2.

    Example:
        >>> mahalanobis([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], np.diag([2.0, 8.0]))
        array([1., 4., 5.])
    """
    x = matrix(patterns).double()
    z, unit = _whitened(x, precision)
    return scaled_back(squared_euclidean(z, per_feature=True, block=block), unit, 2, "patterns")


def crossnobis(
    measurements: Patterns, conditions: Sequence[Any], folds: Sequence[Any], precision: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Cross-validated squared Mahalanobis distance between conditions, for each feature: 0 on average where two agree.

        D_ij = mean over folds of (a_i - a_j)^T P (b_i - b_j) / p

    with a the mean patterns of a fold and b those of all others.

    Args:
        measurements: (m, ...), several for each condition, flattened to (m, p).
        conditions: of each measurement; conditions come in their sorted order.
        folds: of each measurement, such as its session; every fold has every condition.
        precision: P, (p, p), as for mahalanobis; None for the identity.

    Returns:
        Of k conditions (k (k - 1) / 2,); may be below 0.

    Raises:
        UserError: as mahalanobis; labels of another number, fewer than three conditions or two folds, or a fold
            without one of the conditions.

    Source: Walther et al., NeuroImage 137 (2016), eq. 4; Diedrichsen et al., Neurons, Behavior, Data analysis and
    Theory 2020.

    Example:
        >>> crossnobis(np.repeat(np.eye(3), 2, axis=0), conditions=[0, 0, 1, 1, 2, 2], folds=[0, 1] * 3).round(4)
        array([0.6667, 0.6667, 0.6667])
    """
    same_index(measurements=measurements, conditions=conditions, folds=folds)
    x = matrix(measurements, key="measurements").double()
    given, parts_given = labels(conditions, "conditions"), labels(folds, "folds")
    if len(given) != len(x) or len(parts_given) != len(x):
        raise UserError(
            f"{len(x)} measurements, {len(given)} conditions and {len(parts_given)} folds: give one of each"
        )
    kinds, which = kinds_of(given, "conditions")
    parts, of = kinds_of(parts_given, "folds")
    if len(kinds) < 3 or len(parts) < 2:
        raise UserError(f"at least three conditions and two folds are needed (got {len(kinds)} and {len(parts)})")
    x, unit = _in_units(x) if precision is None else _whitened(x, precision)
    sums = torch.zeros(len(parts), len(kinds), x.shape[1], dtype=torch.float64, device=x.device)
    place = (torch.from_numpy(of).to(x.device), torch.from_numpy(which).to(x.device))
    sums.index_put_(place, x, accumulate=True)
    counts = np.zeros((len(parts), len(kinds)))
    np.add.at(counts, (of, which), 1)
    if len(empty := np.argwhere(counts == 0)):
        fold, kind = empty[0]
        raise UserError(f"fold {parts[fold]} has no measurement of condition {kinds[kind]}")
    number = torch.from_numpy(counts).to(x.device)[:, :, None]
    total = torch.zeros(len(kinds), len(kinds), dtype=torch.float64, device=x.device)
    for fold in range(len(parts)):
        test = sums[fold] / number[fold]
        train = (sums.sum(0) - sums[fold]) / (number.sum(0) - number[fold])
        kernel = test @ train.T
        own = kernel.diagonal()
        total += own[:, None] + own[None] - kernel - kernel.T
    return scaled_back(upper(total / len(parts) / x.shape[1]), unit, 2, "measurements")


def custom(patterns: Patterns, distance: Callable[[NDArray[Any], NDArray[Any]], float]) -> NDArray[np.float64]:
    """Any dissimilarity of two patterns.

    Args:
        patterns: activations (n, ...), flattened to (n, p).
        distance: of two patterns (p,), a number.

    Raises:
        UserError: as squared_euclidean; a distance that is not a finite number, which names the two stimuli.

    Example:
        >>> custom([[0.0, 1.0], [2.0, 1.0], [5.0, 1.0]], lambda a, b: np.abs(a - b).max())
        array([2., 5., 3.])
    """
    x = matrix(patterns).double().cpu().numpy()
    found = [distance(x[i], x[j]) for i in range(len(x)) for j in range(i + 1, len(x))]
    try:
        values = np.array([float(one) for one in found])
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"it must give one number for two patterns: {one_line(error)}", "distance") from error
    if not np.isfinite(values).all():
        first = int(np.argmin(np.isfinite(values)))
        i, j = (int(places[first]) for places in np.triu_indices(len(x), 1))
        raise UserError(f"the distance of stimuli {i} and {j} is {values[first]}")
    return values


MEASURES = {
    function.__name__: function
    for function in (
        correlation, cosine, euclidean, squared_euclidean, unit_euclidean, norm_difference, cityblock,
    )
}  # fmt: skip


def _refuse(wrong: Tensor, why: str) -> None:
    if wrong.any():
        raise UserError(f"the pattern of stimulus {int(wrong.nonzero()[0])} {why}")


def _block(block: int) -> int:
    return whole(block, "block", 1)


def _in_units(x: Tensor) -> tuple[Tensor, float]:
    """Patterns in units of their largest entry where squares are no numbers, and the unit."""
    most = float(largest(x).amax())
    unit = 1.0 if 1e-50 < most < 1e50 or not most else most
    return (x, 1.0) if unit == 1 else (x / unit, unit)


def _whitened(x: Tensor, precision: ArrayLike) -> tuple[Tensor, float]:
    """X R, with R R^T = P, in units, and the unit."""
    p = finite(precision, "precision")
    if p.shape != (x.shape[1], x.shape[1]) or not is_symmetric(p):
        raise UserError(f"a symmetric precision of {x.shape[1]} x {x.shape[1]} is needed, got shape {p.shape}")
    size = unit_of(p)
    root, failed = torch.linalg.cholesky_ex(torch.from_numpy(p / size).to(x.device))
    if int(failed):
        raise UserError("the precision is not positive definite: shrink the covariance that it is of more")
    z, unit = _in_units(x)
    return z @ root, unit * math.sqrt(size)
