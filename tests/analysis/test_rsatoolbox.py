"""Agreement with rsatoolbox 0.3.2."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from orthotrace.analysis import rdm
from orthotrace.analysis.inference.ceilings import ceiling
from orthotrace.analysis.inference.models import Weighted
from orthotrace.analysis.inference.samplers import Direct, Made
from orthotrace.analysis.rdm import compare, noise
from orthotrace.analysis.rdm.combine import combined, expanded, rescaled

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from rsatoolbox.data import Dataset
    from rsatoolbox.data.noise import cov_from_residuals, prec_from_residuals
    from rsatoolbox.inference import boot_noise_ceiling
    from rsatoolbox.model import ModelFixed, ModelWeighted
    from rsatoolbox.model.fitter import fit_regress_nn
    from rsatoolbox.rdm import RDMs, calc_rdm
    from rsatoolbox.rdm import compare as compare_rdms
    from rsatoolbox.rdm.combine import from_partials, rescale

RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 6)) @ RNG.standard_normal((6, 35)) + RNG.standard_normal((20, 35))
RESIDUALS = RNG.standard_normal((90, 35)) @ (np.eye(35) + 0.2 * RNG.standard_normal((35, 35)))


def theirs(method: str, **options) -> np.ndarray:
    return calc_rdm(Dataset(X), method=method, **options).dissimilarities[0]


def test_rdms():
    assert np.allclose(rdm.correlation(X), theirs("correlation"), atol=1e-10)
    assert np.allclose(rdm.squared_euclidean(X, per_feature=True), theirs("euclidean"), atol=1e-10)


SHRINKAGES = {"identity": "shrinkage_eye", "diagonal": "shrinkage_diag", "variances": "diag", "none": "full"}


@pytest.mark.parametrize("ours", SHRINKAGES)
def test_noise_and_mahalanobis(ours):
    method = SHRINKAGES[ours]
    assert np.allclose(noise.covariance(RESIDUALS, ours), cov_from_residuals(RESIDUALS, method=method), atol=1e-10)
    precision = noise.precision(RESIDUALS, ours)
    assert np.allclose(precision, prec_from_residuals(RESIDUALS, method=method), rtol=1e-9, atol=1e-10)
    assert np.allclose(rdm.mahalanobis(X, precision), theirs("mahalanobis", noise=precision), atol=1e-10)


# Theirs.
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@pytest.mark.parametrize("with_noise", [False, True])
def test_crossnobis(with_noise):
    conditions, folds = np.tile(np.arange(6), 8), np.repeat([0, 1, 2, 3], 12)
    x = RNG.standard_normal((48, 35)) + X[conditions]
    precision = noise.precision(RESIDUALS) if with_noise else None
    data = Dataset(x, obs_descriptors={"condition": conditions, "session": folds})
    found = calc_rdm(data, method="crossnobis", descriptor="condition", cv_descriptor="session", noise=precision)
    assert np.allclose(rdm.crossnobis(x, conditions, folds, precision), found.dissimilarities[0], atol=1e-10)


# Theirs.
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
def test_crossnobis_with_a_precision_of_each_fold():
    conditions, folds = np.tile(np.arange(6), 6), np.repeat(list("abc"), 12)
    x = RNG.standard_normal((36, 35)) + X[conditions]
    precisions = {
        fold: noise.precision(RESIDUALS[start : start + 60]) for start, fold in zip((0, 15, 30), "abc", strict=True)
    }
    data = Dataset(x, obs_descriptors={"condition": conditions, "session": folds})
    how = {"method": "crossnobis", "descriptor": "condition", "cv_descriptor": "session"}
    found = calc_rdm(data, noise=list(precisions.values()), **how)
    assert np.allclose(rdm.crossnobis(x, conditions, folds, precisions), found.dissimilarities[0], atol=1e-10)
    movie = calc_rdm([data, data], noise=[precisions["a"], precisions["b"]], **how).dissimilarities
    given = {"conditions": conditions, "folds": folds, "precision": {"1": precisions["b"], "0": precisions["a"]}}
    assert np.allclose(rdm.RDMs.of([x, x], rdm.crossnobis, **given).dissimilarities, movie, atol=1e-10)


STACK = np.stack([rdm.squared_euclidean(RNG.standard_normal((14, 10))) for _ in range(5)])
# Ours -> theirs, and how exact theirs is.
COMPARISONS = {
    "pearson": ("corr", 1e-10),
    "cosine": ("cosine", 1e-10),
    "spearman": ("spearman", 1e-10),
    "rho_a": ("rho-a", 1e-10),
    "tau_b": ("kendall", 1e-10),
    "tau_a": ("tau-a", 1e-10),
    "cosine_cov": ("cosine_cov", 1e-10),
    "corr_cov": ("corr_cov", 1e-10),
    "bures": ("bures", 1e-6),
}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("ours", COMPARISONS)
def test_comparisons(ours, tied):
    method, bound = COMPARISONS[ours]
    # Rounded distances are of no space: then theirs takes the positive part of one kernel only.
    stack = np.round(STACK) if tied and ours != "bures" else STACK
    found = compare_rdms(RDMs(stack[:3]), RDMs(stack[2:]), method=method)
    assert np.allclose(getattr(compare, ours)(stack[:3], stack[2:]), found, atol=bound)


@pytest.mark.parametrize("ours", ["cosine_cov", "corr_cov"])
def test_comparisons_whitened_by_a_given_covariance(ours):
    a = RNG.standard_normal((14, 40))
    covariance = a @ a.T / 40
    found = compare_rdms(RDMs(STACK[:3]), RDMs(STACK[2:]), method=ours, sigma_k=covariance)
    # Theirs solves by conjugate gradients.
    assert np.allclose(getattr(compare, ours)(STACK[:3], STACK[2:], covariance), found, atol=1e-5)


# Ours -> theirs: comparisons that have a noise ceiling.
POOLED = {
    "pearson": "corr",
    "cosine": "cosine",
    "spearman": "spearman",
    "rho_a": "rho-a",
    "tau_b": "kendall",
    "tau_a": "tau-a",
    "corr_cov": "corr_cov",
    "cosine_cov": "cosine_cov",
}


def check_ceiling(found, theirs, ours):
    """Theirs pools whitened RDMs by their plain length: an RDM can do better than its upper bound."""
    whitened = ours.endswith("_cov")
    assert (found.lower, found.upper) == pytest.approx(theirs, abs=0.01 if whitened else 1e-10)
    assert not whitened or found.upper > theirs[1] + 1e-6


@pytest.mark.filterwarnings("ignore:Noise ceiling for tau:UserWarning")
@pytest.mark.parametrize("ours", POOLED)
def test_noise_ceilings(ours):
    check_ceiling(ceiling(STACK, ours), boot_noise_ceiling(RDMs(STACK), method=POOLED[ours]), ours)


# The same entries are missing in all: theirs takes no others.
HOLES = np.where(np.isin(np.arange(91), [2, 17, 60, 61]), np.nan, STACK)


@pytest.mark.filterwarnings("ignore:Noise ceiling for tau:UserWarning")
@pytest.mark.parametrize("ours", POOLED)
def test_rdms_that_miss_entries(ours):
    found = compare_rdms(RDMs(HOLES[:3]), RDMs(HOLES[2:]), method=POOLED[ours])
    assert np.allclose(getattr(compare, ours)(HOLES[:3], HOLES[2:]), found, atol=1e-10)
    check_ceiling(ceiling(HOLES, ours), boot_noise_ceiling(RDMs(HOLES), method=POOLED[ours]), ours)


@pytest.mark.parametrize("ours", ["pearson", "cosine", "spearman", "rho_a"])
def test_a_bootstrap_on_given_indices(ours):
    """The resample of stimuli and subjects that theirs draws, scored by both, with its noise ceiling."""
    model = rdm.squared_euclidean(RNG.standard_normal((14, 4)))
    sampler = (Direct if ours in ("pearson", "cosine") else Made)([model[None]], STACK, ours)
    for _ in range(4):
        stimuli, subjects = RNG.integers(14, size=14), np.append(RNG.integers(5, size=3), [0, 4])
        sample = RDMs(STACK).subsample("index", subjects).subsample_pattern("index", stimuli)
        predicted = ModelFixed("one", RDMs(model[None])).predict_rdm().subsample_pattern("index", stimuli)
        expected = [
            compare_rdms(predicted, sample, POOLED[ours]).mean(),
            *boot_noise_ceiling(sample, method=POOLED[ours]),
        ]
        counts = (np.bincount(one, minlength=size)[None] for one, size in ((stimuli, 14), (subjects, 5)))
        found = sampler.score(sampler.prepare(next(counts).astype(float)), next(counts).astype(float))
        assert np.allclose(found[0], expected, atol=1e-10)


@pytest.mark.parametrize("ours", ["pearson", "cosine"])
def test_weights_of_a_model(ours):
    """RDMs of length 1: the solver of rsatoolbox 0.3.2 has an absolute tolerance, and is not sure to end otherwise."""
    parts = np.stack([rdm.squared_euclidean(RNG.standard_normal((14, 4))) for _ in range(3)])
    parts, stack = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (parts, STACK))
    expected = fit_regress_nn(ModelWeighted("sum", RDMs(parts)), RDMs(stack), method=POOLED[ours])
    x, y = (one - one.mean(1, keepdims=True) if ours == "pearson" else one for one in (parts, stack))
    found = Weighted(parts).fit(x @ x.T, x @ (y / np.linalg.norm(y, axis=1, keepdims=True)).mean(0))
    assert np.allclose(found / np.linalg.norm(found), expected, atol=1e-8)


# Theirs, of pairs that no part has.
@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning")
@pytest.mark.parametrize("method", ["evidence", "setsize", "simple"])
def test_partial_rdms(method):
    """Of overlapping stimuli, each with noise and of a scale of its own."""
    places = [[0, 1, 2, 3, 4, 5, 9], [4, 2, 6, 7, 5, 3], [9, 5, 8, 7, 6, 4, 0]]
    given = [
        s * rdm.euclidean(X[at] + RNG.standard_normal((len(at), 35)))
        for s, at in zip((1, 3, 0.01), places, strict=True)
    ]
    ours = [rdm.RDMs(one, None, {"conds": at}) for one, at in zip(given, places, strict=True)]
    theirs = from_partials(
        [RDMs(one[None], pattern_descriptors={"conds": at}) for one, at in zip(given, places, strict=True)]
    )
    assert np.allclose(expanded(ours, "conds").dissimilarities, theirs.dissimilarities, atol=1e-10, equal_nan=True)
    found, _ = rescaled(expanded(ours, "conds"), method)
    right = rescale(theirs, method, threshold=1e-20)
    assert np.allclose(found.dissimilarities, right.dissimilarities, atol=1e-10, equal_nan=True)
    mean = right.mean(weights="rescalingWeights").dissimilarities
    assert np.allclose(combined(ours, "conds", method).dissimilarities, mean, atol=1e-10, equal_nan=True)
    assert found.pattern_descriptors["conds"].tolist() == list(theirs.pattern_descriptors["conds"])
