import numpy as np
import pytest

from orthotrace.analysis.rdm.noise import covariance, precision
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)


def test_nothing_is_shrunk_where_it_is_not_asked_for():
    x = RNG.standard_normal((30, 5)) + 3
    assert np.allclose(covariance(x, "none"), np.cov(x.T), atol=1e-12)
    assert np.allclose(covariance(x, "variances"), np.diag(np.var(x, axis=0, ddof=1)), atol=1e-12)
    assert np.allclose(covariance(x, "none", degrees=10), np.cov(x.T) * 2.9, atol=1e-12)
    assert np.allclose(precision(x, "none"), np.linalg.inv(np.cov(x.T)), atol=1e-9)


@pytest.mark.parametrize("shrinkage", ["identity", "diagonal"])
def test_shrunk_covariances_are_nearer_to_the_truth_and_never_singular(shrinkage):
    truth = np.diag(np.linspace(1, 3, 20))
    x = RNG.standard_normal((15, 20)) @ np.sqrt(truth)
    assert np.linalg.norm(covariance(x, shrinkage) - truth) < np.linalg.norm(covariance(x, "none") - truth)
    assert np.linalg.eigvalsh(covariance(x, shrinkage)).min() > 0
    # With many measurements little is shrunk.
    x = RNG.standard_normal((20_000, 20)) @ np.sqrt(truth) @ (np.eye(20) + 0.3)
    assert np.allclose(covariance(x, shrinkage), covariance(x, "none"), rtol=0.05, atol=0.05)


def test_what_cannot_be():
    with pytest.raises(UserError, match="singular: shrink it"):
        precision(RNG.standard_normal((5, 10)), "none")
    with pytest.raises(UserError, match="there is no shrinkage 'diag'"):
        covariance(np.eye(3), "diag")
    for wrong in (np.zeros((1, 3)), np.full((4, 3), np.nan), np.zeros(4)):
        with pytest.raises(UserError, match="finite residuals"):
            covariance(wrong)
