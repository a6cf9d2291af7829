import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.data.sources import digits


def test_digits_are_the_real_ones_in_fixed_parts():
    source = digits()
    assert source.train.images.shape == (1437, 1, 8, 8) and source.test.images.shape == (360, 1, 8, 8)
    assert float(source.train.inputs().min()) == 0 and float(source.train.inputs().max()) == 1
    assert source.classes == tuple("0123456789")
    counts = torch.bincount(source.test.labels)
    assert int(counts.min()) >= 34 and int(counts.max()) <= 37
    assert torch.equal(digits().test.images, source.test.images)
    # No image is in both parts.
    both = torch.cat([source.train.images, source.test.images]).flatten(1)
    assert len(both.unique(dim=0)) == 1797


def test_scale():
    assert torch.allclose(digits(scale=20.0).train.inputs(), 20 * digits().train.inputs())


@pytest.mark.parametrize("scale", [0, -1, float("inf"), float("nan"), "x"])
def test_scales_that_cannot_be(scale):
    with pytest.raises(UserError, match="scale"):
        digits(scale=scale)
