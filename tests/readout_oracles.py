"""Readouts by other ways: an optimizer of scipy, and projections by pseudoinverses."""

from __future__ import annotations

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
    """Size, share in the range of the readout, and the dimensions of that range as a share of all."""
    largest, outer = max(np.abs(before).max(), np.abs(after).max()) or 1.0, np.abs(weight).max() or 1.0
    a, moved = before / largest, after / largest - before / largest
    w = weight / outer - (weight / outer).mean(0)
    onto = np.linalg.pinv(w, rcond=1e-14) @ w
    whole = sum(float(row @ row) for row in moved)
    seen = sum(float(row @ onto @ row) for row in moved)
    spread = sum(float(row @ row) for row in a - a.mean(0))
    share = seen / whole if whole else float("nan")
    return [np.sqrt(whole / spread), share, np.linalg.matrix_rank(w) / w.shape[1]]


def turned(features, source, target):
    """Activations under the rotation of scipy."""
    rotation, _ = orthogonal_procrustes(source - source.mean(0), target - target.mean(0))
    return (features - source.mean(0)) @ rotation + target.mean(0)
