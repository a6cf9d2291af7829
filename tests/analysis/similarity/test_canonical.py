"""What the rounding of a network in float32 adds to measures that count dimensions."""

import numpy as np
import pytest
import torch

from orthotrace.analysis import similarity

COUNTED = ["cca", "cca_squared", "svcca", "pwcca", "pwcca_mean", "regression"]
RNG = np.random.default_rng(0)
SOURCES = RNG.standard_normal((200, 5))
OTHERS = 0.6 * SOURCES + 0.8 * RNG.standard_normal((200, 5))


def layers(kind, inputs=5, units=64, shift=0.0, scale=1.0):
    """Two layers with more units than inputs, computed in some type."""
    draws = np.random.default_rng(1)
    wide = [one @ draws.standard_normal((5, inputs)) for one in (SOURCES, OTHERS)]
    weights = [draws.standard_normal((inputs, units)) for _ in wide]
    return [scale * (one.astype(kind) @ by.astype(kind)) + kind(shift) for one, by in zip(wide, weights, strict=True)]


@pytest.mark.parametrize("given", ["float32", "float64", "tensor"])
@pytest.mark.parametrize(
    "layer",
    [{}, {"inputs": 512}, {"units": 1024}, {"shift": 100.0}, {"scale": np.float32(2.0**-40)}],
    ids=["narrow", "many inputs", "many units", "shifted", "small"],
)
@pytest.mark.parametrize("name", COUNTED)
def test_a_layer_in_float32_has_the_dimensions_of_its_inputs(name, layer, given):
    """Also where it comes in float64, as the analysis of runs has it."""
    measure = getattr(similarity, name)
    x, y = layers(np.float32, **layer)
    if given == "float64":
        x, y = x.astype(float), y.astype(float)
    elif given == "tensor":
        x, y = torch.from_numpy(x), torch.from_numpy(y)
    assert measure(x, y) == pytest.approx(measure(*layers(np.float64, **layer)), abs=2e-3)
    assert len(similarity.canonical_correlations(x, y)) == 5


def test_small_dimensions_of_float64_count():
    """Of a millionth of a millionth of the others."""
    x, y = SOURCES * [1, 1, 1, 1, 1e-12], OTHERS * [1e-12, 1, 1, 1, 1]
    assert similarity.cca(x, y) == pytest.approx(similarity.cca(SOURCES, OTHERS), abs=1e-3)
    assert len(similarity.canonical_correlations(x, y)) == 5


def test_small_dimensions_of_float32_count_that_are_no_rounding():
    x, y = (one.astype(np.float32) for one in (SOURCES, OTHERS))
    small = np.array([1, 1, 1, 1, 1e-4], np.float32)
    assert similarity.cca(x * small, y) == pytest.approx(similarity.cca(x, y), abs=1e-3)
