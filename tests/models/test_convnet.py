from __future__ import annotations

import pytest
import torch
from torch import nn

from orthotrace.errors import UserError
from orthotrace.models.convnet import AlexNet, ConvNet, LeNet
from orthotrace.models.mlp import MLP
from orthotrace.models.resnet import ResNet18

RGB = (3, 32, 32)


def count(model: nn.Module) -> int:
    return sum(value.numel() for value in model.parameters())


def layers(model: nn.Module, kind: type) -> list[tuple[int, ...]]:
    return [tuple(module.weight.shape) for module in model.modules() if isinstance(module, kind)]


@pytest.mark.parametrize(
    "make", [ConvNet, AlexNet, LeNet, ResNet18, lambda *a, **k: ResNet18(*a, preactivation=True, **k), MLP]
)
@pytest.mark.parametrize("width", [0.1, 1.0])
def test_logits_have_their_shape_and_every_weight_a_gradient(make, width):
    torch.manual_seed(0)
    model = make(RGB, 7, width=width)
    model(torch.randn(4, *RGB)).square().sum().backward()
    assert model(torch.randn(4, *RGB)).shape == (4, 7)
    assert all(value.grad is not None and value.grad.isfinite().all() for value in model.parameters())
    assert isinstance(model.head, nn.Linear)


def test_the_published_shapes():
    convnet = ConvNet(RGB, 10)
    assert layers(convnet, nn.Conv2d) == [(64, 3, 3, 3), (128, 64, 3, 3), (256, 128, 3, 3)]
    assert convnet.head.in_features == 256 * 4 * 4
    alexnet = AlexNet(RGB, 10)
    assert layers(alexnet, nn.Conv2d) == [(64, 3, 4, 4), (128, 64, 3, 3), (256, 128, 2, 2)]
    assert layers(alexnet, nn.Linear) == [(2048, 1024), (2048, 2048), (10, 2048)]
    lenet = LeNet(RGB, 5)
    assert layers(lenet, nn.Conv2d) == [(20, 3, 5, 5), (50, 20, 5, 5)]
    assert layers(lenet, nn.Linear) == [(800, 50 * 8 * 8), (500, 800), (5, 500)]
    # The reduced ResNet-18 of Lopez-Paz & Ranzato has 1,109,240 parameters with 100 outputs.
    assert count(ResNet18(RGB, 100)) == 1_109_240
    assert len(layers(ResNet18(RGB, 10), nn.Conv2d)) == 20


def test_widths():
    assert layers(ConvNet(RGB, 10, width=0.5), nn.Conv2d)[0][0] == 32
    assert layers(MLP((1, 8, 8), 10, hidden=[20], width=1.5), nn.Linear)[0] == (30, 64)
    assert ResNet18(RGB, 10, width=2).head.in_features == 320


def test_a_preactivated_block_is_the_identity_where_its_branch_is_nothing():
    model = ResNet18(RGB, 10, preactivation=True).eval()
    block = model.layer1[0]
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 20, 5, 5)
    assert torch.equal(block(x), x)


def test_the_stem_and_images_of_other_sizes():
    assert ResNet18((3, 84, 84), 5, stem=(5, 2), width=0.1)(torch.zeros(2, 3, 84, 84)).shape == (2, 5)
    assert ConvNet((1, 8, 8), 3)(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


@pytest.mark.parametrize("make", [lambda: ConvNet((1, 4, 4), 3), lambda: AlexNet((3, 18, 18), 3)])
def test_images_that_are_too_small(make):
    with pytest.raises(UserError, match="too small"):
        make()


@pytest.mark.parametrize("make", [ConvNet, AlexNet, LeNet, ResNet18, MLP])
def test_widths_that_cannot_be(make):
    with pytest.raises(UserError, match="width"):
        make(RGB, 10, width=0)
