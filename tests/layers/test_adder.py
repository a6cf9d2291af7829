"""Adder layers against sums over every pair in float64, with the gradients of the paper; models that take them."""

import copy

import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.data.images import Images
from orthotrace.layers.adder import AdderConv2d, AdderLinear
from orthotrace.layers.adders import adder
from orthotrace.layers.distance import PIECE, negative_distance, rated
from orthotrace.layers.feedback import feedback
from orthotrace.methods.ewc import fisher_diagonal
from orthotrace.models.convnet import ConvNet
from orthotrace.models.vit import ViT
from orthotrace.protection import Guard
from orthotrace.subspace import SvdSubspace

DOUBLE = torch.float64


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    # In eighths, so that some numbers of inputs and weights are alike, and some differ by exactly 1.
    return torch.randint(-16, 17, shape, generator=torch.Generator().manual_seed(seed)).to(DOUBLE) / 8


def expected(rows, weights, errors):
    """Answers and gradients, number by number."""
    n, out, width = len(rows), len(weights), rows.shape[1]
    answers, to_rows, to_weights = torch.zeros(n, out, dtype=DOUBLE), torch.zeros_like(rows), torch.zeros_like(weights)
    for i in range(n):
        for o in range(out):
            for k in range(width):
                x, w = float(rows[i, k]), float(weights[o, k])
                answers[i, o] -= abs(x - w)
                to_weights[o, k] += errors[i, o] * (x - w)
                to_rows[i, k] += errors[i, o] * max(-1.0, min(1.0, w - x))
    return answers, to_rows, to_weights


def test_a_linear_layer_is_a_sum_of_distances_with_its_own_gradients():
    layer = AdderLinear(5, 4, rate=None).double()
    rows, errors = drawn(3, 2, 5).requires_grad_(), drawn(3, 2, 4, seed=2)
    with torch.no_grad():
        layer.weight.copy_(drawn(4, 5, seed=1))
        layer.bias.copy_(drawn(4, seed=3))
    answers = layer(rows)
    answers.backward(errors)
    found = expected(rows.detach().reshape(6, 5), layer.weight.detach(), errors.reshape(6, 4))
    torch.testing.assert_close(answers, (found[0] + layer.bias).reshape(3, 2, 4).detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(rows.grad, found[1].reshape(3, 2, 5), rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.weight.grad, found[2], rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.bias.grad, errors.sum((0, 1)), rtol=0, atol=1e-12)


CONVOLUTIONS = {
    "plain": {"kernel_size": 3},
    "strided": {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0), "bias": False},
    "dilated groups": {"kernel_size": 2, "padding": 1, "dilation": (2, 1), "groups": 2},
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_a_convolution_is_a_linear_layer_on_the_patches_of_torch(case):
    options = CONVOLUTIONS[case]
    layer, images = AdderConv2d(4, 6, **options, rate=None).double(), drawn(2, 4, 5, 6).requires_grad_()
    like = nn.Conv2d(4, 6, **options).double()
    assert layer.weight.shape == like.weight.shape and (layer.bias is None) == (like.bias is None)
    groups, width = layer.groups, 4 // layer.groups
    # The patch at a place is what convolutions with one number of it each give there.
    pick = torch.eye(layer.weight[0].numel(), dtype=DOUBLE).reshape(-1, width, *layer.kernel_size)
    given = {name: options[name] for name in ("stride", "padding", "dilation") if name in options}
    maps = []
    for group, part in enumerate(images.chunk(groups, 1)):
        patches = nn.functional.conv2d(part, pick, **given).movedim(1, -1)
        of = layer.weight.chunk(groups)[group].flatten(1)
        maps.append(negative_distance(patches.reshape(1, -1, of.shape[1]), of[None])[0].reshape(*patches.shape[:3], -1))
    wanted = torch.cat(maps, -1).movedim(-1, 1)
    wanted = wanted if layer.bias is None else wanted + layer.bias[:, None, None]
    assert wanted.shape == like(images.detach()).shape
    errors = drawn(*wanted.shape, seed=5)
    of_wanted = torch.autograd.grad(wanted, (images, layer.weight), errors)
    answers = layer(images)
    torch.testing.assert_close(answers, wanted, rtol=0, atol=1e-12)
    for found, right in zip(torch.autograd.grad(answers, (images, layer.weight), errors), of_wanted, strict=True):
        torch.testing.assert_close(found, right, rtol=0, atol=1e-12)


def test_pieces_give_what_the_whole_gives(monkeypatch):
    rows, weights, errors = drawn(1, 7, 3).requires_grad_(), drawn(1, 2, 3, seed=1), drawn(1, 7, 2, seed=2)
    assert rows.numel() * 2 < PIECE
    (whole,) = torch.autograd.grad(negative_distance(rows, weights), rows, errors)
    monkeypatch.setattr("orthotrace.layers.distance.PIECE", 12)
    (pieces,) = torch.autograd.grad(negative_distance(rows, weights), rows, errors)
    assert torch.equal(whole, pieces)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_the_rate_alone_says_how_large_a_gradient_is(scale):
    weight = drawn(3, 4).requires_grad_()
    slope = drawn(3, 4, seed=1)
    (scale * slope * rated(weight, 0.3)).sum().backward()
    assert float(weight.grad.norm()) == pytest.approx(0.3 * 12**0.5)
    torch.testing.assert_close(weight.grad / weight.grad.norm(), slope / slope.norm())
    weight.grad = None
    (0 * rated(weight, 0.3)).sum().backward()
    assert torch.equal(weight.grad, torch.zeros(3, 4, dtype=DOUBLE))


def test_a_fisher_information_is_of_the_gradient_without_the_rate():
    torch.manual_seed(0)
    model = nn.Sequential(AdderConv2d(1, 2, 2, groups=1), nn.Flatten(), AdderLinear(8, 3, rate=0.5)).double()
    part = Images(torch.rand(5, 1, 3, 3, dtype=DOUBLE), torch.tensor([0, 1, 2, 0, 1]))
    found = fisher_diagonal(model, part, range(3))
    for layer in (model[0], model[2]):
        layer.rate = None
    total = [torch.zeros_like(value) for value in model.parameters()]
    for image, label in zip(part.store, part.labels, strict=True):
        loss = nn.functional.cross_entropy(model(image[None].double()), label[None])
        for sums, one in zip(total, torch.autograd.grad(loss, list(model.parameters())), strict=True):
            sums += one.square() / 5
    for one, right in zip(found, total, strict=True):
        torch.testing.assert_close(one, right, rtol=1e-5, atol=1e-12)


def test_a_model_takes_them_with_the_names_that_it_had_and_learns():
    torch.manual_seed(0)
    model = ConvNet((1, 8, 8), 3, channels=[4, 6])
    names = list(model.state_dict())
    assert adder(model) == ["conv1", "conv2"]
    assert list(model.state_dict()) == names and type(model.head) is nn.Linear
    assert float(model.conv2.weight.detach().std()) == pytest.approx(1, abs=0.2)
    images, labels = torch.randn(48, 1, 8, 8), torch.arange(48) % 3
    images[:, 0, ::2] += 2 * labels[:, None, None]
    steps = torch.optim.SGD(model.parameters(), lr=0.3)
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(model(images), labels)
        steps.zero_grad()
        loss.backward()
        steps.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.conv1.weight += 1
    assert not torch.equal(model.eval()(images), other.eval()(images))


def test_attention_keeps_its_products_and_its_layers_are_no_longer_called_past():
    torch.manual_seed(0)
    model = ViT((1, 8, 8), 4, features=8, depth=1)
    names = adder(model)
    assert "block1.linear1" in names and not any("self_attn" in name for name in names)
    images = torch.randn(2, 1, 8, 8)
    model.eval()
    with torch.no_grad():
        inside = model(images)
    assert torch.allclose(inside, model(images).detach(), atol=1e-5)
    with pytest.raises(UserError, match="belongs to an attention"):
        adder(ViT((1, 8, 8), 4, features=8, depth=1), layers=["block1.self_attn.out_proj"])


def test_protection_says_why_not():
    model = ConvNet((1, 8, 8), 3, channels=[4])
    adder(model)
    with pytest.raises(UserError, match=r"^layer 'conv1' \(AdderConv2d\) answers with distances .* no projection"):
        Guard(model, SvdSubspace, energy=0.9)


BAD = {
    "none": (nn.Sequential(nn.Linear(3, 2)), {}, "beside its readout"),
    "dead": (nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)), {}, "take a model with normalisation"),
    "rate": (ConvNet((1, 8, 8), 3, channels=[4]), {"rate": 0.0}, "^rate: .*greater than 0"),
    "name": (ConvNet((1, 8, 8), 3, channels=[4]), {"layers": ["cnv1"]}, "^layers: .*'cnv1'; did you mean 'conv1'"),
    "border": (
        nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(2)), {}, "pads its border"
    ),
    "uneven": (nn.Sequential(nn.Conv2d(1, 2, 2, padding="same"), nn.BatchNorm2d(2)), {}, "pads its border"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_one_line_and_changes_nothing(case):
    model, options, message = BAD[case]
    before = [type(one) for one in model.modules()]
    with pytest.raises(UserError, match=message):
        adder(model, **options)
    assert [type(one) for one in model.modules()] == before


def test_a_layer_of_two_names_and_another_way_back_are_refused():
    layer = nn.Linear(3, 3)
    with pytest.raises(UserError, match="layer '0' is also '2'"):
        adder(nn.Sequential(layer, nn.BatchNorm1d(3), layer, nn.Linear(3, 2)))
    model = ConvNet((1, 8, 8), 3, channels=[4])
    adder(model)
    with pytest.raises(UserError, match="layer 'conv1' has a way back of its own"):
        feedback(model, "alignment")


def test_groups_divide_the_channels():
    with pytest.raises(UserError, match="groups: 3 do not divide 4 and 6 channels"):
        AdderConv2d(4, 6, 3, groups=3)
