"""Dissimilarities between the patterns of two runs; of the same conditions, with their reliability on the diagonal."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from orthotrace.analysis.rdm.arrays import index_of, is_plain, kinds_of, labels, representable, same_index
from orthotrace.analysis.rdm.dissimilarity import MEASURES
from orthotrace.analysis.rdm.patterns import UndefinedPatternsError, matrix
from orthotrace.analysis.rdm.precisions import same_names
from orthotrace.analysis.rdm.triangles import checked_triangle, square
from orthotrace.core.errors import UserError, refuse_unknown

Matrix = NDArray[np.float64]
Measure = Callable[..., ArrayLike]


def cross_run(
    first: Tensor | ArrayLike, second: Tensor | ArrayLike, measure: str | Measure = "correlation", **options: Any
) -> Matrix:
    """Dissimilarity of every pattern of one run with every pattern of another.

        D_ij = d(x_i, y_j)

    Where both runs have the same conditions in the same order, the diagonal tells how reliably a condition is
    represented, beside its dissimilarity from the others.

    Args:
        first: (n, ...), flattened to (n, p).
        second: (m, ...), flattened to (m, p).
        measure: a name of rdm.MEASURES, or a function of activations that gives an upper triangle, such as
            rdm.mahalanobis.
        options: of the measure, such as missing=True.

    Returns:
        (n, m). Not symmetric, and not 0 on the diagonal.

    Raises:
        UserError: runs of other features, frames of the same rows in another order, what the measure refuses.

    Source: Kriegeskorte et al., Neuron 60:1126 (2008), split data RDMs; Henriksson et al., NeuroImage 114 (2015).

    Example:
        >>> one = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> cross_run(one, one + [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]], "squared_euclidean")
        array([[0., 3.],
               [2., 1.]])
    """
    same = {"first": first, "second": second}
    index, other = index_of(first), index_of(second)
    # Of other conditions, rows have other names.
    if index is not None and other is not None and not is_plain(index) and set(index) == set(other):
        same_index(**same)
    missing = bool(options.get("missing"))
    x, y = (matrix(one, 1, key=key, missing=missing) for key, one in same.items())
    if x.shape[1] != y.shape[1]:
        raise UserError(f"patterns of one number of features are needed, got {x.shape[1]} and {y.shape[1]}", "second")
    function, name = _measure(measure)
    n = len(x)
    both = torch.cat([x.double(), y.double().to(x.device)])
    if len(both) < 3:
        # Of two patterns no RDM is made; one that comes twice changes nothing.
        both = torch.cat([both, both[:1]])
    try:
        triangle = function(both, **options)
    except UndefinedPatternsError as error:
        place = error.stimuli[0]
        key, place = ("first", place) if place < n else ("second", place - n)
        raise UserError(f"the pattern of stimulus {place} {error.why}", key) from error
    found = square(checked_triangle(triangle, len(both), name, missing))
    return found[:n, n : n + len(y)].copy()


def split_half(
    measurements: Tensor | ArrayLike,
    conditions: ArrayLike,
    folds: ArrayLike,
    measure: str | Measure = "correlation",
    **options: Any,
) -> Matrix:
    """Dissimilarities of conditions between the folds, symmetric, with the reliability of each on the diagonal.

        D_ij = mean over folds f != g of d(x_i^f, x_j^g)

    with x_i^f the mean pattern of condition i in fold f. Of two folds it is the split-half RDM.

    Args:
        measurements: (m, ...), flattened to (m, p).
        conditions: of each measurement; conditions come in their sorted order.
        folds: of each measurement, such as its run or half; some may lack some conditions.
        measure: as for cross_run.
        options: of the measure; precisions of each fold, as {fold: P}, are those of mahalanobis.

    Returns:
        Of k conditions (k, k), symmetric. NaN where no fold has the one and another fold the other; for a condition
        alone, where one fold has it.

    Raises:
        UserError: as cross_run; labels of another number, fewer than two conditions or two folds.

    Source: as cross_run.

    Example:
        >>> x = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
        >>> split_half(x, ["a", "b", "a", "b"], [1, 1, 2, 2], "squared_euclidean")
        array([[1. , 2.5],
               [2.5, 0. ]])
    """
    same_index(measurements=measurements, conditions=conditions, folds=folds)
    missing = bool(options.get("missing"))
    x = matrix(measurements, 2, key="measurements", missing=missing).double()
    kinds, which = kinds_of(labels(conditions, "conditions", len(x), "measurements"), "conditions")
    parts, of = kinds_of(labels(folds, "folds", len(x), "measurements"), "folds")
    if len(kinds) < 2 or len(parts) < 2:
        raise UserError(f"at least two conditions and two folds are needed (got {len(kinds)} and {len(parts)})")
    has = np.zeros((len(parts), len(kinds)), dtype=bool)
    has[of, which] = True
    means = [
        torch.stack([_mean(x[torch.from_numpy((of == fold) & (which == kind))]) for kind in np.flatnonzero(there)])
        for fold, there in enumerate(has)
    ]
    total, number = np.zeros((len(kinds), len(kinds))), np.zeros((len(kinds), len(kinds)))
    names = parts.tolist()
    if isinstance(options.get("precision"), Mapping):
        same_names(options["precision"], names, "fold")
    for f, g in itertools.combinations(range(len(parts)), 2):
        own = dict(options)
        if isinstance(options.get("precision"), Mapping):
            own["folds"] = [*[names[f]] * len(means[f]), *[names[g]] * len(means[g])]
            own["precision"] = {name: options["precision"][name] for name in (names[f], names[g])}
        found = cross_run(means[f], means[g], measure, **own)
        there = ~np.isnan(found)
        at = np.ix_(np.flatnonzero(has[f]), np.flatnonzero(has[g]))
        for values, into in ((np.where(there, found, 0), total), (there, number)):
            both = np.zeros_like(total)
            both[at] = values
            into += both + both.T
    representable(total, "measurements")
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _measure(measure: str | Measure) -> tuple[Measure, str]:
    if callable(measure):
        return measure, getattr(measure, "__name__", type(measure).__name__)
    refuse_unknown([measure], list(MEASURES), "there is no measure", "measure")
    return MEASURES[measure], measure


def _mean(rows: Tensor) -> Tensor:
    """The mean pattern, of each channel over the rows that have it."""
    return rows.mean(0) if not bool(torch.isnan(rows).any()) else rows.nanmean(0)
