"""Noise between measurements: covariances with shrinkage, and their inverses, for Mahalanobis and crossnobis."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Shrinkage = Literal["identity", "diagonal", "variances", "none"]


def covariance(
    residuals: ArrayLike, shrinkage: Shrinkage = "diagonal", degrees: int | None = None
) -> NDArray[np.float64]:
    """Covariance of residuals, shrunk towards something that is never singular.

    "identity": S <- (b^2/d^2) m I + (1 - b^2/d^2) S, with the optimal weight of Ledoit & Wolf.
    "diagonal": correlations times 1 - l, with the optimal l of Schafer & Strimmer.
    "variances": the diagonal alone. "none": as it is.

    Args:
        residuals: (m, p), of m measurements; their mean is taken off.
        shrinkage: of the four.
        degrees: of freedom; None for m - 1.

    Returns:
        (p, p).

    Raises:
        ValueError: fewer than two measurements, entries that are not finite, or an unknown shrinkage.

    Sources: Ledoit & Wolf, Journal of Multivariate Analysis 88 (2004); Schafer & Strimmer, Statistical Applications in
    Genetics and Molecular Biology 4 (2005).

    Example:
        >>> covariance([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]], "variances").round(4)
        array([[0.6667, 0.    ],
               [0.    , 2.6667]])
    """
    x = np.asarray(residuals, dtype=np.float64)
    if x.ndim != 2 or len(x) < 2 or not np.isfinite(x).all():
        raise ValueError(f"finite residuals (m, p) of at least two measurements are needed, got shape {x.shape}")
    x = x - x.mean(0)
    m, p = x.shape
    dof = m - 1 if degrees is None else degrees
    if dof < 1:
        raise ValueError(f"at least one degree of freedom is needed (got {dof})")
    if np.abs(x).max(initial=0) > 1e100:
        raise ValueError("squares of the residuals overflow or underflow: scale them")
    moment = x.T @ x
    if shrinkage == "none":
        return np.asarray(moment / dof)
    if shrinkage == "variances":
        return np.diag(np.diag(moment) / dof)
    if shrinkage == "identity":
        from sklearn.covariance import ledoit_wolf

        return np.asarray(ledoit_wolf(x, assume_centered=True)[0] * m / dof)
    if shrinkage == "diagonal":
        s = moment / dof
        deviations = np.sqrt(np.diag(s))
        scale = np.where(deviations > 0, deviations, 1)
        mean = moment / np.outer(scale, scale) / (m - 1)
        squares = (x**2).T @ x**2
        variance = m / dof**2 * (squares / np.outer(scale**2, scale**2) / (m - 1) - mean**2)
        off = ~np.eye(p, dtype=bool)
        size = np.sum(mean[off] ** 2)
        weight = float(np.clip(np.sum(variance[off]) / size, 0, 1)) if size else 0.0
        return np.where(off, (1 - weight) * s, s)
    raise ValueError(f"there is no shrinkage '{shrinkage}'; there are: identity, diagonal, variances, none")


def precision(
    residuals: ArrayLike, shrinkage: Shrinkage = "diagonal", degrees: int | None = None
) -> NDArray[np.float64]:
    """Inverse of the covariance of residuals.

    Args:
        residuals: (m, p), as for covariance.
        shrinkage: of the four there.
        degrees: of freedom; None for m - 1.

    Raises:
        ValueError: as covariance; a covariance that is singular.

    Example:
        >>> precision([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]], "none").round(4)
        array([[1.5  , 0.   ],
               [0.   , 0.375]])
    """
    found = covariance(residuals, shrinkage, degrees)
    if np.linalg.matrix_rank(found, hermitian=True) < len(found):
        raise ValueError(f"the covariance of {len(found)} features is singular: shrink it, or measure more often")
    return np.asarray(np.linalg.inv(found), dtype=np.float64)
