"""SAWB and PACT against their formulas in float64, the scale against the best one, models that take them."""

import copy

import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.layers.pact import PACT
from orthotrace.layers.quantised import COEFFICIENTS, SAWB, sawb
from orthotrace.models.convnet import ConvNet
from orthotrace.models.resnet import ResNet18
from orthotrace.protection import Guard
from orthotrace.subspace import SvdSubspace

DOUBLE = torch.float64
# Uniform numbers to numbers of a distribution of the paper: its quantiles.
QUANTILES = {
    "gaussian": lambda u: torch.special.ndtri(u),
    "uniform": lambda u: 2 * u - 1,
    "laplace": lambda u: -(u - 0.5).sign() * torch.log1p(-2 * (u - 0.5).abs()),
    "logistic": lambda u: torch.logit(u),
    "triangular": lambda u: (u - 0.5).sign() * (1 - (1 - 2 * (u - 0.5).abs()).sqrt()),
}


def levels_of(bits, scale):
    return torch.linspace(-1, 1, 2**bits, dtype=DOUBLE) * scale


def error(values, bits, scale):
    """By the nearest of all levels."""
    return float((values[:, None] - levels_of(bits, scale)).abs().amin(1).square().mean())


@pytest.mark.parametrize("bits", [2, 3])
@pytest.mark.parametrize("kind", QUANTILES)
def test_the_scale_is_within_5_percent_of_that_of_least_squared_error(kind, bits):
    count = 4000
    values = QUANTILES[kind]((torch.arange(count, dtype=DOUBLE) + 0.5) / count)
    found = float(SAWB(bits).scale(values))
    tried = [found * (0.85 + 0.01 * step) for step in range(31)]
    best = min(tried, key=lambda scale: error(values, bits, scale))
    assert abs(found / best - 1) <= 0.05


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_each_weight_takes_the_nearest_level_and_its_gradient_goes_straight_through(bits):
    weight = torch.randn(30, 7, generator=torch.Generator().manual_seed(0), dtype=DOUBLE).requires_grad_()
    made = SAWB(bits)
    first, second = COEFFICIENTS[bits]
    scale = first * weight.detach().square().mean().sqrt() - second * weight.detach().abs().mean()
    grid = levels_of(bits, scale)
    given = made(weight)
    torch.testing.assert_close(
        given.detach(), grid[(weight.detach()[..., None] - grid).abs().argmin(-1)], rtol=0, atol=1e-12
    )
    assert given.unique().numel() == 2**bits
    slope = torch.randn(30, 7, dtype=DOUBLE)
    (given * slope).sum().backward()
    assert torch.equal(weight.grad, slope)


def test_an_activation_is_clipped_and_rounded_with_the_gradients_of_the_paper():
    layer = PACT(bits=2, clip=3.0).double()
    inputs = torch.tensor([-2.0, 0.0, 0.4, 0.6, 1.7, 2.9, 3.0, 5.0], dtype=DOUBLE, requires_grad=True)
    given = layer(inputs)
    assert given.tolist() == [0, 0, 0, 1, 2, 3, 3, 3]
    errors = torch.arange(1.0, 9.0, dtype=DOUBLE)
    given.backward(errors)
    assert inputs.grad.tolist() == [0, 0, 3, 4, 5, 6, 0, 0]
    # Where an input reaches the clip.
    assert float(layer.clip.grad) == 7 + 8


def test_many_bits_are_the_function_of_the_paper_and_a_clip_never_falls_to_nothing():
    inputs = torch.linspace(-3, 8, 200, dtype=DOUBLE)
    formula = 0.5 * (inputs.abs() - (inputs - 6).abs() + 6)
    torch.testing.assert_close(PACT(16, clip=6.0).double()(inputs).detach(), formula, rtol=0, atol=6 / 2**16)
    low = PACT(2)
    with torch.no_grad():
        low.clip.fill_(-1.0)
    assert float(low(torch.ones(1)).detach()) == pytest.approx(5e-4)


def test_a_model_keeps_its_first_layer_and_its_readout():
    torch.manual_seed(0)
    model = ConvNet((1, 8, 8), 3, channels=[4, 6, 8])
    assert sawb(model, activation_bits=3) == ["conv2", "conv3"]
    assert isinstance(model.relu1, PACT) and isinstance(model.relu3, PACT)
    assert model.conv2.weight.unique().numel() == 4 and model.conv1.weight.unique().numel() == 36
    images, labels = torch.randn(48, 1, 8, 8), torch.arange(48) % 3
    images[:, 0, 0] += labels[:, None]
    steps = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(25):
        loss = nn.functional.cross_entropy(model(images), labels)
        steps.zero_grad()
        loss.backward()
        steps.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0] and float(model.relu1.clip.detach()) != 3
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.conv2.parametrizations.weight.original.neg_()
    assert not torch.equal(other.conv2.weight, model.conv2.weight)


def test_a_relu_of_several_names_becomes_one_activation():
    shared = nn.ReLU()
    model = nn.Sequential(nn.Linear(4, 4), shared, nn.Linear(4, 4), shared, nn.Linear(4, 2))
    sawb(model, activation_bits=2)
    assert isinstance(model[1], PACT) and model[1] is model[3]


def test_protection_refuses_the_weights_and_freezes_the_clip():
    model = ConvNet((1, 8, 8), 3, channels=[4, 6])
    sawb(model)
    with pytest.raises(UserError, match=r"the weight of layer 'conv2' \(SAWB\) is rounded to few levels"):
        Guard(model, SvdSubspace, energy=0.9)
    model = nn.Sequential(nn.Linear(4, 4), PACT(3), nn.Linear(4, 2))
    guard, inputs = Guard(model, SvdSubspace, rows=1), torch.rand(6, 4)
    for _ in range(2):
        steps = torch.optim.SGD(model.parameters(), lr=0.1)
        before = model[1].clip.detach().clone()
        with guard.protecting(steps):
            (10 * model(inputs)).square().sum().backward()
            model[1].clip.grad = torch.ones(())
            steps.step()
        guard.remember(model, inputs)
    assert torch.equal(model[1].clip.detach(), before)


SMALL = lambda: ConvNet((1, 8, 8), 3, channels=[4, 6])  # noqa: E731
BAD = {
    "none": (lambda: nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)), {}, "beside its first layer and its readout"),
    "bits": (SMALL, {"bits": 5}, "^bits: .*less than or equal to 4"),
    "activations": (SMALL, {"activation_bits": 0}, "^activation_bits: .*greater than or equal to 1"),
    "functions": (
        lambda: nn.Sequential(*(nn.Linear(2, 2) for _ in range(3))), {"activation_bits": 2}, "^activation_bits: .* no ReLU"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_one_line(case):
    make, options, message = BAD[case]
    with pytest.raises(UserError, match=message):
        sawb(make(), **options)


def test_weights_of_zeros_have_no_levels():
    model = SMALL()
    nn.init.zeros_(model.conv2.weight)
    with pytest.raises(UserError, match="the weight of layer 'conv2' is zero"):
        sawb(model)
    assert sawb(ResNet18((3, 16, 16), 4, width=0.1))[0] != "conv1"


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_weights_of_one_size_keep_it_and_zeros_stay_zeros(bits):
    weight = torch.tensor([[0.5, -0.5], [0.5, 0.5]])
    assert torch.allclose(SAWB(bits)(weight), weight, rtol=0.03)
    assert SAWB(bits)(torch.zeros(2, 2)).abs().max() < 1e-30
