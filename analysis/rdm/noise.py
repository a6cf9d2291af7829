"""Noise between measurements: covariances with shrinkage, and their inverses, for Mahalanobis and crossnobis."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm.arguments import number
from orthotrace.analysis.rdm.arrays import numbers, representable, scaled_back, unit_of
from orthotrace.core.errors import UserError, refuse_unknown

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
        UserError: fewer than two measurements, entries that are not finite or whose squares are no numbers, or an
            unknown shrinkage.

    Sources: Ledoit & Wolf, Journal of Multivariate Analysis 88 (2004); Schafer & Strimmer, Statistical Applications in
    Genetics and Molecular Biology 4 (2005).

    Example:
        >>> covariance([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]], "variances").round(4)
        array([[0.6667, 0.    ],
               [0.    , 2.6667]])
    """
    refuse_unknown([shrinkage], get_args(Shrinkage), "there is no shrinkage", "shrinkage")
    x = numbers(residuals, "residuals")
    if x.ndim != 2 or len(x) < 2 or not x.shape[1] or not np.isfinite(x).all():
        raise UserError(f"finite residuals (m, p) of at least two measurements are needed, got shape {x.shape}")
    m = len(x)
    if degrees is not None:
        number(degrees, "degrees", "at least one degree of freedom", lambda one: one >= 1)
    dof = m - 1 if degrees is None else degrees
    # In units of the largest where fourth powers are no numbers.
    unit = unit_of(x)
    x = x / unit
    x = x - x.mean(0)
    found = _shrunk(x, shrinkage, dof)
    lost = (np.diag(found) == 0) & (np.abs(x).max(0) > 0)
    if lost.any():
        raise UserError(f"squares of feature {int(np.argmax(lost))} underflow beside the others: scale it", "residuals")
    return scaled_back(found, unit, 2, "residuals")


def _shrunk(x: NDArray[np.float64], shrinkage: Shrinkage, dof: float) -> NDArray[np.float64]:
    m, p = x.shape
    moment = x.T @ x
    if shrinkage == "none":
        return np.asarray(moment / dof)
    if shrinkage == "variances":
        return np.diag(np.diag(moment) / dof)
    if shrinkage == "identity":
        from sklearn.covariance import ledoit_wolf

        return np.asarray(ledoit_wolf(x, assume_centered=True)[0] * m / dof)
    s = moment / dof
    deviations = np.sqrt(np.diag(s))
    scale = np.where(deviations > 0, deviations, 1)
    mean = moment / np.outer(scale, scale) / (m - 1)
    # Of standardised residuals: fourth powers of small ones underflow.
    squares = ((x / scale) ** 2).T @ (x / scale) ** 2
    variance = m / dof**2 * (squares / (m - 1) - mean**2)
    off = ~np.eye(p, dtype=bool)
    size = np.sum(mean[off] ** 2)
    weight = float(np.clip(np.sum(variance[off]) / size, 0, 1)) if size else 0.0
    return np.where(off, (1 - weight) * s, s)


def precision(
    residuals: ArrayLike, shrinkage: Shrinkage = "diagonal", degrees: int | None = None
) -> NDArray[np.float64]:
    """Inverse of the covariance of residuals.

    Args:
        residuals: (m, p), as for covariance.
        shrinkage: of the four there.
        degrees: of freedom; None for m - 1.

    Raises:
        UserError: as covariance; a covariance that is singular.

    Example:
        >>> precision([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]], "none").round(4)
        array([[1.5  , 0.   ],
               [0.   , 0.375]])
    """
    found = covariance(residuals, shrinkage, degrees)
    unit = unit_of(found)
    if np.linalg.matrix_rank(found / unit, hermitian=True) < len(found):
        raise UserError(f"the covariance of {len(found)} features is singular: shrink it, or measure more often")
    with np.errstate(over="ignore"):
        inverse = np.linalg.inv(found / unit) / unit
    return representable(inverse, "residuals")
