"""Measures of activations: published values, naive loops, declared invariances, mistakes."""

from __future__ import annotations

import functools

import array_oracles
import numpy as np
import pytest
import statistics_cases
import torch
from scipy.linalg import orthogonal_procrustes, subspace_angles

from orthotrace.analysis import similarity
from orthotrace.analysis.similarity import MEASURES
from orthotrace.analysis.similarity.invariances import check
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(42)
Z = RNG.standard_normal((60, 12))
X = Z @ RNG.standard_normal((12, 30)) + 0.5 * RNG.standard_normal((60, 30)) + 1
Y = Z @ RNG.standard_normal((12, 30)) + RNG.standard_normal((60, 30)) - 0.7

# reference/rsa.md, section 2.
REFERENCE = [
    (similarity.linear_cka, {}, 0.703616835912),
    (similarity.debiased_cka, {}, 0.655391239491),
    (similarity.debiased_cka, {"estimator": "lange"}, 0.656431105505),
    (similarity.minibatch_cka, {"batch": 20}, 0.644313387996),
    (similarity.procrustes, {}, 74.931516576834),
    (similarity.procrustes_angle, {}, 0.527408469575),
    (similarity.procrustes_cosine, {}, 0.864114276765),
    (similarity.cca, {}, 0.728819413301),
    (similarity.cca_squared, {}, 0.633858211753),
    (similarity.pwcca, {}, 0.900937030835),
    (lambda x, y: similarity.pwcca(y, x), {}, 0.888654782147),
    (similarity.svcca, {}, 0.922017938246),
    (similarity.distance_correlation, {}, 0.889470752414),
]


@pytest.mark.parametrize(("measure", "options", "value"), REFERENCE)
def test_published_values(measure, options, value):
    assert measure(X, Y, **options) == pytest.approx(value, abs=1e-9)
    assert measure(torch.tensor(X), torch.tensor(Y).reshape(60, 5, 6), **options) == pytest.approx(value, abs=1e-9)
    assert measure(X.astype(np.float32), Y.astype(np.float32), **options) == pytest.approx(value, rel=1e-4)


def centred(x):
    return x - x.mean(0)


def hsic1(k, m):
    """Song et al. 2012 as sums over tuples of different stimuli; slow on purpose."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    pairs = sum(k[i, j] * m[i, j] for i in range(n) for j in range(n) if i != j)
    triples = sum(
        k[i, j] * m[i, q] for i in range(n) for j in range(n) for q in range(n) if i != j and i != q and j != q
    )
    everything = k.sum() * m.sum()
    quadruples = everything - 4 * triples - 2 * pairs
    return (
        pairs / (n * (n - 1)) + quadruples / (n * (n - 1) * (n - 2) * (n - 3)) - 2 * triples / (n * (n - 1) * (n - 2))
    )


def naive_debiased(x, y):
    k, m = x @ x.T, y @ y.T
    return hsic1(k, m) / np.sqrt(hsic1(k, k) * hsic1(m, m))


def naive_minibatch(x, y):
    parts = [(x[i : i + 20], y[i : i + 20]) for i in range(0, len(x), 20)]
    grams = [(a @ a.T, b @ b.T) for a, b in parts]
    return sum(hsic1(k, m) for k, m in grams) / np.sqrt(
        sum(hsic1(k, k) for k, _ in grams) * sum(hsic1(m, m) for _, m in grams)
    )


def distances(x):
    return np.array([[np.linalg.norm(a - b) for b in x] for a in x])


def naive_rbf(x, y):
    grams = []
    for one in (x, y):
        d = distances(one)
        s = 0.4 * np.median(d[np.triu_indices(len(d), 1)])
        h = np.eye(len(d)) - 1 / len(d)
        grams.append(h @ np.exp(-(d**2) / (2 * s**2)) @ h)
    k, m = grams
    return np.sum(k * m) / np.sqrt(np.sum(k * k) * np.sum(m * m))


def rhos(x, y):
    return np.cos(subspace_angles(centred(x), centred(y)))[::-1]


def naive_svcca(x, y):
    kept = []
    for one in (x, y):
        u, s, _ = np.linalg.svd(centred(one), full_matrices=False)
        kept.append(u[:, : np.flatnonzero(np.cumsum(s**2) >= 0.99 * np.sum(s**2))[0] + 1])
    return np.linalg.svd(kept[0].T @ kept[1], compute_uv=False).mean()


def naive_pwcca(x, y):
    x, y = centred(x), centred(y)
    qx, qy = np.linalg.qr(x)[0], np.linalg.qr(y)[0]
    u, rho, _ = np.linalg.svd(qx.T @ qy)
    weights = [sum(abs(h @ column) for column in x.T) for h in (qx @ u).T]
    return np.average(rho, weights=weights)


def naive_procrustes(x, y):
    x, y = centred(x), centred(y)
    q, _ = orthogonal_procrustes(x, y)
    return np.linalg.norm(x @ q - y)


def naive_angle(x, y):
    x, y = (centred(one) / np.linalg.norm(centred(one)) for one in (x, y))
    q, _ = orthogonal_procrustes(x, y)
    return np.arccos(np.sum((x @ q) * y))


def naive_distance_correlation(x, y):
    a, b = (d - d.mean(0) - d.mean(1)[:, None] + d.mean() for d in (distances(x), distances(y)))
    return np.sqrt(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b)))


def naive_jaccard(x, y):
    near = []
    for one in (x, y):
        d = distances(one) + np.diag(np.full(len(one), np.inf))
        near.append([set(np.argsort(row)[:10]) for row in d])
    return np.mean([len(a & b) / len(a | b) for a, b in zip(*near, strict=True)])


def naive_regression(x, y):
    x, y = centred(x), centred(y)
    fitted = x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return 1 - np.sum((y - fitted) ** 2) / np.sum(y**2)


NAIVE = {
    "linear_cka": lambda x, y: np.linalg.norm(centred(y).T @ centred(x)) ** 2
    / np.linalg.norm(centred(x).T @ centred(x)) / np.linalg.norm(centred(y).T @ centred(y)),
    "debiased_cka": naive_debiased,
    "minibatch_cka": naive_minibatch,
    "rbf_cka": naive_rbf,
    "cca": lambda x, y: rhos(x, y).mean(),
    "cca_squared": lambda x, y: (rhos(x, y) ** 2).mean(),
    "svcca": naive_svcca,
    "pwcca": naive_pwcca,
    "pwcca_mean": lambda x, y: (naive_pwcca(x, y) + naive_pwcca(y, x)) / 2,
    "procrustes": naive_procrustes,
    "procrustes_cosine": lambda x, y: np.cos(naive_angle(x, y)),
    "procrustes_angle": naive_angle,
    "distance_correlation": naive_distance_correlation,
    "knn_jaccard": naive_jaccard,
    "mutual_knn": lambda x, y: statistics_cases.mutual_knn(x, y, 10),
    "cknna": lambda x, y: statistics_cases.cknna(x, y, 10),
    "regression": naive_regression,
}  # fmt: skip


@pytest.mark.parametrize("name", MEASURES)
def test_against_a_naive_loop(name):
    assert MEASURES[name](X, Y) == pytest.approx(NAIVE[name](X, Y), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", MEASURES)
def test_every_declaration_true_and_false(name, seed):
    check(MEASURES[name], seed)


@pytest.mark.parametrize("name", ["linear_cka", "procrustes", "procrustes_cosine", "procrustes_angle"])
def test_more_features_than_stimuli_take_the_other_form(name):
    wide, other = RNG.standard_normal((12, 40)), RNG.standard_normal((12, 70))
    rotation = np.linalg.qr(RNG.standard_normal((40, 40)))[0]
    padded = np.concatenate([wide, np.zeros((12, 30))], axis=1)
    assert MEASURES[name](wide, other) == pytest.approx(NAIVE[name](padded, other), abs=1e-9)
    assert MEASURES[name](wide @ rotation, other) == pytest.approx(MEASURES[name](wide, other), abs=1e-9)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize(
    ("x", "line"),
    [
        (X[:2], "at least|the same stimuli"),
        (X[:50], "the same stimuli are needed: the first has 50, the second 60"),
        (np.where(np.arange(60)[:, None] == 7, np.nan, X), "first representation: .* stimulus 7 is not finite"),
        (np.ones((60, 4)), "the first representation is constant"),
        (X + 1j, "real numbers"),
    ],
)
def test_what_has_no_similarity_is_one_clear_error(name, x, line):
    with pytest.raises(UserError, match=line):
        MEASURES[name](x, Y)


@pytest.mark.parametrize("name", ["cca", "cca_squared", "pwcca", "regression"])
def test_as_many_dimensions_as_stimuli_correlate_with_anything(name):
    with pytest.raises(UserError, match="the first representation has as many dimensions as there are stimuli"):
        MEASURES[name](RNG.standard_normal((20, 30)), RNG.standard_normal((20, 3)))


BAD = [
    (similarity.minibatch_cka, {"batch": 3}, "a batch of at least four stimuli"),
    (similarity.debiased_cka, {"estimator": "lang"}, "there is no estimator 'lang'"),
    (similarity.rbf_cka, {"fraction": 0}, "a positive fraction"),
    (similarity.svcca, {"variance": 1.5}, "a share of the variance"),
    (similarity.knn_jaccard, {"neighbours": 59}, "from 1 to 58 neighbours"),
]


@pytest.mark.parametrize(("measure", "options", "line"), BAD)
def test_options_out_of_their_range(measure, options, line):
    with pytest.raises(UserError, match=line):
        measure(X, Y, **options)


@pytest.mark.parametrize("estimator", ["song", "lange"])
def test_a_stimulus_far_from_the_others_takes_no_digits_of_debiased_cka(estimator):
    draws = np.random.default_rng(0)
    for size in (1e3, 1e4, 1e5):
        x, y = draws.standard_normal((2, 8, 3))
        y[2] *= size
        grams = []
        for one in (x, y):
            wide = one.astype(np.longdouble)
            wide = wide - wide.mean(0)
            grams.append(wide @ wide.T)
        both, own, other = (
            array_oracles.hsic(grams[i], grams[j], estimator == "lange") for i, j in ((0, 1), (0, 0), (1, 1))
        )
        right = float(both / np.sqrt(own * other))
        assert similarity.debiased_cka(x, y, estimator) == pytest.approx(right, rel=1e-8)
        assert similarity.hsic(*(one.astype(float) for one in grams), estimator) == pytest.approx(float(both), rel=1e-8)


def test_what_centring_leaves_no_structure_of_is_refused():
    # A lone stimulus: without their diagonal, rows and columns explain its products.
    lone = np.eye(6)[:, :1] * 0.7
    for measure in (similarity.debiased_cka, functools.partial(similarity.minibatch_cka, batch=6)):
        with pytest.raises(UserError, match="the second representation has no structure"):
            measure(X[:6], lone)


def test_debiased_cka_of_three_stimuli_is_refused():
    with pytest.raises(UserError, match="at least 4 stimuli"):
        similarity.debiased_cka(X[:3], Y[:3])


@pytest.mark.parametrize("scale", [1e-120, 1e120])
@pytest.mark.parametrize("name", [name for name in MEASURES if name != "procrustes"])
def test_the_scale_of_the_activations(name, scale):
    assert MEASURES[name](scale * X, Y) == pytest.approx(MEASURES[name](X, Y), abs=1e-8)


@pytest.mark.parametrize("scale", [1e-200, 1e-170, 1e200])
def test_a_distance_of_any_size(scale):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 5)), rng.standard_normal((20, 7))
    assert similarity.procrustes(x * scale, y * scale) / scale == pytest.approx(similarity.procrustes(x, y), rel=1e-9)


@pytest.mark.parametrize(("n", "p"), [(5, 1000), (6, 2000), (8, 1000), (8, 2000), (50, 1000), (100, 20)])
def test_debiased_cka_of_independent_patterns_is_as_said(n, p):
    """0 by the unbiased estimator; by the other what centring leaves, as its docstring says."""
    rng = np.random.default_rng(0)
    draws = [rng.standard_normal((2, n, p)) for _ in range(40)]
    found = {kind: [similarity.debiased_cka(*one, estimator=kind) for one in draws] for kind in ("song", "lange")}
    assert abs(np.mean(found["song"])) < 4 * np.std(found["song"]) / 40**0.5
    assert np.mean(found["lange"]) == pytest.approx(p / (p + n**2), abs=0.02)
    assert "p / (p + n^2)" in similarity.debiased_cka.__doc__
