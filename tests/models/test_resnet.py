import torch
from torch import nn

from orthotrace.models.resnet import ResNet18

RGB = (3, 32, 32)


def test_the_published_size():
    # The reduced ResNet-18 of Lopez-Paz & Ranzato has 1,109,240 parameters with 100 outputs.
    assert sum(value.numel() for value in ResNet18(RGB, 100).parameters()) == 1_109_240
    assert sum(isinstance(module, nn.Conv2d) for module in ResNet18(RGB, 10).modules()) == 20


def test_a_preactivated_block_is_the_identity_where_its_branch_is_nothing():
    model = ResNet18(RGB, 10, preactivation=True).eval()
    block = model.layer1[0]
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 20, 5, 5)
    assert torch.equal(block(x), x)


def test_widths_the_stem_and_images_of_other_sizes():
    assert ResNet18(RGB, 10, width=2).head.in_features == 320
    assert ResNet18((3, 84, 84), 5, stem=(5, 2), width=0.1)(torch.zeros(2, 3, 84, 84)).shape == (2, 5)
