"""What every public function of analysis on arrays computes, written down anew: loops and dense algebra.

In extended precision where sums and squares may leave the range of float64; algebra of whole matrices in float64, of
arrays in units of their largest entry.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy.stats import rankdata

L = np.longdouble


def wide(x):
    return np.asarray(x, dtype=L)


def unit(x):
    """In units of the largest entry."""
    most = np.abs(x).max(initial=0)
    return x / most if most else x


def over_pairs(score):
    """Of two patterns -> the upper triangle."""

    def found(patterns, **options):
        x = wide(patterns).reshape(len(patterns), -1)
        return [score(x[i], x[j], **options) for i, j in itertools.combinations(range(len(x)), 2)]

    return found


def norm(a):
    return np.sqrt((a * a).sum())


def ratio(a, b):
    return a / b if b else math.nan


def direction(a):
    return a / norm(a) if norm(a) else a * math.nan


def correlated(a, b):
    a, b = a - a.mean(), b - b.mean()
    return ratio((a * b).sum(), norm(a) * norm(b))


correlation = over_pairs(lambda a, b: 1 - correlated(a, b))
cosine = over_pairs(lambda a, b: 1 - ratio((a * b).sum(), norm(a) * norm(b)))
euclidean = over_pairs(lambda a, b: norm(a - b))
squared_euclidean = over_pairs(lambda a, b: ((a - b) ** 2).sum())
unit_euclidean = over_pairs(lambda a, b: norm(direction(a) - direction(b)))
norm_difference = over_pairs(lambda a, b: abs(norm(a) - norm(b)))
cityblock = over_pairs(lambda a, b: np.abs(a - b).sum())


def mahalanobis(patterns, precision):
    return over_pairs(lambda a, b: (a - b) @ wide(precision) @ (a - b) / len(a))(patterns)


def crossnobis(measurements, conditions, folds):
    x, found = wide(measurements), []
    for i, j in itertools.combinations(sorted(set(conditions)), 2):
        values = []
        for fold in sorted(set(folds)):
            here, there = folds == fold, folds != fold
            a, b = (x[part & (conditions == i)].mean(0) - x[part & (conditions == j)].mean(0) for part in (here, there))
            values.append((a * b).sum() / x.shape[1])
        found.append(sum(values) / len(values))
    return found


def centroids(patterns, labels):
    return np.concatenate([wide(patterns)[labels == one].mean(0) for one in sorted(set(labels))])


def clustering_index(rdm, labels):
    pairs = list(itertools.combinations(range(len(labels)), 2))
    same = np.array([labels[i] == labels[j] for i, j in pairs])
    within, between = wide(rdm)[same].mean(), wide(rdm)[~same].mean()
    return (between - within) / (between + within)


def each(score):
    """Of two vectors -> of all pairs of two stacks."""
    return lambda rdms, others: [[score(wide(a), wide(b)) for b in others] for a in rdms]


def ranked(a):
    return wide(rankdata(np.asarray(a)))


def signs(a):
    return np.array([np.sign(a[i] - a[j]) for i, j in itertools.combinations(range(len(a)), 2)])


def rho_a(a, b):
    m = len(a)
    return 12 / L(m**3 - m) * ((ranked(a) - (m + 1) / L(2)) * (ranked(b) - (m + 1) / L(2))).sum()


def tau_b(a, b):
    p, q = signs(a), signs(b)
    return ratio((p * q).sum(), np.sqrt((p * p).sum() * (q * q).sum()))


def tau_a(a, b):
    p, q = signs(a), signs(b)
    return (p * q).sum() / len(p) if p.any() and q.any() else math.nan


def whitened(centre):
    """With the covariance of the dissimilarities written out, V = (C C^T)^2."""

    def score(a, b):
        n = round((1 + math.sqrt(1 + 8 * len(a))) / 2)
        contrasts = np.zeros((len(a), n))
        for row, (i, j) in enumerate(itertools.combinations(range(n), 2)):
            contrasts[row, i], contrasts[row, j] = 1, -1
        v = np.linalg.inv((contrasts @ contrasts.T) ** 2)
        a, b = (unit(one) - (unit(one).mean() if centre else 0) for one in (a, b))
        return ratio(a @ v @ b, np.sqrt((a @ v @ a) * (b @ v @ b)))

    return each(score)


def kernel(a):
    n = round((1 + math.sqrt(1 + 8 * len(a))) / 2)
    full = np.zeros((n, n))
    full[np.triu_indices(n, 1)] = unit(a)
    centre = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(-0.5 * centre @ (full + full.T) @ centre)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T, values.clip(0).sum()


def bures(a, b):
    (x, size), (y, other) = kernel(a), kernel(b)
    return ratio(np.linalg.svd(x @ y, compute_uv=False).sum(), np.sqrt(size * other))


def covariance(residuals, shrink):
    """Schafer & Strimmer's shrinkage of correlations, entry by entry."""
    x = wide(residuals)
    x = x - x.mean(0)
    m, p = x.shape
    s = x.T @ x / (m - 1)
    if not shrink:
        return s
    z = x / np.where(np.diag(s) > 0, np.sqrt(np.diag(s)), 1)
    top, below = L(0), L(0)
    for i, j in itertools.permutations(range(p), 2):
        w = z[:, i] * z[:, j]
        # The mean of products over m - 1, as in rsatoolbox.
        top += m / L(m - 1) ** 3 * ((w * w).sum() - w.sum() ** 2 / (m - 1))
        below += (w.sum() / (m - 1)) ** 2
    weight = min(1, max(0, top / below)) if below else 0
    return np.where(np.eye(p, dtype=bool), s, (1 - weight) * s)


def precision(residuals):
    s = covariance(residuals, True)
    most = np.abs(s).max()
    return wide(np.linalg.inv((s / most).astype(float))) / most


def principal(distances):
    """Squared lengths of the axes of classical scaling in two dimensions."""
    most = wide(distances).max() or L(1)
    d = (wide(distances) / most).astype(float) ** 2
    centre = np.eye(len(d)) - 1 / len(d)
    values = np.linalg.eigvalsh(-0.5 * centre @ d @ centre)[::-1].clip(0)
    return wide(np.pad(values, (0, 2))[:2]) * most**2


def stress(distances, points):
    d, x = wide(distances), wide(points)
    apart = np.array([[norm(a - b) for b in x] for a in x])
    return np.sqrt(((d - apart) ** 2).sum() / (apart * apart).sum())


def left_over(points, reference):
    """Of the reference after the best alignment: the norm of what differs."""
    most = np.abs(wide(reference)).max() or L(1)
    x, y = (unit(wide(one)) for one in (points, reference))
    x, y = ((one - one.mean(0)).astype(float) for one in (x, y))
    s = np.linalg.svd(x.T @ y, compute_uv=False).sum()
    return wide(np.sqrt(max((y * y).sum() - s * s / (x * x).sum(), 0))) * most


def centred(x):
    x = unit(wide(x).reshape(len(x), -1))
    return (x - x.mean(0)).astype(float)


def grams(x, y):
    return [one @ one.T for one in (centred(x), centred(y))]


def linear_cka(x, y):
    k, g = grams(x, y)
    return ratio((k * g).sum(), np.linalg.norm(k) * np.linalg.norm(g))


def hsic(k, other, lange=False):
    k, g = wide(k), wide(other)
    n = len(k)
    if lange:
        h = np.eye(n) - 1 / L(n)
        k, g = h @ k @ h, h @ g @ h
        return sum(k[i, j] * g[i, j] for i, j in itertools.permutations(range(n), 2)) / (n * (n - 3))
    k, g = (np.where(np.eye(n, dtype=bool), 0, one) for one in (k, g))
    one = np.ones(n)
    total = (
        np.trace(k @ g) + (one @ k @ one) * (one @ g @ one) / ((n - 1) * (n - 2)) - 2 / L(n - 2) * (one @ k @ g @ one)
    )
    return total / (n * (n - 3))


def debiased(batch=None, lange=False):
    def found(x, y):
        k, g = grams(x, y)
        starts = range(0, len(k), batch or len(k))
        parts = [slice(s, s + (batch or len(k))) for s in starts if len(k[s : s + (batch or len(k))]) >= 4]
        # Of a batch the features are centred over all.
        both, own, other = (sum(hsic(a[p, p], b[p, p], lange) for p in parts) for a, b in ((k, g), (k, k), (g, g)))
        return both / np.sqrt(own * other) if own > 0 and other > 0 else math.nan

    return found


def distances(x):
    x = unit(wide(x).reshape(len(x), -1))
    return np.array([[norm(a - b) for b in x] for a in x])


def doubly(k):
    return k - k.mean(0) - k.mean(1)[:, None] + k.mean()


def rbf_cka(x, y, fraction=0.4):
    kernels = []
    for one in (distances(x), distances(y)):
        median = np.median(one[np.triu_indices(len(one), 1)])
        kernels.append(doubly(np.exp(-(one**2) / (2 * (fraction * median) ** 2))) if median else one * math.nan)
    k, g = kernels
    return ratio((k * g).sum(), np.sqrt((k * k).sum() * (g * g).sum()))


def distance_correlation(x, y):
    a, b = doubly(distances(x)), doubly(distances(y))
    return np.sqrt(max(ratio((a * b).sum(), np.sqrt((a * a).sum() * (b * b).sum())), 0))


def knn_jaccard(x, y, neighbours):
    values = []
    near = []
    for d in (distances(x), distances(y)):
        d = d + np.where(np.eye(len(d), dtype=bool), np.inf, 0)
        ordered = np.sort(d, axis=1)
        # Equal but for rounding: who is nearer is not determined.
        if (ordered[:, neighbours] - ordered[:, neighbours - 1] < 1e-9 * ordered[:, neighbours]).any():
            return None
        near.append([set(np.argsort(row)[:neighbours]) for row in d])
    for a, b in zip(*near, strict=True):
        values.append(len(a & b) / len(a | b))
    return np.mean(values)


def basis(x):
    u, s, _ = np.linalg.svd(centred(x) if x.dtype != float else x, full_matrices=False)
    return u[:, s > s[0] * 1e-10]


def canonical(x, y):
    a, b = basis(centred(x)), basis(centred(y))
    return np.linalg.svd(a.T @ b, compute_uv=False).clip(None, 1)


def leading(x, variance=0.99):
    u, s, _ = np.linalg.svd(centred(x), full_matrices=False)
    kept = int((np.cumsum(s**2) / (s**2).sum() < variance).sum()) + 1
    return (u * s)[:, :kept]


def svcca(x, y):
    return canonical(leading(x), leading(y)).mean()


def pwcca(x, y):
    a, b = basis(centred(x)), basis(centred(y))
    left, rho, _ = np.linalg.svd(a.T @ b, full_matrices=False)
    if (np.abs(np.diff(rho)) < 1e-9).any():
        # Their variables are any of a subspace.
        return None
    weights = np.abs((a @ left).T @ centred(x)).sum(1)
    return (weights * rho).sum() / weights.sum()


def pwcca_mean(x, y):
    values = [pwcca(x, y), pwcca(y, x)]
    return None if None in values else sum(values) / 2


def regression(x, y):
    b = centred(y)
    rest = b - centred(x) @ np.linalg.lstsq(centred(x), b, rcond=1e-10)[0]
    return 1 - (rest**2).sum() / (b**2).sum()


def nuclear(x, y):
    a, b = centred(x), centred(y)
    return np.linalg.svd(a.T @ b, compute_uv=False).sum() / np.linalg.norm(a) / np.linalg.norm(b)


def procrustes(x, y):
    most = max(np.abs(wide(x)).max(), np.abs(wide(y)).max())
    a, b = ((wide(one) / most).astype(float) for one in (x, y))
    a, b = a - a.mean(0), b - b.mean(0)
    d = (a * a).sum() + (b * b).sum() - 2 * np.linalg.svd(a.T @ b, compute_uv=False).sum()
    return wide(np.sqrt(max(d, 0))) * most


def ceiling(rdms):
    z = [direction(wide(one) - wide(one).mean()) for one in rdms]
    upper = np.mean([correlated(sum(z), one) for one in z])
    # A pool whose RDMs cancel predicts nothing.
    lower = np.mean([correlated(sum(z) - one, one) if norm(sum(z) - one) > 1e-6 else 0 for one in z])
    return [lower, upper]


def pair_mean(matrix):
    x = wide(matrix)
    n = len(x)
    pairs = np.array([x[i, j] for i, j in itertools.combinations(range(n), 2)])
    without = (
        np.array(
            [np.mean([x[i, j] for i, j in itertools.combinations(range(n), 2) if k not in (i, j)]) for k in range(n)]
        )
        if n > 2
        else None
    )
    from scipy.stats import t

    half = (
        0
        if without is None
        else t.ppf(0.975, n - 1) * np.sqrt((n - 1) / L(n) * ((without - without.mean()) ** 2).sum())
    )
    ends = [] if without is None else [pairs.mean() - half, pairs.mean() + half]
    return [*pairs, pairs.mean(), *ends]


def consistency(rdms):
    return pair_mean([[1 if a is b else correlated(wide(a), wide(b)) ** 2 for b in rdms] for a in rdms])
