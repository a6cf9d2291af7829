"""As array_oracles, of what is computed of concepts."""

from __future__ import annotations

import math

import numpy as np
from array_oracles import correlated, direction, wide


def area(scores, positive):
    yes, no = scores[positive > 0], scores[positive == 0]
    return np.mean([[(a > b) + 0.5 * (a == b) for b in no] for a in yes])


def areas(scores, positive):
    positive = positive if positive.ndim == 2 else positive[:, None] * np.ones(scores.shape[1])
    return [area(a, b) for a, b in zip(scores.T, positive.T, strict=True)]


def separability(features, has):
    z = np.array([direction(one) for one in wide(features)])
    k = has.shape[1]
    d = np.array(
        [
            [
                np.mean([z[a] @ z[b] for a in np.flatnonzero(has[:, i]) for b in np.flatnonzero(has[:, j]) if a != b])
                for j in range(k)
            ]
            for i in range(k)
        ]
    )
    return d


def axis_correlations(activations):
    x = wide(activations)
    return [[abs(correlated(a, b)) if np.ptp(a) and np.ptp(b) else math.nan for b in x.T] for a in x.T]


def whiteness(features):
    x = wide(features) - wide(features).mean(0)
    return np.sqrt(((x.T @ x / len(x) - np.eye(x.shape[1])) ** 2).sum() / x.shape[1])


def percentiles(activations):
    return np.array(
        [
            [np.mean([(a > b) + 0.5 * (a == b) for b in np.delete(c, i)]) for c in activations.T for a in [c[i]]]
            for i in range(len(activations))
        ]
    )


def ranks_of(activations, has):
    at = percentiles(activations)
    return [
        1 + sum(one > row[c] for one in row) + (sum(one == row[c] for one in row) - 1) / 2
        for c in range(has.shape[1])
        for row in at[has[:, c] > 0]
    ]
