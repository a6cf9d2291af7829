"""All-CNN-C and All-CNN-7: the layers of the recipe, their first weights, and a mean of maps as logits."""

from __future__ import annotations

import pytest
import torch
from composed import composed
from torch import nn

from orthotrace.config.network import make_network
from orthotrace.core.errors import UserError
from orthotrace.models.all_cnn import AllCNN

RGB = (3, 32, 32)
# Output channels, kernel, stride and padding of each convolution.
LAYERS = {
    "all_cnn_c": [
        (96, 3, 1, 1), (96, 3, 1, 1), (96, 3, 2, 1), (192, 3, 1, 1), (192, 3, 1, 1), (192, 3, 2, 1), (192, 3, 1, 0),
        (192, 1, 1, 0), (10, 1, 1, 0),
    ],
    "all_cnn_7": [
        (96, 3, 1, 1), (96, 3, 2, 1), (192, 3, 1, 1), (192, 3, 2, 1), (192, 3, 1, 0), (192, 1, 1, 0), (10, 1, 1, 0),
    ],
}  # fmt: skip


def order(model: nn.Module) -> list[str]:
    return [type(one).__name__ for one in model.children()]


@pytest.mark.parametrize("name", LAYERS)
def test_the_layers_of_the_recipe(name):
    model = make_network(composed(f"model={name}"), RGB, 10)
    convolutions = [one for one in model.children() if isinstance(one, nn.Conv2d)]
    found = [(one.out_channels, one.kernel_size[0], one.stride[0], one.padding[0]) for one in convolutions]
    assert found == LAYERS[name]
    strided = [stride for _, _, stride, _ in LAYERS[name]]
    expected = [word for stride in strided for word in ["Conv2d", "ReLU", *(["Dropout"] if stride == 2 else [])]]
    assert order(model) == [*expected, "AdaptiveAvgPool2d", "Flatten"]
    assert [one.p for one in model.children() if isinstance(one, nn.Dropout)] == [0.5, 0.5]


def test_the_first_weights_are_normal_with_variance_2_over_fan_in_and_biases_0():
    torch.manual_seed(0)
    for layer in (one for one in AllCNN(RGB, 10).children() if isinstance(one, nn.Conv2d)):
        weight = layer.weight.detach()
        assert float(weight.std()) == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.1)
        assert not layer.bias.any()


def test_the_logits_are_the_means_of_the_last_maps_after_the_relu():
    model = AllCNN(RGB, 4, width=0.1).eval()
    images = torch.randn(3, *RGB)
    maps = nn.Sequential(*list(model.children())[:-2])(images)
    assert maps.shape == (3, 4, 6, 6) and float(maps.detach().min()) >= 0
    assert torch.allclose(model(images), maps.mean((2, 3)))


@pytest.mark.parametrize("side", [8, 9])
def test_the_smallest_images(side):
    if side == 9:
        assert AllCNN((1, 9, 20), 3, width=0.1)(torch.zeros(2, 1, 9, 20)).shape == (2, 3)
        return
    with pytest.raises(UserError, match=r"images of \(1, 8, 20\) are too small for 2 stages"):
        AllCNN((1, 8, 20), 3)
