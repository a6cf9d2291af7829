"""Local response normalisation is torch's own, value for value and gradient for gradient."""

import pytest
import torch
from torch import nn
from torch.func import grad, vmap

from orthotrace.layers.response import LocalResponseNorm

# size, alpha, beta, k; the first as in LeNet, the last with a window wider than all channels
OPTIONS = [(4, 0.001 / 9, 0.75, 1.0), (5, 2.0, 0.75, 2.0), (3, 0.5, 0.6, 1.0), (1, 1.0, 1.0, 1.0), (13, 0.5, 0.75, 1.0)]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", [(2, 6, 3, 2), (2, 6, 4), (3, 1, 2, 2), (2, 4, 2, 2, 2), (0, 4, 2, 2)], ids=str)
def test_values_and_gradients_are_those_of_torch(options, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    ours, theirs = LocalResponseNorm(*options), nn.LocalResponseNorm(*options)
    assert torch.allclose(ours(x), theirs(x), rtol=1e-14, atol=1e-14)
    if x.numel():
        assert torch.autograd.gradcheck(ours, (x,))
        weights = torch.randn_like(x)
        found, expected = (torch.autograd.grad((one(x) * weights).sum(), x)[0] for one in (ours, theirs))
        assert torch.allclose(found, expected, rtol=1e-13, atol=1e-13)


def test_gradients_image_by_image_and_under_autocast():
    ours, theirs = LocalResponseNorm(4, 0.5), nn.LocalResponseNorm(4, 0.5)
    x = torch.randn(5, 6, 3, 2, generator=torch.Generator().manual_seed(0))
    found, expected = (vmap(grad(lambda v, one=one: one(v[None]).square().sum()))(x) for one in (ours, theirs))
    assert torch.allclose(found, expected, atol=1e-5)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(ours(x.to(dtype)), ours(x.to(dtype).float()))
            # Torch squares in the bits that it is given.
            assert torch.allclose(ours(x.to(dtype)), theirs(x.to(dtype)).float(), atol=1e-2)
        assert ours(x.to(dtype)).dtype == torch.float32
