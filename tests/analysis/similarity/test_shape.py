"""Shape metrics of representations that are nearly the same."""

import numpy as np
import pytest

from orthotrace.analysis.similarity import procrustes, procrustes_angle

rng = np.random.default_rng(0)
# More stimuli than features, and fewer.
SHAPES = [(40, 8), (12, 30)]


def centred(*shape: int) -> np.ndarray:
    x = rng.standard_normal(shape)
    return x - x.mean(0)


def rotation(width: int) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((width, width)))[0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("more", [1e-2, 1e-4, 1e-6, 1e-9])
def test_small_distances_keep_their_digits(shape, more):
    """By |X|^2 + |Y|^2 - 2 |X^T Y|_* alone one of 1e-9 would be 1e-8 of rounding."""
    x = centred(*shape)
    assert procrustes(x, (1 + more) * x @ rotation(shape[1])) == pytest.approx(more * np.linalg.norm(x), rel=1e-5)


@pytest.mark.parametrize("apart", [0.3, 1e-5, 1e-8])
def test_what_one_has_beyond_the_other_counts(apart):
    x, extra = centred(40, 8), centred(40, 3)
    inside, _ = np.linalg.qr(x)
    extra -= inside @ (inside.T @ extra)
    wider = np.hstack([x, apart * extra]) @ rotation(11)
    for found in (procrustes(x, wider), procrustes(wider, x)):
        assert found == pytest.approx(apart * np.linalg.norm(extra), rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_ones_are_not_apart(shape):
    x = centred(*shape)
    turned = x @ rotation(shape[1])
    assert procrustes(x, x) < 1e-12 and procrustes(x, turned) < 1e-12 and procrustes_angle(x, 3 * turned) < 1e-12


@pytest.mark.parametrize("angle", [1e-2, 1e-5, 1e-8])
def test_a_small_angle_keeps_its_digits(angle):
    """Of X and X cos a + Z sin a, with Z as long, orthogonal to X, and of the same shape."""
    basis, _ = np.linalg.qr(centred(40, 16))
    x, z = basis[:, :8] * np.arange(1, 9), basis[:, 8:] * np.arange(1, 9)
    assert procrustes_angle(x, x * np.cos(angle) + z * np.sin(angle)) == pytest.approx(angle, rel=1e-5)
