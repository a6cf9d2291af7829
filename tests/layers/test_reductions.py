import numpy as np
import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.layers.reductions import reduced


def naive(image: np.ndarray, reduction: str, mask: np.ndarray | None) -> float:
    """One map, place by place."""
    weights = np.ones_like(image) if mask is None else mask
    if reduction == "pool_max":
        height, width = image.shape
        maxima, tops = [], []
        for top in range(0, height, 3):
            for left in range(0, width, 3):
                window = (slice(top, top + 3), slice(left, left + 3))
                inside = weights[window] > 0
                tops.append(weights[window].max())
                maxima.append(image[window][inside].max() if inside.any() else 0.0)
        return float(np.average(maxima, weights=tops))
    if reduction == "max":
        return float(image[weights > weights.max() / 2].max())
    return float(np.average(np.maximum(image, 0) if reduction == "pos_mean" else image, weights=weights))


@pytest.mark.parametrize("reduction", ["mean", "max", "pos_mean", "pool_max"])
@pytest.mark.parametrize("side", [1, 2, 3, 7])
@pytest.mark.parametrize("masked", [False, True])
def test_maps_place_by_place(reduction, side, masked):
    draws = np.random.default_rng(side)
    maps = draws.normal(size=(4, 3, side, side + 1))
    mask = draws.uniform(size=(4, side, side + 1)) * (draws.uniform(size=(4, side, side + 1)) > 0.4) if masked else None
    if mask is not None:
        mask[:, 0, 0] = 0.7
    found = reduced(torch.tensor(maps), reduction, None if mask is None else torch.tensor(mask))
    for image in range(4):
        for axis in range(3):
            expected = naive(maps[image, axis], reduction, None if mask is None else mask[image])
            assert float(found[image, axis]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "max", "pos_mean", "pool_max"])
@pytest.mark.parametrize("places", [(), (5,), (4, 5), (2, 4, 5)], ids=str)
def test_any_number_of_sides_and_homogeneous(reduction, places):
    maps = torch.randn(3, 2, *places, generator=torch.Generator().manual_seed(0))
    found = reduced(maps, reduction)
    assert found.shape == (3, 2)
    assert torch.allclose(reduced(3 * maps, reduction), 3 * found)


def test_a_mask_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match=r"masks of the shape \(2, 3, 3\) are needed \(got \(2, 3\)\)"):
        reduced(torch.zeros(2, 1, 3, 3), "mean", torch.ones(2, 3))
    with pytest.raises(UserError, match="one above 0"):
        reduced(torch.zeros(2, 1, 3, 3), "mean", torch.zeros(2, 3, 3))
