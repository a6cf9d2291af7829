"""Distances of patterns whitened by the precision of their noise: Mahalanobis, and cross-validated (crossnobis)."""

import itertools
import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from orthotrace.analysis.rdm.arguments import whole as whole_number
from orthotrace.analysis.rdm.arrays import kinds_of, labels, representable, same_index, scaled_back, unit_of
from orthotrace.analysis.rdm.channels import checked
from orthotrace.analysis.rdm.dissimilarity import BLOCK, squared_euclidean
from orthotrace.analysis.rdm.patterns import matrix, with_gaps
from orthotrace.analysis.rdm.precisions import Precision, in_units, mean_covariance, of_each, root_of, whitened
from orthotrace.analysis.rdm.rounding import squared_distances
from orthotrace.analysis.rdm.triangles import square
from orthotrace.core.errors import UserError


def mahalanobis(
    patterns: Tensor | ArrayLike,
    precision: Precision,
    block: int = BLOCK,
    folds: ArrayLike | None = None,
    missing: bool = False,
) -> NDArray[np.float64]:
    """Squared Mahalanobis distance between the patterns of each pair of stimuli, for each feature.

        D_ij = (x_i - x_j)^T P (x_i - x_j) / p

    With a precision of each fold, that of a pattern of fold f and one of fold g is of the mean of their covariances,
    P_fg = ((P_f^-1 + P_g^-1) / 2)^-1. With missing channels it is of those that both patterns have: the inverse of
    their part of the covariance, and p their number.

    Args:
        patterns: activations (n, ...), flattened to (n, p).
        precision: P, (p, p), symmetric and positive definite: see noise.precision; or that of each fold, by its name,
            {fold: P}, or in a list, in the sorted order of the folds.
        block: features at once.
        folds: of each pattern, such as its run; for precisions of folds.
        missing: channels may be missing (NaN), as for squared_euclidean.

    Returns:
        (n (n - 1) / 2,), at least 0; with missing channels NaN where two patterns share none.

    Raises:
        UserError: as squared_euclidean; a precision of another shape, or that is not positive definite; precisions of
            other folds than there are.

    Source: Walther et al., NeuroImage 137 (2016), eq. 2.

    Example:
        >>> mahalanobis([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], np.diag([2.0, 8.0]))
        array([1., 4., 5.])
        >>> p = {"day 1": np.diag([2.0, 8.0]), "day 2": np.diag([2.0, 2.0])}
        >>> mahalanobis([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], p, folds=["day 1", "day 1", "day 2"]).round(3)
        array([1. , 1.6, 2.6])
    """
    same_index(patterns=patterns, folds=folds)
    gaps = with_gaps(patterns, missing)
    x = matrix(patterns).double() if gaps is None else torch.from_numpy(gaps)
    parts, of = (
        (None, np.zeros(len(x), dtype=np.intp)) if folds is None else kinds_of(labels(folds, "folds", len(x)), "folds")
    )
    precisions = of_each(precision, None if parts is None else parts.tolist(), x.shape[1])
    if len(precisions) > 1 or gaps is not None:
        return _by_groups(x, precisions, of, block)
    z, unit = whitened(x, precisions[0])
    return scaled_back(squared_euclidean(z, per_feature=True, block=block), unit, 2, "patterns")


def crossnobis(
    measurements: Tensor | ArrayLike,
    conditions: ArrayLike,
    folds: ArrayLike,
    precision: Precision | None = None,
    missing: bool = False,
) -> NDArray[np.float64]:
    """Cross-validated squared Mahalanobis distance between conditions, for each feature: 0 on average where two agree.

        D_ij = mean over the folds that have both conditions of (a_i - a_j)^T P (b_i - b_j) / p

    with a the mean patterns of a fold and b those of all others of these folds. With a precision of each fold, or with
    missing channels, it is over the pairs of folds f < g that have both conditions in some channels C,

        D_ij = mean of (a_i^f - a_j^f)^T P_fg (a_i^g - a_j^g) / |C|,  P_fg the inverse in C of (P_f^-1 + P_g^-1) / 2

    which is the same for one P where all folds have the same numbers of measurements.

    Args:
        measurements: (m, ...), several for each condition, flattened to (m, p).
        conditions: of each measurement; conditions come in their sorted order.
        folds: of each measurement, such as its session; some may lack some conditions.
        precision: P, (p, p), as for mahalanobis; None for the identity. Or that of the mean patterns of each fold, by
            its name, {fold: P}, or in a list, in the sorted order of the folds.
        missing: channels may be missing (NaN): a mean pattern is of the measurements that have the channel.

    Returns:
        Of k conditions (k (k - 1) / 2,); may be below 0. NaN where no two folds have both conditions.

    Raises:
        UserError: as mahalanobis; labels of another number, fewer than three conditions or two folds, or no two
            conditions that two folds have.

    Source: Walther et al., NeuroImage 137 (2016), eq. 4; Diedrichsen et al., Neurons, Behavior, Data analysis and
    Theory 2020.

    Example:
        >>> crossnobis(np.repeat(np.eye(3), 2, axis=0), conditions=[0, 0, 1, 1, 2, 2], folds=[0, 1] * 3).round(4)
        array([0.6667, 0.6667, 0.6667])
        >>> crossnobis(np.eye(3)[[0, 1, 0, 1, 2]], conditions=[0, 1, 0, 1, 2], folds=[0, 0, 1, 1, 1]).round(4)
        array([0.6667,    nan,    nan])
    """
    same_index(measurements=measurements, conditions=conditions, folds=folds)
    gaps = with_gaps(measurements, missing, key="measurements")
    x = matrix(measurements, key="measurements").double() if gaps is None else torch.from_numpy(gaps)
    given, parts_given = labels(conditions, "conditions"), labels(folds, "folds")
    if len(given) != len(x) or len(parts_given) != len(x):
        raise UserError(
            f"{len(x)} measurements, {len(given)} conditions and {len(parts_given)} folds: give one of each"
        )
    kinds, which = kinds_of(given, "conditions")
    parts, of = kinds_of(parts_given, "folds")
    if len(kinds) < 3 or len(parts) < 2:
        raise UserError(f"at least three conditions and two folds are needed (got {len(kinds)} and {len(parts)})")
    precisions = [] if precision is None else of_each(precision, parts.tolist(), x.shape[1])
    by_pairs = gaps is not None or len(precisions) > 1
    x, unit = whitened(x, precisions[0]) if precisions and not by_pairs else in_units(torch.nan_to_num(x))
    place = (torch.from_numpy(of).to(x.device), torch.from_numpy(which).to(x.device))
    sums = torch.zeros(len(parts), len(kinds), x.shape[1], dtype=torch.float64, device=x.device)
    sums.index_put_(place, x, accumulate=True)
    if by_pairs:
        counts = np.zeros(sums.shape)
        np.add.at(counts, (of, which), 1 if gaps is None else ~np.isnan(gaps))
        means = sums.cpu().numpy() / np.maximum(counts, 1)
        size = max(map(unit_of, precisions)) if precisions else 1.0
        found = _over_pairs(means, counts > 0, [one / size for one in precisions])
        unit *= math.sqrt(size)
    else:
        numbers = np.zeros((len(parts), len(kinds)))
        np.add.at(numbers, (of, which), 1)
        found = _over_folds(sums, numbers)
    result = found[np.triu_indices(len(kinds), 1)]
    there = ~np.isnan(result)
    if not there.any():
        raise UserError("no two conditions are in two folds: there is nothing to cross-validate", "folds")
    result[there] = scaled_back(result[there], unit, 2, "measurements")
    return result


def _over_folds(sums: Tensor, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each fold against all others, (k, k), from sums of patterns (folds, k, p) and their numbers (folds, k)."""
    k, p = sums.shape[1:]
    found = np.full((k, k), np.nan)
    # Conditions that the same folds have.
    designs, design = np.unique(counts > 0, axis=1, return_inverse=True)
    design = design.ravel()
    for a, b in itertools.combinations_with_replacement(range(designs.shape[1]), 2):
        have = designs[:, a] & designs[:, b]
        if have.sum() < 2:
            continue
        rows, columns = np.flatnonzero(design == a), np.flatnonzero(design == b)
        members = rows if a == b else np.concatenate([rows, columns])
        whole = len(members) == k and have.all()
        part = sums if whole else sums[np.flatnonzero(have)][:, members]
        number = torch.from_numpy(counts[np.ix_(have, members)]).to(sums.device)[:, :, None]
        total = torch.zeros(len(members), len(members), dtype=torch.float64, device=sums.device)
        for fold in range(len(part)):
            test = part[fold] / number[fold]
            train = (part.sum(0) - part[fold]) / (number.sum(0) - number[fold])
            # What conditions share would take the digits in which they differ.
            test, train = test - test.mean(0), train - train.mean(0)
            kernel = test @ train.T
            own = kernel.diagonal()
            total += own[:, None] + own[None] - kernel - kernel.T
        values = (total / len(part) / p).cpu().numpy()
        if a != b:
            values = values[: len(rows), len(rows) :]
        found[np.ix_(rows, columns)], found[np.ix_(columns, rows)] = values, values.T
    return found


def _over_pairs(
    means: NDArray[np.float64], has: NDArray[np.bool_], precisions: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Pairs of folds, (k, k), from mean patterns (folds, k, p) and which channels of them there are."""
    k = means.shape[1]
    total, number = np.zeros((k, k)), np.zeros((k, k))
    for f, g in itertools.combinations(range(len(means)), 2):
        of_both = [precisions[one] for one in (f, g)] if len(precisions) > 1 else precisions
        covariance = mean_covariance(of_both) if of_both else None
        # Conditions with the same channels in both folds.
        masks, mask = np.unique(has[f] & has[g], axis=0, return_inverse=True)
        mask = mask.ravel()
        for a, b in itertools.combinations_with_replacement(range(len(masks)), 2):
            channels = masks[a] & masks[b]
            if not channels.any():
                continue
            rows, columns = np.flatnonzero(mask == a), np.flatnonzero(mask == b)
            members = rows if a == b else np.concatenate([rows, columns])
            first, second = (means[one][np.ix_(members, channels)] for one in (f, g))
            first, second = first - first.mean(0), second - second.mean(0)
            if covariance is not None:
                root = root_of(covariance, channels)
                first, second = first @ root, second @ root
            kernel = first @ second.T
            own = kernel.diagonal()
            values = (own[:, None] + own[None] - kernel - kernel.T) / channels.sum()
            values = representable(values, "measurements")
            if a != b:
                values = values[: len(rows), len(rows) :]
                total[np.ix_(columns, rows)] += values.T
                number[np.ix_(columns, rows)] += 1
            total[np.ix_(rows, columns)] += values
            number[np.ix_(rows, columns)] += 1
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _by_groups(
    x: Tensor, precisions: list[NDArray[np.float64]], folds: NDArray[np.intp], block: int
) -> NDArray[np.float64]:
    """Mahalanobis distances, by groups of patterns of one fold that have the same channels."""
    has = ~torch.isnan(x).cpu().numpy()
    x, unit = in_units(torch.nan_to_num(x))
    folds = folds if len(precisions) > 1 else np.zeros_like(folds)
    groups, which = np.unique(np.column_stack([folds, has]), axis=0, return_inverse=True)
    which, of = which.ravel(), groups[:, 0]
    size = max(map(unit_of, precisions))
    precisions = [one / size for one in precisions]
    # The groups are in the order of their folds.
    whole = {
        pair: mean_covariance([precisions[one] for one in pair])
        for pair in set(itertools.combinations_with_replacement(of.tolist(), 2))
    }
    found = np.full((len(x), len(x)), np.nan)
    for a, b in itertools.combinations_with_replacement(range(len(groups)), 2):
        channels = (groups[a, 1:] & groups[b, 1:]).astype(bool)
        if not channels.any():
            continue
        rows, columns = np.flatnonzero(which == a), np.flatnonzero(which == b)
        members = rows if a == b else np.concatenate([rows, columns])
        root = torch.from_numpy(root_of(whole[of[a], of[b]], channels)).to(x.device)
        part = x[members][:, torch.from_numpy(channels).to(x.device)]
        part = (part - part.mean(0)) @ root
        squares, scale = squared_distances(part, whole_number(block, "block", 1))
        whole_part = square(squares) if len(part) > 1 else np.zeros((1, 1))
        values = representable(whole_part * (scale**2 / channels.sum()), "patterns")
        if a != b:
            values = values[: len(rows), len(rows) :]
        found[np.ix_(rows, columns)], found[np.ix_(columns, rows)] = values, values.T
    result = found[np.triu_indices(len(x), 1)]
    there = ~np.isnan(result)
    result[there] = scaled_back(result[there], unit * math.sqrt(size), 2, "patterns")
    return checked(result)
