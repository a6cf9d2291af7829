"""Agreement with rsatoolbox 0.3.2."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from analysis import noise, rdm

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from rsatoolbox.data import Dataset
    from rsatoolbox.data.noise import cov_from_residuals, prec_from_residuals
    from rsatoolbox.rdm import calc_rdm

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
