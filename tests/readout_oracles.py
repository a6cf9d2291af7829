"""Readouts by other ways: an optimizer of scipy, and projections by pseudoinverses."""

from __future__ import annotations

import mpmath as mp
import numpy as np
from scipy.linalg import orthogonal_procrustes
from scipy.optimize import minimize


def fitted(features, classes, strength=0.5):
    """Range over classes of the weights of a logistic regression, by the minimum of its own formula."""
    largest = np.abs(features).max() or 1.0
    x = features / largest
    size = np.sqrt(np.mean(x**2)) or 1.0
    x, hot = x / size, np.equal.outer(classes, np.unique(classes)).astype(float)
    k, p = hot.shape[1], x.shape[1]

    def value(flat):
        w, b = flat[: k * p].reshape(k, p), flat[k * p :]
        scores = x @ w.T + b
        scores = scores - scores.max(1, keepdims=True)
        total = np.log(np.exp(scores).sum(1, keepdims=True))
        left = np.exp(scores - total) - hot
        slope = np.concatenate([(left.T @ x + w / strength).ravel(), left.sum(0)])
        return -(hot * (scores - total)).sum() + (w**2).sum() / (2 * strength), slope

    found = minimize(value, np.zeros(k * p + k), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    return np.ptp(found[: k * p].reshape(k, p), axis=0) / size / largest


def drift(before, after, weight):
    """Size, share in the range of the readout, and the dimensions of that range as a share of all.

    With fifty digits: centred rows that nearly repeat each other have lost theirs in float64.
    """
    with mp.workdps(50):
        a, b, w = (mp.matrix(one.tolist()) for one in (before, after, weight))
        moved, w = b - a, centred(w / (max(map(abs, w)) or 1))
        _, values, directions = mp.svd_r(w)
        kept = [row for row in range(len(values)) if values[row] > max(w.rows, w.cols) * np.finfo(float).eps]
        whole, spread = (sum(entry**2 for entry in one) for one in (moved, centred(a)))
        seen = sum(
            sum(moved[i, j] * directions[row, j] for j in range(w.cols)) ** 2 for i in range(moved.rows) for row in kept
        )
        size = mp.sqrt(whole / spread) if spread else mp.nan
        return [float(size), float(seen / whole if whole else mp.nan), len(kept) / w.cols]


def centred(x):
    """A matrix of mpmath without the mean of each column."""
    means = [sum(x[i, j] for i in range(x.rows)) / x.rows for j in range(x.cols)]
    return mp.matrix([[x[i, j] - means[j] for j in range(x.cols)] for i in range(x.rows)])


def turned(features, source, target):
    """Activations under the rotation of scipy."""
    rotation, _ = orthogonal_procrustes(source - source.mean(0), target - target.mean(0))
    return (features - source.mean(0)) @ rotation + target.mean(0)
