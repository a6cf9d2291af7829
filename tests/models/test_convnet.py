from __future__ import annotations

import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.models.convnet import VGG, AlexNet, ConvNet, LeNet

RGB = (3, 32, 32)


def layers(model: nn.Module, kind: type) -> list[tuple[int, ...]]:
    return [tuple(module.weight.shape) for module in model.modules() if isinstance(module, kind)]


def test_the_published_shapes():
    convnet = ConvNet(RGB, 10)
    assert layers(convnet, nn.Conv2d) == [(64, 3, 3, 3), (128, 64, 3, 3), (256, 128, 3, 3)]
    assert convnet.head.in_features == 256 * 4 * 4
    alexnet = AlexNet(RGB, 10)
    assert layers(alexnet, nn.Conv2d) == [(64, 3, 4, 4), (128, 64, 3, 3), (256, 128, 2, 2)]
    assert layers(alexnet, nn.Linear) == [(2048, 1024), (2048, 2048), (10, 2048)]
    vgg = VGG(RGB, 10)
    assert layers(vgg, nn.Conv2d) == [
        (b, a, 3, 3) for a, b in ((3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128))
    ]
    assert layers(vgg, nn.Linear) == [(128, 128 * 4 * 4), (10, 128)]
    lenet = LeNet(RGB, 5)
    assert layers(lenet, nn.Conv2d) == [(20, 3, 5, 5), (50, 20, 5, 5)]
    assert layers(lenet, nn.Linear) == [(800, 50 * 8 * 8), (500, 800), (5, 500)]


def test_first_weights_of_the_published_lenet_are_he_s():
    """Uniform in +- sqrt(6 / fan-in), of every layer; those of torch are smaller by sqrt(6)."""
    torch.manual_seed(0)
    for kind, square in (("he", 6.0), ("torch", 1.0)):
        lenet = LeNet(RGB, 500, initialisation=kind)
        for layer in (one for one in lenet if isinstance(one, (nn.Conv2d, nn.Linear))):
            weight = layer.weight.detach().flatten(1).double()
            bound = (square / weight.shape[1]) ** 0.5
            assert 0.99 * bound < weight.abs().max() <= 1.0001 * bound
            # Of a uniform distribution the mean square is a third of the bound's.
            assert float(weight.square().mean()) == pytest.approx(bound**2 / 3, rel=0.1)


def test_widths_and_images_of_other_sizes():
    assert layers(ConvNet(RGB, 10, width=0.5), nn.Conv2d)[0][0] == 32
    assert ConvNet((1, 8, 8), 3)(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


@pytest.mark.parametrize(
    "make", [lambda: ConvNet((1, 4, 4), 3), lambda: VGG((1, 4, 9), 3), lambda: AlexNet((3, 18, 18), 3)]
)
def test_images_that_are_too_small(make):
    with pytest.raises(UserError, match="too small"):
        make()


def test_statistics_of_each_batch_are_those_of_evaluation_too():
    """What is answered to an image depends on its batch, and dropout in training moves no statistics."""
    x = torch.randn(8, *RGB, generator=torch.Generator().manual_seed(0))
    models = [AlexNet(RGB, 10, width=0.1, statistics=kind) for kind in ("running", "batch")]
    models[1].load_state_dict(models[0].state_dict(), strict=False)
    alone = []
    for model in models:
        model(x)
        model.eval()
        alone.append(torch.allclose(model(x)[:4], model(x[:4]), atol=1e-5))
    assert alone == [True, False] and not [name for name, _ in models[1].named_buffers()]
    with pytest.raises(UserError, match="statistics"):
        AlexNet(RGB, 10, statistics="none")
