"""Multidimensional scaling: points whose distances are as given."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def classical(distances: ArrayLike, dimensions: int = 2) -> NDArray[np.float64]:
    """Classical scaling: the principal coordinates of B = -1/2 J D^2 J, J = I - 11^T/n.

    Args:
        distances: (n, n), symmetric, at least 0.
        dimensions: of the points.

    Returns:
        (n, dimensions), centred; of each axis the largest entry in size is positive.

    Raises:
        ValueError: not a symmetric matrix of finite distances with zeros on its diagonal; names the first fault.

    Source: Torgerson, Psychometrika 17 (1952) 401.

    Example:
        >>> classical([[0.0, 3.0], [3.0, 0.0]], dimensions=1).round(6)
        array([[ 1.5],
               [-1.5]])
    """
    given = _checked(distances)
    # In units of the largest: squares overflow.
    scale = float(given.max()) or 1.0
    squared = (given / scale) ** 2
    centred = squared - squared.mean(axis=0) - squared.mean(axis=1, keepdims=True) + squared.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    values, vectors = values[::-1][:dimensions], vectors[:, ::-1][:, :dimensions]
    points = scale * vectors * np.sqrt(np.clip(values, 0, None))
    largest = np.abs(points).argmax(axis=0)
    points = points * np.where(points[largest, np.arange(points.shape[1])] < 0, -1.0, 1.0)
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

        stress-1 = sqrt(sum_{i<j} (d_ij - |x_i - x_j|)^2 / sum_{i<j} d_ij^2)

    Each step is the Guttman transform, X <- B(X) X / n; the stress never rises. scikit-learn's smacof starts at random
    and stops by another rule.

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
        ValueError: not a symmetric matrix of finite distances with zeros on its diagonal, or all of them zero.

    Source: Borg & Groenen, Modern Multidimensional Scaling, 2nd ed., chapter 8.

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
        raise ValueError("all distances are zero: there is nothing to scale")
    if starts < 1:
        raise ValueError(f"at least one start is needed (got {starts})")
    rng = np.random.default_rng(seed)
    scale = size / len(target)
    # Points that coincide would stay together: a millionth of the distances separates them.
    first = classical(target, dimensions) + 1e-6 * scale * rng.standard_normal((len(target), dimensions))
    begun = [first, *(scale * rng.standard_normal((len(target), dimensions)) for _ in range(starts - 1))]
    found = [_majorised(target, points, size, iterations, tolerance) for points in begun]
    points, stress = min(found, key=lambda one: one[1])
    return points * unit, stress


def _majorised(
    target: NDArray[np.float64], points: NDArray[np.float64], size: float, iterations: int, tolerance: float
) -> tuple[NDArray[np.float64], float]:
    stress = np.inf
    for _ in range(iterations):
        apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
        before, stress = stress, float(np.sqrt(((target - apart) ** 2).sum()) / size)
        if before - stress < tolerance:
            break
        ratio = np.divide(target, apart, out=np.zeros_like(target), where=apart > 0)
        points = (ratio.sum(axis=1)[:, None] * points - ratio @ points) / len(points)
    return points - points.mean(axis=0), stress


def aligned(points: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """A configuration, moved, turned, reflected and scaled onto another (Procrustes).

    Args:
        points: (n, d).
        reference: (n, d).

    Returns:
        (n, d): the nearest to the reference, in the sum of squares.

    Raises:
        ValueError: other shapes, entries that are not finite, or points that all coincide.

    Source: Gower & Dijksterhuis, Procrustes Problems, 2004, chapter 4.

    Example:
        >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        >>> aligned(3 * square[:, ::-1] + 5, square).round(6).tolist() == square.tolist()
        True
    """
    from scipy.linalg import orthogonal_procrustes

    x, y = (np.asarray(one, dtype=np.float64) for one in (points, reference))
    if x.ndim != 2 or x.shape != y.shape or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(f"two finite configurations of one shape (n, d) are needed, got {x.shape} and {y.shape}")
    centre = y.mean(axis=0)
    x, y = x - x.mean(axis=0), y - centre
    if np.abs(x).max() <= 1e-12 * np.abs(np.asarray(points)).max(initial=0):
        raise ValueError("all points of the configuration coincide")
    rotation, scale = orthogonal_procrustes(x, y)
    return np.asarray(x @ rotation * (scale / (x**2).sum()) + centre, dtype=np.float64)


def _checked(distances: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(distances, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise ValueError(f"a symmetric matrix of finite distances is needed, got shape {values.shape}")
    if not np.isfinite(values).all():
        i, j = (int(place[0]) for place in np.nonzero(~np.isfinite(values)))
        raise ValueError(f"a symmetric matrix of finite distances is needed: that of {i} and {j} is {values[i, j]}")
    if not np.allclose(values, values.T):
        raise ValueError("a symmetric matrix of finite distances is needed: this one is not symmetric")
    if (values < 0).any():
        raise ValueError("distances are at least 0")
    if values.diagonal().any():
        raise ValueError("the distance of a point to itself is 0: the diagonal is not")
    return values
