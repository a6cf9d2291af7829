"""The Inception block is its four branches, joined."""

import pytest
import torch
from torch.nn import functional

from orthotrace.core.errors import UserError
from orthotrace.models.inception import Inception
from orthotrace.models.style import BlockStyle


def test_it_is_its_branches_gradients_included():
    torch.manual_seed(0)
    block = Inception((3, 6, 5), BlockStyle("elu", bias=True), 2, (3, 4), (2, 3), 1).double().eval()
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64, requires_grad=True)
    for module in block.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.weight)

    def layer(values, made, padding):
        maps = functional.conv2d(values, made.conv.weight, made.conv.bias, padding=padding)
        bn = made.bn
        maps = (maps - bn.running_mean.view(-1, 1, 1)) / (bn.running_var.view(-1, 1, 1) + bn.eps).sqrt()
        return functional.elu(maps * bn.weight.view(-1, 1, 1) + bn.bias.view(-1, 1, 1))

    expected = torch.cat(
        [
            layer(x, block.branch1, 0),
            layer(layer(x, block.branch3.reduce, 0), block.branch3.conv, 1),
            layer(layer(x, block.branch5.reduce, 0), block.branch5.conv, 2),
            layer(functional.max_pool2d(x, 3, 1, 1), block.pooled.conv, 0),
        ],
        1,
    )
    found = block(x)
    assert found.shape[1:] == block.shape == (10, 6, 5)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    weights, inputs = torch.randn_like(found), (x, *block.parameters())
    ours, theirs = (torch.autograd.grad((one * weights).sum(), inputs) for one in (found, expected))
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(ours, theirs, strict=True))


def test_widths_scale_and_have_a_least():
    assert Inception((3, 6, 5), BlockStyle(width=0.5), 4, (4, 8), (2, 1), 2).shape == (2 + 4 + 1 + 1, 6, 5)
    with pytest.raises(UserError, match=r"^conv3\.?.*greater than or equal to 1"):
        Inception((3, 6, 5), BlockStyle(), 4, (0, 8), (2, 1), 2)
