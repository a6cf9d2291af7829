"""Multidimensional scaling: points whose distances are as given."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm.arguments import generator, number, whole
from orthotrace.analysis.rdm.arrays import (
    finite,
    is_symmetric,
    numbers,
    representable,
    same_index,
    scaled_back,
    unit_of,
)
from orthotrace.core.errors import UserError


def classical(distances: ArrayLike, dimensions: int = 2) -> NDArray[np.float64]:
    """Classical scaling: the principal coordinates of B = -1/2 J D^2 J, J = I - 11^T/n.

    Args:
        distances: (n, n), symmetric, at least 0.
        dimensions: of the points.

    Returns:
        (n, dimensions), centred; of each axis the largest entry in size is positive.

    Raises:
        UserError: not a symmetric matrix of finite distances with zeros on its diagonal; names the first fault.

    Source: Torgerson, Psychometrika 17 (1952) 401.

    Example:
        >>> classical([[0.0, 3.0], [3.0, 0.0]], dimensions=1).round(6)
        array([[ 1.5],
               [-1.5]])
    """
    given = _checked(distances)
    whole(dimensions, "dimensions", 1)
    # In units of the largest: squares overflow.
    scale = float(given.max()) or 1.0
    squared = (given / scale) ** 2
    centred = squared - squared.mean(axis=0) - squared.mean(axis=1, keepdims=True) + squared.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    values, vectors = values[::-1][:dimensions], vectors[:, ::-1][:, :dimensions]
    points = scale * vectors * np.sqrt(np.clip(values, 0, None))
    largest = np.abs(points).argmax(axis=0)
    points = representable(points * np.where(points[largest, np.arange(points.shape[1])] < 0, -1.0, 1.0), "distances")
    return np.pad(points, ((0, 0), (0, dimensions - points.shape[1])))


def smacof(
    distances: ArrayLike,
    dimensions: int = 2,
    iterations: int = 1000,
    tolerance: float = 1e-9,
    starts: int = 1,
    seed: int = 0,
) -> tuple[NDArray[np.float64], float]:
    """Metric scaling: minimises the stress by majorisation, from the classical solution.

        stress-1 = sqrt(sum_{i<j} (d_ij - |x_i - x_j|)^2 / sum_{i<j} |x_i - x_j|^2)

    Each step is the Guttman transform, X <- B(X) X / n; the sum of squared differences never rises. scikit-learn's
    smacof starts at random and stops by another rule.

    Args:
        distances: (n, n), symmetric, at least 0, n >= 2.
        dimensions: of the points.
        iterations: at most, from each start.
        tolerance: stop when the stress falls by less.
        starts: the classical solution and (starts - 1) random ones; the least stress counts.
        seed: of those at random.

    Returns:
        Points (n, dimensions), centred, and stress-1.

    Raises:
        UserError: not a symmetric matrix of finite distances with zeros on its diagonal, or all of them zero.

    Sources: Borg & Groenen, Modern Multidimensional Scaling, 2nd ed., chapter 8; Kruskal, Psychometrika 29 (1964) 1,
    for stress-1, which divides by the distances of the points.

    Example:
        >>> points, stress = smacof([[0.0, 3.0, 4.0], [3.0, 0.0, 5.0], [4.0, 5.0, 0.0]])
        >>> round(stress, 6)
        0.0
    """
    target = _checked(distances)
    unit = float(target.max()) or 1.0
    target = target / unit
    size = float(np.sqrt((target**2).sum()))
    if not size:
        raise UserError("all distances are zero: there is nothing to scale")
    for name, value in (("dimensions", dimensions), ("iterations", iterations), ("starts", starts)):
        whole(value, name, 1)
    number(tolerance, "tolerance", "a number of at least 0", lambda one: one >= 0)
    rng = generator(seed)
    scale = size / len(target)
    # Points that coincide would stay together: a millionth of the distances separates them.
    first = classical(target, dimensions) + 1e-6 * scale * rng.standard_normal((len(target), dimensions))
    begun = [first, *(scale * rng.standard_normal((len(target), dimensions)) for _ in range(starts - 1))]
    found = [_majorised(target, points, size, iterations, tolerance) for points in begun]
    points, stress = min(found, key=lambda one: one[1])
    # Of the points, not of the distances: where they fit best, these are the larger by 1 - stress^2.
    drawn = float(np.linalg.norm(points[:, None] - points[None]))
    stress = stress * size / drawn if drawn else stress
    with np.errstate(over="ignore"):
        return representable(points * unit, "distances"), stress


def _majorised(
    target: NDArray[np.float64], points: NDArray[np.float64], size: float, iterations: int, tolerance: float
) -> tuple[NDArray[np.float64], float]:
    apart, stress = _stress(target, points, size)
    for _ in range(iterations):
        ratio = np.divide(target, apart, out=np.zeros_like(target), where=apart > 0)
        moved = (ratio.sum(axis=1)[:, None] * points - ratio @ points) / len(points)
        before, (apart, stress) = stress, _stress(target, moved, size)
        points = moved
        if before - stress < tolerance:
            break
    return points - points.mean(axis=0), stress


def _stress(target: NDArray[np.float64], points: NDArray[np.float64], size: float) -> tuple[NDArray[np.float64], float]:
    """Distances between the points, and how far they are from the target beside its size."""
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return apart, float(np.sqrt(((target - apart) ** 2).sum()) / size)


def aligned(points: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """A configuration, moved, turned, reflected and scaled onto another (Procrustes).

    Args:
        points: (n, d).
        reference: (n, d).

    Returns:
        (n, d): the nearest to the reference, in the sum of squares.

    Raises:
        UserError: other shapes, entries that are not finite, or points that all coincide.

    Source: Gower & Dijksterhuis, Procrustes Problems, 2004, chapter 4.

    Example:
        >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        >>> aligned(3 * square[:, ::-1] + 5, square).round(6).tolist() == square.tolist()
        True
    """
    from scipy.linalg import orthogonal_procrustes

    same_index(points=points, reference=reference)
    x, y = finite(points, "points"), finite(reference, "reference")
    if x.ndim != 2 or x.shape != y.shape or not x.size:
        raise UserError(f"two finite configurations of one shape (n, d) are needed, got {x.shape} and {y.shape}")
    # Both in units of their largest where squares are no numbers; the scale of the points does not matter.
    unit = unit_of(y)
    x, y = x / unit_of(x), y / unit
    most, centre = np.abs(x).max(), y.mean(axis=0)
    x, y = x - x.mean(axis=0), y - centre
    if np.abs(x).max() <= 1e-12 * most:
        raise UserError("all points of the configuration coincide", "points")
    rotation, scale = orthogonal_procrustes(x, y)
    return scaled_back(x @ rotation * (scale / (x**2).sum()) + centre, unit, 1, "reference")


def _checked(distances: ArrayLike) -> NDArray[np.float64]:
    values = numbers(distances, "distances")
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not values.size:
        raise UserError(f"a symmetric matrix of finite distances is needed, got shape {values.shape}", "distances")
    if not np.isfinite(values).all():
        i, j = (int(place[0]) for place in np.nonzero(~np.isfinite(values)))
        raise UserError(f"a symmetric matrix of finite distances is needed: that of {i} and {j} is {values[i, j]}")
    if not is_symmetric(values):
        raise UserError("a symmetric matrix of finite distances is needed: this one is not symmetric")
    if (values < 0).any():
        raise UserError("distances are at least 0")
    if values.diagonal().any():
        raise UserError("the distance of a point to itself is 0: the diagonal is not")
    return values
