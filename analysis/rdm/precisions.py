"""Precisions of the noise: one for all measurements, or one of each fold or representation; of some channels alone."""

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from orthotrace.analysis.rdm.arrays import finite, is_symmetric, labels, numbers, representable, unit_of
from orthotrace.analysis.rdm.products import largest
from orthotrace.core.errors import UserError

Matrix = NDArray[np.float64]
# One for all, of each fold by its name, or of each fold in their sorted order.
Precision = ArrayLike | Mapping[Any, ArrayLike]
DEFINITE = "the precision is not positive definite: shrink the covariance that it is of more"


def precision_of(precision: ArrayLike, features: int, name: str = "precision") -> Matrix:
    """A precision, checked: (p, p), symmetric and finite.

    Raises:
        UserError: another shape, or not symmetric.

    Example:
        >>> precision_of([[2.0, 0.0], [0.0, 1.0]], 2)
        array([[2., 0.],
               [0., 1.]])
    """
    found = finite(precision, name)
    if found.shape != (features, features) or not is_symmetric(found):
        raise UserError(f"a symmetric precision of {features} x {features} is needed, got shape {found.shape}", name)
    return found


def of_each(precision: Precision, folds: Collection[Any] | None, features: int) -> list[Matrix]:
    """The precision of each fold in their order; a single one where there is but one for all.

    Raises:
        UserError: precisions of other folds than there are; what precision_of refuses.

    Example:
        >>> [one.tolist() for one in of_each({"b": [[2.0]], "a": [[1.0]]}, ["a", "b"], 1)]
        [[[1.0]], [[2.0]]]
    """
    if isinstance(precision, Mapping):
        if folds is None:
            raise UserError("a precision of each fold needs folds, one for each measurement", "precision")
        same_names(precision, folds, "fold")
        return [precision_of(precision[fold], features, f"precision[{fold!r}]") for fold in folds]
    whole = numbers(precision, "precision")
    if whole.ndim != 3:
        return [precision_of(whole, features)]
    if folds is None or len(whole) != len(folds):
        raise UserError(
            f"{len(whole)} precisions of {0 if folds is None else len(folds)} folds: one of each", "precision"
        )
    return [precision_of(one, features, f"precision[{number}]") for number, one in enumerate(whole)]


def of_representations(options: Mapping[str, Any], names: list[str]) -> list[dict[str, Any]]:
    """The options of a measure for each representation, whose precision may be its own.

    A dictionary with the names of the representations, or a list of precisions where there are no folds, is of the
    representations; any other is of the folds.

    Raises:
        UserError: names that could be those of folds too, or precisions of other representations than there are.

    Example:
        >>> [one["precision"] for one in of_representations({"precision": {"b": 2, "a": 1}}, ["a", "b"])]
        [1, 2]
    """
    precision, folds = options.get("precision"), options.get("folds")
    plain = [dict(options) for _ in names]
    if isinstance(precision, Mapping):
        of_folds = set() if folds is None else set(labels(folds, "folds").tolist())
        if of_folds & set(precision) and not set(names) & set(precision):
            return plain
        if of_folds and set(precision) == of_folds == set(names):
            raise UserError(
                "folds and representations have the same names: give {name: {fold: precision}}", "precision"
            )
        if of_folds and not set(names) & set(precision):
            return plain
        same_names(precision, names, "representation")
        return [{**one, "precision": precision[name]} for one, name in zip(plain, names, strict=True)]
    if precision is None or folds is not None or (whole := numbers(precision, "precision")).ndim != 3:
        return plain
    if len(whole) != len(names):
        raise UserError(f"{len(whole)} precisions of {len(names)} representations: one of each", "precision")
    return [{**one, "precision": own} for one, own in zip(plain, whole, strict=True)]


def mean_covariance(precisions: list[Matrix]) -> Matrix:
    """The mean of the covariances that precisions of moderate size are of.

    Raises:
        UserError: a precision that is not positive definite, or of another size than the others by far.

    Example:
        >>> mean_covariance([np.eye(2), np.eye(2) / 3])
        array([[2., 0.],
               [0., 2.]])
    """
    total = np.zeros_like(precisions[0])
    for one in precisions:
        inverse = np.linalg.inv(_cholesky(one))
        total += inverse.T @ inverse / len(precisions)
    return representable(total, "precision")


def root_of(covariance: Matrix, channels: NDArray[np.bool_]) -> Matrix:
    """R with R R^T the precision of some channels: the inverse of their part of the covariance, (s, s).

    Example:
        >>> root_of(np.diag([4.0, 1.0]), np.array([True, False]))
        array([[0.5]])
    """
    part = covariance[np.ix_(channels, channels)]
    return representable(np.linalg.inv(_cholesky(part)).T, "precision")


def whitened(x: Tensor, precision: Matrix) -> tuple[Tensor, float]:
    """X R of patterns without their common mean, with R R^T = P, in units, and the unit.

    Their differences are the same, and keep the digits that a large mean would take.

    Raises:
        UserError: a precision that is not positive definite.
    """
    size = unit_of(precision)
    root, failed = torch.linalg.cholesky_ex(torch.from_numpy(precision / size).to(x.device))
    if int(failed):
        raise UserError(DEFINITE, "precision")
    z, unit = in_units(x)
    return (z - z.mean(0)) @ root, unit * math.sqrt(size)


def in_units(x: Tensor) -> tuple[Tensor, float]:
    """Patterns in units of their largest entry where squares are no numbers, and the unit."""
    most = float(largest(x).amax())
    unit = 1.0 if 1e-50 < most < 1e50 or not most else most
    return (x, 1.0) if unit == 1 else (x / unit, unit)


def same_names(given: Collection[Any], wanted: Collection[Any], what: str) -> None:
    """Refuse precisions of other things than there are, by one line that names the first."""
    missing = [one for one in wanted if one not in given]
    extra = [one for one in given if one not in wanted]
    if missing or extra:
        of = [f"none of {what} {missing[0]!r}"] if missing else []
        no = [f"{extra[0]!r} is no {what}"] if extra else []
        there = ", ".join(map(repr, list(wanted)[:8]))
        raise UserError(f"{' and '.join([*of, *no])}; the {what}s are {there}", "precision")


def _cholesky(one: Matrix) -> Matrix:
    try:
        return np.asarray(np.linalg.cholesky(one), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise UserError(DEFINITE, "precision") from error
