"""Errors that go back by other weights, beside what they are by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, linear

from orthotrace.core.errors import UserError
from orthotrace.data.images import Images
from orthotrace.layers import orthogonalise, spiking
from orthotrace.layers.feedback import feedback
from orthotrace.methods.ewc import fisher_diagonal
from orthotrace.protection import Guard
from orthotrace.subspace import SvdSubspace

KINDS = ("alignment", "sign_symmetric")


def net(kind: str, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3, padding=1, padding_mode="reflect"), nn.Tanh(), nn.Conv2d(3, 2, 3, stride=2), nn.Tanh(),
              nn.Flatten(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 2)]  # fmt: skip
    return feedback(nn.Sequential(*layers).to(dtype), kind)


def images(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(6, 1, 5, 5, generator=torch.Generator().manual_seed(1), dtype=dtype)


def back(layer: nn.Module, kind: str) -> torch.Tensor:
    return layer.feedback if kind == "alignment" else layer.weight.detach().sign() * layer.feedback_size


@pytest.mark.parametrize("kind", KINDS)
def test_errors_go_back_by_the_other_weights_and_weights_learn_from_them(kind):
    model = net(kind)
    x = images()
    model(x).square().sum().backward()

    # By hand: the forward pass by W, with the gradient of one by B.
    def swapped(layer, values, operation):
        by_other = operation(values, back(layer, kind))
        return (
            operation(values.detach(), layer.weight)
            + layer.bias.view(-1, *[1] * (values.ndim - 2))
            + (by_other - by_other.detach())
        )

    plain = copy.deepcopy(model)
    plain.zero_grad()
    first, second, third, last = (plain[number] for number in (0, 2, 5, 7))
    values = first._conv_forward(x, first.weight, first.bias).tanh()
    values = swapped(second, values, lambda a, w: conv2d(a, w, stride=2)).tanh().flatten(1)
    values = swapped(third, values, linear).tanh()
    swapped(last, values, linear).square().sum().backward()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_answers_are_those_of_the_weights(kind):
    model, other = net(kind), net("backprop")
    assert torch.equal(model(images()), other(images()))
    kept = model.state_dict()
    fresh = net(kind)
    nn.init.zeros_(fresh[7].weight)
    fresh.load_state_dict(kept)
    assert torch.equal(back(fresh[7], kind), back(model[7], kind))


def test_fixed_weights_have_the_size_of_the_first_ones_and_stay():
    model = net("alignment")
    start = model[5].feedback.clone()
    assert torch.equal(start.sort().values.flatten().sort().values, model[5].weight.detach().flatten().sort().values)
    assert not torch.equal(start, model[5].weight.detach())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(images()).square().sum().backward()
    optimizer.step()
    assert torch.equal(model[5].feedback, start)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("learning", ["plain", "dsr", "bptt", "ottt"])
def test_the_guard_is_exact(kind, learning):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 2)).double()
    feedback(model if learning == "plain" else spiking(model, 3, learning), kind)
    guard, x = Guard(model, SvdSubspace, rows=2), torch.randn(20, 6, dtype=torch.float64)
    guard.remember(model, x)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    with guard.protecting(optimizer):
        for _ in range(3):
            optimizer.zero_grad()
            model(x + 1).square().sum().backward()
            optimizer.step()
    assert max(guard.leaks().values()) < 1e-12
    assert all(value.grad is not None for value in model.parameters() if value.requires_grad)


@pytest.mark.parametrize("kind", KINDS)
def test_sample_by_sample(kind):
    """As Fisher information needs gradients."""
    model, part = net(kind).eval(), Images(images(), torch.tensor([0, 1, 0, 1, 0, 1]))
    found = fisher_diagonal(model, part, range(2))
    total = [torch.zeros_like(value) for value in model.parameters()]
    for x, label in zip(images(), part.labels, strict=True):
        model.zero_grad()
        nn.functional.cross_entropy(model(x[None]), label[None]).backward()
        for sums, value in zip(total, model.parameters(), strict=True):
            sums += value.grad.square() / 6
    for ours, theirs in zip(found, total, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_mistakes():
    with pytest.raises(UserError, match="kind: input should be 'backprop', 'alignment' or 'sign_symmetric'"):
        feedback(nn.Linear(2, 2), "random")
    with pytest.raises(UserError, match="model: the model has no Linear layer and no convolution"):
        feedback(nn.ReLU(), "alignment")
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    orthogonalise(model, "own")
    with pytest.raises(UserError, match="model: the weight of layer '0' is parametrised"):
        feedback(model, "alignment")


class Full(nn.Module):
    """As a normalisation that autocast computes in float32."""

    def forward(self, x):
        return x.float()


@pytest.mark.parametrize("kind", ["alignment", "sign_symmetric"])
@pytest.mark.parametrize("make", [lambda: nn.Conv2d(2, 2, 3, stride=2, groups=2), lambda: nn.Linear(7, 3)])
def test_mixed_precision_where_inputs_are_of_full_precision(make, kind):
    torch.manual_seed(0)
    model = feedback(nn.Sequential(Full(), make()), kind)
    images, found = torch.randn(3, 2, 7, 7), []
    for mixed in (False, True):
        shown = images.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = model(shown).float().sum()
        loss.backward()
        found.append(shown.grad)
    assert found[0].any()
    torch.testing.assert_close(found[0], found[1], rtol=0.02, atol=0.02)


class Named(nn.Module):
    """Calls its layer with a name."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(input=x)


def test_inputs_may_be_named():
    model = feedback(Named(nn.Linear(4, 3)), "alignment")
    images = torch.randn(2, 4, requires_grad=True)
    model(images).sum().backward()
    torch.testing.assert_close(images.grad, torch.ones(2, 3) @ model.layer.feedback)
