import numpy as np
import pytest

from orthotrace.analysis.rdm.dissimilarity import squared_euclidean
from orthotrace.analysis.rdm.noise import covariance, precision, precisions, whiten
from orthotrace.analysis.rdm.whitened import mahalanobis
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)


def test_nothing_is_shrunk_where_it_is_not_asked_for():
    x = RNG.standard_normal((30, 5)) + 3
    assert np.allclose(covariance(x, "none"), np.cov(x.T), atol=1e-12)
    assert np.allclose(covariance(x, "variances"), np.diag(np.var(x, axis=0, ddof=1)), atol=1e-12)
    assert np.allclose(covariance(x, "none", degrees=10), np.cov(x.T) * 2.9, atol=1e-12)
    assert np.allclose(precision(x, "none"), np.linalg.inv(np.cov(x.T)), atol=1e-9)
    for scale in (1e-120, 1e120):
        assert np.allclose(scale * (precision(scale * x, "none") * scale), precision(x, "none"), atol=1e-9)


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


RUNS = np.array(["b", "a", "c"])[np.arange(60) % 3]


def test_a_precision_of_each_run_and_what_it_whitens():
    x = RNG.standard_normal((60, 4)) @ RNG.standard_normal((4, 4))
    each = precisions(x, RUNS)
    assert list(each) == ["a", "b", "c"]
    for run, one in each.items():
        assert np.array_equal(one, precision(x[run == RUNS]))
        # Noise that it was estimated from has the identity as covariance.
        white = whiten(x, precisions(x, RUNS, "none"), RUNS)[run == RUNS]
        assert np.allclose(covariance(white, "none"), np.eye(4), atol=1e-10)
        assert np.allclose(whiten(x, each, RUNS)[run == RUNS], whiten(x[run == RUNS], one), atol=1e-12)
    assert np.array_equal(whiten(x, each, RUNS), whiten(x, list(each.values()), RUNS))
    distances = squared_euclidean(whiten(x, each["a"]), per_feature=True)
    assert np.allclose(distances, mahalanobis(x, each["a"]), rtol=1e-10)
    with pytest.raises(UserError, match="fold 'b': finite residuals"):
        precisions(x[:2], ["b", "c"])
    with pytest.raises(UserError, match="precision: none of fold 'c'"):
        whiten(x, {"a": np.eye(4), "b": np.eye(4)}, RUNS)
    with pytest.raises(UserError, match="precision: the precision is not positive definite"):
        whiten(x, -np.eye(4))


@pytest.mark.parametrize("value", [0.0, 0.1, 5e-5, 1e5 / 3])
def test_a_constant_feature_does_not_shrink_the_others(value):
    x = np.random.default_rng(2).standard_normal((8, 4))
    found = covariance(np.column_stack([np.full(8, value), x]), "diagonal")
    assert not found[0].any() and np.allclose(found[1:, 1:], covariance(x, "diagonal"), rtol=1e-12)


def test_whitened_patterns_that_are_no_numbers_are_refused():
    x = RNG.standard_normal((4, 2))
    assert np.allclose(whiten(1e-150 * x, 1e-300 * np.eye(2)) * 1e300, x, rtol=1e-12)
    with pytest.raises(UserError, match="patterns: what is computed of entries of this size is too small a number"):
        whiten(1e-300 * x, 1e-300 * np.eye(2))
    with pytest.raises(UserError, match="patterns: what is computed of entries of this size is too large a number"):
        whiten(1e300 * x, 1e300 * np.eye(2))
    assert not whiten(0 * x, 1e-300 * np.eye(2)).any()
