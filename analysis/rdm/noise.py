"""Noise between measurements: covariances with shrinkage, and their inverses, for Mahalanobis and crossnobis."""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm.arguments import number
from orthotrace.analysis.rdm.arrays import (
    kinds_of,
    labels,
    numbers,
    representable,
    same_index,
    scaled_back,
    unit_of,
)  # fmt: skip
from orthotrace.analysis.rdm.patterns import matrix
from orthotrace.analysis.rdm.precisions import DEFINITE, Precision, of_each
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
    centred = x - x.mean(0)
    # What rounding leaves of a constant feature is no variance: standardised, it would shrink all others away.
    constant = np.abs(centred).max(0) <= 4 * np.finfo(np.float64).eps * np.abs(x).max(0)
    x = np.where(constant, 0, centred)
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


def precisions(
    residuals: ArrayLike, folds: ArrayLike, shrinkage: Shrinkage = "diagonal", degrees: int | None = None
) -> dict[Any, NDArray[np.float64]]:
    """The precision of each fold, such as each run, from its own residuals: as mahalanobis and crossnobis take them.

    Args:
        residuals: (m, p), of all folds.
        folds: of each measurement, (m,).
        shrinkage: of the four of covariance.
        degrees: of freedom in each fold; None for its measurements less one.

    Returns:
        Name of the fold -> (p, p), in their sorted order.

    Raises:
        UserError: as precision, names the fold; labels of another number.

    Source: Walther et al., NeuroImage 137 (2016).

    Example:
        >>> found = precisions([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]] * 2, ["a"] * 4 + ["b"] * 4, "none")
        >>> list(found), found["b"].round(4).tolist()
        (['a', 'b'], [[1.5, 0.0], [0.0, 0.375]])
    """
    same_index(residuals=residuals, folds=folds)
    x = numbers(residuals, "residuals")
    if x.ndim != 2:
        raise UserError(f"finite residuals (m, p) of at least two measurements are needed, got shape {x.shape}")
    kinds, which = kinds_of(labels(folds, "folds", len(x), "measurements"), "folds")
    found = {}
    for number_of, fold in enumerate(kinds.tolist()):
        try:
            found[fold] = precision(x[which == number_of], shrinkage, degrees)
        except UserError as error:
            raise UserError(f"fold {fold!r}: {error}") from error
    return found


def whiten(patterns: ArrayLike, precision: Precision, folds: ArrayLike | None = None) -> NDArray[np.float64]:
    """Patterns whose noise has the identity as covariance (multivariate noise normalisation).

        z = x P^(1/2), with the symmetric root of P, that of the fold of x where each has its own

    Squared Euclidean distances of them are Mahalanobis distances, within a fold.

    Args:
        patterns: (n, ...), flattened to (n, p).
        precision: P, (p, p); or that of each fold, by its name, {fold: P}, or in a list, in their sorted order.
        folds: of each pattern, (n,); for precisions of folds.

    Returns:
        (n, p).

    Raises:
        UserError: patterns that are not finite; what mahalanobis refuses of a precision; results that are too large or
            too small to be numbers.

    Source: Guggenmos, Sterzer & Cichy, NeuroImage 173 (2018).

    Example:
        >>> whiten([[1.0, 1.0], [2.0, 0.0]], {"a": np.diag([4.0, 1.0]), "b": np.eye(2)}, ["a", "b"])
        array([[2., 1.],
               [2., 0.]])
    """
    same_index(patterns=patterns, folds=folds)
    x = matrix(patterns, 1).double().cpu().numpy()
    kinds, which = (None, np.zeros(len(x), dtype=np.intp))
    if folds is not None:
        kinds, which = kinds_of(labels(folds, "folds", len(x), "patterns"), "folds")
    each = of_each(precision, None if kinds is None else kinds.tolist(), x.shape[1])
    found = np.empty_like(x)
    for place, one in enumerate(each):
        unit = unit_of(one)
        values, vectors = np.linalg.eigh(one / unit)
        if values[0] <= 0:
            raise UserError(DEFINITE, "precision")
        there = which == place if len(each) > 1 else slice(None)
        with np.errstate(over="ignore", under="ignore"):
            in_units = x[there] @ (vectors * np.sqrt(values)) @ vectors.T
            found[there] = in_units * np.sqrt(unit)
        if ((found[there] == 0) & (in_units != 0)).any():
            raise UserError("what is computed of entries of this size is too small a number: scale them", "patterns")
    return representable(found, "patterns")
