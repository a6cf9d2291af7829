"""Representational dissimilarity matrices: from activations, as upper triangles.

An RDM of n stimuli is its upper triangle, row by row: n (n - 1) / 2 numbers. Features are read in blocks, so memory
stays at one n x n matrix and a block; the products of a block are in the type of the patterns (float32 at least), sums
over blocks in float64. Give float64 where stimuli are nearly the same, or of very different size.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from orthotrace.analysis.rdm.patterns import matrix

Patterns = Tensor | ArrayLike
BLOCK = 4096
# Stimuli at once: of a symmetric product half is enough.
ROWS = 250


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
        ValueError: fewer than three stimuli or two features, entries that are not finite real numbers, or a pattern
            that is constant, so that its correlation is undefined; names the first such stimulus.

    Source: Kriegeskorte, Mur & Bandettini, Frontiers in Systems Neuroscience 2:4 (2008).

    Example:
        >>> correlation([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 2.0, 1.0]]).round(6)
        array([0., 2., 2.])
    """
    x = matrix(patterns, features=2)
    size = _sizes(x)
    total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for part in x.split(block, dim=1):
        total += _scaled(part, size).sum(dim=1)
    mean = (total / x.shape[1])[:, None].to(x.dtype)
    rest = torch.zeros_like(total)

    def centred() -> Iterator[Tensor]:
        for part in x.split(block, dim=1):
            found = _scaled(part, size) - mean
            rest.add_(found.sum(dim=1))
            yield found

    gram = _gram(centred(), x)
    # What the rounding of the mean has left.
    gram -= rest[:, None] * rest[None] / x.shape[1]
    spread = gram.diagonal().clamp_min(0).sqrt()
    # What rounding leaves of a constant pattern.
    largest = 1.0 if size is not None else _largest(x).double()
    constant = spread <= 4 * torch.finfo(x.dtype).eps * x.shape[1] ** 0.5 * largest
    _refuse(constant, "is constant: its correlation is undefined")
    return _upper(1 - (gram / spread[:, None] / spread[None]).clamp(-1, 1))


def cosine(patterns: Patterns, block: int = BLOCK) -> NDArray[np.float64]:
    """Cosine distance between the patterns of each pair of stimuli.

        D_ij = 1 - <x_i, x_j> / (|x_i| |x_j|)

    Args:
        patterns: activations (n, ...), flattened.
        block: features at once.

    Returns:
        (n (n - 1) / 2,), in [0, 2].

    Raises:
        ValueError: as correlation; a pattern of zeros, which has no direction.

    Example:
        >>> cosine([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]]).round(6)
        array([1., 2., 1.])
    """
    x = matrix(patterns)
    size = _sizes(x)
    gram = _gram((_scaled(part, size) for part in x.split(block, dim=1)), x)
    spread = gram.diagonal().sqrt()
    _refuse(spread == 0, "is zero: it has no direction")
    return _upper(1 - (gram / spread[:, None] / spread[None]).clamp(-1, 1))


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
        ValueError: as correlation, constant patterns apart.

    Example:
        >>> squared_euclidean([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
        array([25.,  0., 25.])
    """
    x = matrix(patterns)
    distances, scale = _squared(x, block)
    with np.errstate(over="ignore", under="ignore"):
        found = distances * scale * scale
    if not np.isfinite(found).all() or ((found == 0) & (distances > 0)).any():
        raise ValueError(f"squares of distances of {scale:.3g} overflow or underflow: scale the patterns")
    return found / x.shape[1] if per_feature else found


def euclidean(patterns: Patterns, block: int = BLOCK) -> NDArray[np.float64]:
    """Euclidean distance between the patterns of each pair of stimuli.

        D_ij = |x_i - x_j|

    Args, Returns, Raises: as squared_euclidean.

    Example:
        >>> euclidean([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
        array([5., 0., 5.])
    """
    distances, scale = _squared(matrix(patterns), block)
    return np.sqrt(distances) * scale


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
    return np.sqrt(2 * cosine(patterns, block))


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
    size = _sizes(x)
    squares = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for part in x.split(block, dim=1):
        squares += _scaled(part, size).double().square().sum(1)
    length = squares.sqrt() * (1.0 if size is None else size[:, 0].double())
    return _upper((length[:, None] - length[None]).abs())


def cityblock(patterns: Patterns) -> NDArray[np.float64]:
    """City-block distance between the patterns of each pair of stimuli.

        D_ij = sum_k |x_ik - x_jk|

    Args, Returns, Raises: as squared_euclidean.

    Example:
        >>> cityblock([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
        array([7., 0., 7.])
    """
    from scipy.spatial.distance import pdist

    return np.asarray(pdist(matrix(patterns).double().cpu().numpy(), "cityblock"), dtype=np.float64)


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
        ValueError: as squared_euclidean; a precision of another shape, or that is not positive definite.

    Source: Walther et al., NeuroImage 137 (2016), eq. 2.

    Example:
        >>> mahalanobis([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], np.diag([2.0, 8.0]))
        array([1., 4., 5.])
    """
    x = matrix(patterns).double()
    return squared_euclidean(x @ _root(precision, x), per_feature=True, block=block)


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
        ValueError: as mahalanobis; labels of another number, fewer than three conditions or two folds, or a fold
            without one of the conditions.

    Source: Walther et al., NeuroImage 137 (2016), eq. 4; Diedrichsen et al., Neurons, Behavior, Data analysis and
    Theory 2020.

    Example:
        >>> crossnobis(np.repeat(np.eye(3), 2, axis=0), conditions=[0, 0, 1, 1, 2, 2], folds=[0, 1] * 3).round(4)
        array([0.6667, 0.6667, 0.6667])
    """
    x = matrix(measurements).double()
    kinds, which = np.unique(conditions, return_inverse=True)
    parts, of = np.unique(folds, return_inverse=True)
    if np.ndim(conditions) != 1 or np.ndim(folds) != 1 or len(which) != len(x) or len(of) != len(x):
        raise ValueError(f"{len(x)} measurements, {len(which)} conditions and {len(of)} folds: give one of each")
    if len(kinds) < 3 or len(parts) < 2:
        raise ValueError(f"at least three conditions and two folds are needed (got {len(kinds)} and {len(parts)})")
    if precision is not None:
        x = x @ _root(precision, x)
    sums = torch.zeros(len(parts), len(kinds), x.shape[1], dtype=torch.float64, device=x.device)
    place = (torch.from_numpy(of).to(x.device), torch.from_numpy(which).to(x.device))
    sums.index_put_(place, x, accumulate=True)
    counts = np.zeros((len(parts), len(kinds)))
    np.add.at(counts, (of, which), 1)
    if len(empty := np.argwhere(counts == 0)):
        fold, kind = empty[0]
        raise ValueError(f"fold {parts[fold]} has no measurement of condition {kinds[kind]}")
    number = torch.from_numpy(counts).to(x.device)[:, :, None]
    total = torch.zeros(len(kinds), len(kinds), dtype=torch.float64, device=x.device)
    for fold in range(len(parts)):
        test = sums[fold] / number[fold]
        train = (sums.sum(0) - sums[fold]) / (number.sum(0) - number[fold])
        kernel = test @ train.T
        own = kernel.diagonal()
        total += own[:, None] + own[None] - kernel - kernel.T
    if not torch.isfinite(total).all():
        raise ValueError("squares of the measurements overflow or underflow: scale them")
    return _upper(total / len(parts) / x.shape[1])


def custom(patterns: Patterns, distance: Callable[[NDArray[Any], NDArray[Any]], float]) -> NDArray[np.float64]:
    """Any dissimilarity of two patterns.

    Args:
        patterns: activations (n, ...), flattened to (n, p).
        distance: of two patterns (p,), a number.

    Raises:
        ValueError: as squared_euclidean; a distance that is not a finite number, which names the two stimuli.

    Example:
        >>> custom([[0.0, 1.0], [2.0, 1.0], [5.0, 1.0]], lambda a, b: np.abs(a - b).max())
        array([2., 5., 3.])
    """
    x = matrix(patterns).cpu().numpy()
    values = np.array([float(distance(x[i], x[j])) for i in range(len(x)) for j in range(i + 1, len(x))])
    if not np.isfinite(values).all():
        first = int(np.argmin(np.isfinite(values)))
        i, j = (int(places[first]) for places in np.triu_indices(len(x), 1))
        raise ValueError(f"the distance of stimuli {i} and {j} is {values[first]}")
    return values


MEASURES = {
    function.__name__: function
    for function in (
        correlation, cosine, euclidean, squared_euclidean, unit_euclidean, norm_difference, cityblock,
    )
}  # fmt: skip


def _sizes(x: Tensor) -> Tensor | None:
    """The largest entry of each pattern, (n, 1), 1 where there is none; None where no square leaves the numbers."""
    size = _largest(x)[:, None]
    if bool(((size > 1e-8) & (size < 1e8)).all()):
        return None
    return torch.where(size == 0, 1, size)


def _squared(x: Tensor, block: int) -> tuple[NDArray[np.float64], float]:
    """Squared distances in units of the square of a scale, and the scale."""
    largest = float(_largest(x).amax()) or 1.0
    scale = 1.0 if 1e-8 < largest < 1e8 else largest
    # Features are centred first: a common mean would take the digits in which stimuli differ.
    scaled = (part if scale == 1 else part / scale for part in x.split(block, dim=1))
    gram = _gram((part - part.mean(0) for part in scaled), x)
    own = gram.diagonal()
    return _upper((own[:, None] + own[None] - 2 * gram).clamp_min(0)), scale


def _largest(x: Tensor) -> Tensor:
    """The largest entry of each pattern in size, (n,), without a copy of all."""
    low, high = x.aminmax(dim=1)
    return torch.maximum(high, -low)


def _scaled(part: Tensor, size: Tensor | None) -> Tensor:
    return part if size is None else part / size


def _gram(parts: Iterator[Tensor], x: Tensor) -> Tensor:
    """The sum of X X^T over blocks of features, in float64: the upper triangle by blocks of rows, then the lower."""
    n = len(x)
    gram = torch.zeros(n, n, dtype=torch.float64, device=x.device)
    for part in parts:
        for start in range(0, n, ROWS):
            stop = start + ROWS
            gram[start:stop, start:] += part[start:stop] @ part[start:].T
    return gram.triu_().add_(gram.triu(1).T)


def _upper(values: Tensor) -> NDArray[np.float64]:
    rows, columns = torch.triu_indices(len(values), len(values), offset=1, device=values.device)
    return values[rows, columns].cpu().numpy()


def _refuse(wrong: Tensor, why: str) -> None:
    if wrong.any():
        raise ValueError(f"the pattern of stimulus {int(wrong.nonzero()[0])} {why}")


def _root(precision: ArrayLike, x: Tensor) -> Tensor:
    """A matrix R with R R^T = P."""
    p = torch.from_numpy(np.asarray(precision, dtype=np.float64)).to(x.device)
    if p.shape != (x.shape[1], x.shape[1]) or not torch.allclose(p, p.T):
        raise ValueError(f"a symmetric precision of {x.shape[1]} x {x.shape[1]} is needed, got shape {tuple(p.shape)}")
    root, failed = torch.linalg.cholesky_ex(p)
    if int(failed):
        raise ValueError("the precision is not positive definite: shrink the covariance that it is of more")
    return root
