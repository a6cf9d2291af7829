import numpy as np
import pytest
from scipy.stats import pearsonr

from analysis.compare import consistency, pearson

RDMS = np.random.default_rng(0).uniform(size=(5, 45))


def test_against_scipy():
    for i in range(5):
        for j in range(5):
            expected = pearsonr(RDMS[i], RDMS[j]).statistic
            assert pearson(RDMS)[i, j] == pytest.approx(expected, abs=1e-12)
            assert consistency(RDMS)[i, j] == pytest.approx(expected**2, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_scale_changes_nothing(scale):
    assert np.allclose(pearson(scale * RDMS), pearson(RDMS), atol=1e-12)


def test_published_value():
    """The generator and the value of the RSA reference: correlation RDMs, Pearson 0.663444304018."""
    from analysis.rdm import correlation

    rng = np.random.default_rng(42)
    z = rng.standard_normal((60, 12))
    x = z @ rng.standard_normal((12, 30)) + 0.5 * rng.standard_normal((60, 30)) + 1
    y = z @ rng.standard_normal((12, 30)) + rng.standard_normal((60, 30)) - 0.7
    assert pearson([correlation(x), correlation(y)])[0, 1] == pytest.approx(0.663444304018, abs=1e-9)


@pytest.mark.parametrize(
    ("rdms", "line"),
    [
        (RDMS[0], "a stack"),
        (np.vstack([RDMS, np.ones((1, 45))]), "RDM 5 is constant"),
        (np.vstack([RDMS, np.full((1, 45), np.nan)]), "RDM 5 has entries"),
    ],
)
def test_rdms_without_a_correlation_are_named(rdms, line):
    with pytest.raises(ValueError, match=line):
        pearson(rdms)
