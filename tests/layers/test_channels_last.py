"""Images with their channels last."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from orthotrace.layers.channels_last import take_channels_last
from orthotrace.layers.neurons import Learning
from orthotrace.layers.spiking import spiking
from orthotrace.models.convnet import ConvNet
from orthotrace.models.mlp import MLP


def orders(model: nn.Module) -> list[bool]:
    """Filled with whether what each convolution is given has its channels next to each other."""
    found: list[bool] = []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_pre_hook(lambda layer, given: found.append(given[0].stride(1) == 1))
    return found


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 24, 24)])
def test_all_convolutions_get_them_and_give_the_same(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = ConvNet(shape, 4, [4, 6])
    plain = copy.deepcopy(model)
    assert take_channels_last(model)
    found = orders(model)
    images = torch.randn(5, *shape)
    out, expected = model(images), plain(images)
    assert found == [True, True]
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    out.square().sum().backward()
    expected.square().sum().backward()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4)
        assert ours.is_contiguous() == theirs.is_contiguous()


def test_within_torch_func_they_stay() -> None:
    torch.manual_seed(0)
    model = ConvNet((3, 16, 16), 4, [4]).eval()
    assert take_channels_last(model)
    images, weights = torch.randn(3, 3, 16, 16), dict(model.named_parameters())

    def loss(values: dict[str, torch.Tensor], image: torch.Tensor) -> torch.Tensor:
        return functional_call(model, values, (image[None],)).square().sum()

    found = vmap(grad(loss), in_dims=(None, 0))(weights, images)
    for number, image in enumerate(images):
        alone = torch.autograd.grad(loss(weights, image), list(weights.values()))
        for values, expected in zip(found.values(), alone, strict=True):
            torch.testing.assert_close(values[number], expected, rtol=1e-4, atol=1e-4)


def layers(channels: int, kernel: int = 1, stride: int | tuple[int, int] = 2, groups: int = 1) -> nn.Module:
    """A convolution, and one behind it."""
    behind = nn.Conv2d(channels, 8, kernel, stride, groups=groups)
    return nn.Sequential(nn.Conv2d(3, channels, 3), behind)


@pytest.mark.parametrize("model", [layers(8), layers(7, kernel=3), layers(7, stride=1)])
def test_networks_like_those_that_stay_take_them(model: nn.Module) -> None:
    assert take_channels_last(model)


def test_gradients_reach_the_images() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3))
    take_channels_last(model)
    images = torch.randn(2, 3, 16, 16, requires_grad=True)
    model(images).sum().backward()
    assert images.grad is not None
    torch.testing.assert_close(images.grad[0], images.grad[1])


@pytest.mark.parametrize(
    ("images", "dtype"),
    [((2, 3, 8, 8), torch.float32), ((2, 3, 32, 32), torch.float64), ((3, 32, 32), torch.float32)],
    ids=["small", "float64", "one image"],
)
def test_other_images_stay(images: tuple[int, ...], dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3)).to(dtype)
    take_channels_last(model)
    found = orders(model)
    given = torch.zeros(images, dtype=dtype)
    model(given)
    assert found == [False]


@pytest.mark.parametrize("learning", ["bptt", "dsr", "ottt"])
def test_spiking_neurons_keep_them(learning: Learning) -> None:
    torch.manual_seed(0)
    model = spiking(ConvNet((3, 16, 16), 4, [4, 6], norm=False), 3, learning)
    assert take_channels_last(model)
    found = orders(model)
    model(torch.randn(5, 3, 16, 16)).square().sum().backward()
    assert found and all(found)


@pytest.mark.parametrize(
    "model",
    [MLP((3, 16, 16), 4, [5]), layers(7), layers(4, stride=(1, 2)), layers(16, groups=4)],
    ids=["no convolution", "narrow", "narrow, one stride", "narrow groups"],
)
def test_other_networks_stay(model: nn.Module) -> None:
    """Those without convolutions, and those in which a gradient of the library would write beyond its memory."""
    assert not take_channels_last(model)
    assert not model._forward_pre_hooks
