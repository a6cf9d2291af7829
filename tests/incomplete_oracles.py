"""What incomplete designs give, written down anew: loops over pairs of patterns, folds and RDMs."""

from __future__ import annotations

import itertools
import math

import array_oracles as oracle
import numpy as np
from array_oracles import wide


def by_channels(name):
    """Of the channels that two patterns share; sums as large as of all."""
    scores = {
        "correlation": (lambda a, b: 1 - (math.nan if flat(a) or flat(b) else oracle.correlated(a, b)), 0),
        "cosine": (lambda a, b: 1 - oracle.ratio((a * b).sum(), oracle.norm(a) * oracle.norm(b)), 0),
        "unit_euclidean": (lambda a, b: oracle.norm(oracle.direction(a) - oracle.direction(b)), 0),
        "squared_euclidean": (lambda a, b: ((a - b) ** 2).sum(), 1),
        "cityblock": (lambda a, b: np.abs(a - b).sum(), 1),
        "euclidean": (lambda a, b: oracle.norm(a - b), 0.5),
        "norm_difference": (lambda a, b: abs(oracle.norm(a) - oracle.norm(b)), 0.5),
    }
    score, power = scores[name]

    def found(patterns):
        x, values = wide(patterns), []
        for i, j in itertools.combinations(range(len(x)), 2):
            both = ~np.isnan(x[i]) & ~np.isnan(x[j])
            s = both.sum()
            values.append(score(x[i, both], x[j, both]) * (wide(x.shape[1]) / s) ** power if s else math.nan)
        return values

    return found


def flat(a):
    return a.max() == a.min()


def by_entries(score):
    """Of the entries that two RDMs share."""

    def found(rdms, others):
        pairs = [[~np.isnan(a) & ~np.isnan(b) for b in others] for a in rdms]
        return [
            [score(wide(a)[there], wide(b)[there]) for b, there in zip(others, row, strict=True)]
            for a, row in zip(rdms, pairs, strict=True)
        ]

    return found


def by_covariance(centre):
    """Whitened by the part of V that is of the entries that two RDMs share."""
    n = 6
    contrasts = np.array([np.eye(n)[i] - np.eye(n)[j] for i, j in itertools.combinations(range(n), 2)])

    def score(a, b):
        there = ~np.isnan(a) & ~np.isnan(b)
        v = np.linalg.inv(((contrasts @ contrasts.T) ** 2)[np.ix_(there, there)])
        x, y = (oracle.unit(one[there]) - (oracle.unit(one[there]).mean() if centre else 0) for one in (a, b))
        return oracle.ratio(x @ v @ y, np.sqrt((x @ v @ x) * (y @ v @ y)))

    return lambda rdms, others: [[score(wide(a), wide(b)) for b in others] for a in rdms]


def inverse(one):
    """In extended range: the inverse in units of the largest entry."""
    size = np.abs(one).max()
    return wide(np.linalg.inv((one / size).astype(np.float64))) / size


def shared_precision(precisions, channels):
    """Of the part of the mean of covariances."""
    covariances = [inverse(wide(one)) for one in precisions]
    return inverse((sum(covariances) / len(covariances))[np.ix_(channels, channels)])


def mahalanobis(patterns, precisions, folds):
    x, found = wide(patterns), []
    for i, j in itertools.combinations(range(len(x)), 2):
        c = ~np.isnan(x[i]) & ~np.isnan(x[j])
        d = (x[i] - x[j])[c]
        p = shared_precision([precisions[folds[i]], precisions[folds[j]]], c) if c.any() else None
        found.append(math.nan if p is None else d @ p @ d / c.sum())
    return found


def crossnobis(measurements, conditions, folds, precisions):
    x, found = wide(measurements), []

    def mean(fold, condition):
        part = x[(folds == fold) & (conditions == condition)]
        has = ~np.isnan(part)
        return np.where(has.any(0), np.where(has, part, 0).sum(0) / np.maximum(has.sum(0), 1), np.nan)

    for i, j in itertools.combinations(sorted(set(conditions)), 2):
        values = []
        for f, g in itertools.combinations(sorted(set(folds)), 2):
            a, b = mean(f, i) - mean(f, j), mean(g, i) - mean(g, j)
            c = ~np.isnan(a) & ~np.isnan(b)
            if c.any():
                p = shared_precision([precisions[f], precisions[g]], c)
                values.append(a[c] @ p @ b[c] / c.sum())
        found.append(np.mean(values) if values else math.nan)
    return found


def whiten(patterns, precisions, folds):
    from scipy.linalg import sqrtm

    roots = [wide(np.real(sqrtm(one / np.abs(one).max()))) * np.sqrt(wide(np.abs(one).max())) for one in precisions]
    return [row @ roots[fold] for row, fold in zip(wide(patterns), folds, strict=True)]


def cross_run(first, second):
    return [
        [1 - (math.nan if flat(a) or flat(b) else oracle.correlated(a, b)) for b in wide(second)] for a in wide(first)
    ]


def split_half(measurements, conditions, folds):
    x, k = wide(measurements), len(set(conditions))
    total, number = np.zeros((k, k), dtype=x.dtype), np.zeros((k, k))
    for f, g in itertools.permutations(sorted(set(folds)), 2):
        for i, j in np.ndindex(k, k):
            a, b = x[(folds == f) & (conditions == i)], x[(folds == g) & (conditions == j)]
            if len(a) and len(b):
                total[i, j] += ((a.mean(0) - b.mean(0)) ** 2).sum()
                number[i, j] += 1
    return total / number


def expanded(rdms, others):
    """Five stimuli of six."""
    there = [max(pair) < 5 for pair in itertools.combinations(range(6), 2)]
    found = np.full((len(rdms) + len(others), 15), np.nan)
    found[:, there] = np.concatenate([rdms, others])
    return found
