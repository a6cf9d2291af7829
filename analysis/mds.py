"""Multidimensional scaling: points whose distances are as given."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def classical(distances: ArrayLike, dimensions: int = 2) -> NDArray[np.float64]:
    """Classical scaling: the principal coordinates of B = -1/2 J D^2 J, J = I - 11^T/n.

    Args:
        distances: (n, n), symmetric, at least 0.
        dimensions: of the points.

    Returns:
        (n, dimensions), centred; of each axis the largest entry in size is positive.

    Source: Torgerson, Psychometrika 17 (1952) 401.

    Example:
        >>> classical([[0.0, 3.0], [3.0, 0.0]], dimensions=1).round(6)
        array([[ 1.5],
               [-1.5]])
    """
    squared = np.asarray(distances, dtype=np.float64) ** 2
    centred = squared - squared.mean(axis=0) - squared.mean(axis=1, keepdims=True) + squared.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    values, vectors = values[::-1][:dimensions], vectors[:, ::-1][:, :dimensions]
    points = vectors * np.sqrt(np.clip(values, 0, None))
    largest = np.abs(points).argmax(axis=0)
    points = points * np.where(points[largest, np.arange(points.shape[1])] < 0, -1.0, 1.0)
    return np.pad(points, ((0, 0), (0, dimensions - points.shape[1])))


def smacof(
    distances: ArrayLike, dimensions: int = 2, iterations: int = 1000, tolerance: float = 1e-9
) -> tuple[NDArray[np.float64], float]:
    """Metric scaling: minimises the stress by majorisation, from the classical solution.

        stress-1 = sqrt(sum_{i<j} (d_ij - |x_i - x_j|)^2 / sum_{i<j} d_ij^2)

    Each step is the Guttman transform, X <- B(X) X / n; the stress never rises.

    Args:
        distances: (n, n), symmetric, at least 0, n >= 2.
        dimensions: of the points.
        iterations: at most.
        tolerance: stop when the stress falls by less.

    Returns:
        Points (n, dimensions), centred, and stress-1.

    Raises:
        ValueError: not a symmetric matrix of finite distances, or all of them zero.

    Source: Borg & Groenen, Modern Multidimensional Scaling, 2nd ed., chapter 8.

    Example:
        >>> points, stress = smacof([[0.0, 3.0, 4.0], [3.0, 0.0, 5.0], [4.0, 5.0, 0.0]])
        >>> round(stress, 6)
        0.0
    """
    target = np.asarray(distances, dtype=np.float64)
    if target.ndim != 2 or target.shape[0] != target.shape[1] or not np.allclose(target, target.T):
        raise ValueError("a symmetric matrix of finite distances is needed")
    if (target < 0).any():
        raise ValueError("distances are at least 0")
    size = np.sqrt((target**2).sum())
    if not size:
        raise ValueError("all distances are zero: there is nothing to scale")
    points = classical(target, dimensions)
    stress = np.inf
    for _ in range(iterations):
        apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
        before, stress = stress, float(np.sqrt(((target - apart) ** 2).sum()) / size)
        if before - stress < tolerance:
            break
        ratio = np.divide(target, apart, out=np.zeros_like(target), where=apart > 0)
        points = (ratio.sum(axis=1)[:, None] * points - ratio @ points) / len(points)
    return points, stress
