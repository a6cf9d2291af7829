"""Depthwise convolutions are those of a loop over channels; inverted residuals add where shapes agree."""

import pytest
import torch
from torch.nn import functional

from orthotrace.models.separable import InvertedResidual, Separable
from orthotrace.models.style import BlockStyle


def channelwise(x: torch.Tensor, weight: torch.Tensor, stride: int, pieces: int = 1) -> torch.Tensor:
    """Of each output the convolution with the one channel that it belongs to."""
    maps = [
        functional.conv2d(x[:, number // pieces, None], weight[number, None], stride=stride, padding=1)
        for number in range(len(weight))
    ]
    return torch.cat(maps, 1)


def same(found: torch.Tensor, expected: torch.Tensor, *inputs: torch.Tensor) -> None:
    assert found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(found)
    ours, theirs = (torch.autograd.grad((one * weights).sum(), inputs) for one in (found, expected))
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(ours, theirs, strict=True))


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("stride", [1, 2])
def test_separable(stride):
    block = Separable((3, 7, 6), BlockStyle(norm=False), 5, stride).double()
    x = drawn(2, 3, 7, 6)
    maps = channelwise(x, block.depthwise.conv.weight, stride).relu()
    expected = torch.einsum("oc,nchw->nohw", block.pointwise.conv.weight[:, :, 0, 0], maps).relu()
    same(block(x), expected, x, *block.parameters())
    assert block(x).shape[1:] == block.shape


def test_pieces_of_maxout_are_of_one_channel():
    block = Separable((3, 5, 5), BlockStyle("maxout", pieces=3, norm=False), 2).double()
    x = drawn(2, 3, 5, 5)
    maps = channelwise(x, block.depthwise.conv.weight, 1, pieces=3).unflatten(1, (3, 3)).max(2).values
    wide = torch.einsum("oc,nchw->nohw", block.pointwise.conv.weight[:, :, 0, 0], maps)
    same(block(x), wide.unflatten(1, (2, 3)).max(2).values, x, *block.parameters())


@pytest.mark.parametrize(
    ("channels", "stride", "expand", "adds"), [(3, 1, 2, True), (3, 2, 2, False), (4, 1, 3, False), (3, 1, 1, True)]
)
def test_inverted_residual(channels, stride, expand, adds):
    block = InvertedResidual((3, 7, 6), BlockStyle(norm=False), channels, stride, expand).double()
    x = drawn(2, 3, 7, 6)
    maps = x
    if expand > 1:
        maps = torch.einsum("oc,nchw->nohw", block.expand.conv.weight[:, :, 0, 0], x).relu()
    maps = channelwise(maps, block.depthwise.conv.weight, stride).relu()
    # No nonlinearity after the projection.
    expected = torch.einsum("oc,nchw->nohw", block.project.conv.weight[:, :, 0, 0], maps)
    same(block(x), expected + x if adds else expected, x, *block.parameters())
    assert block.adds == adds and block(x).shape[1:] == block.shape
