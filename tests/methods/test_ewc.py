from __future__ import annotations

from functools import partial

import pytest
import torch
from tasks import context_of
from torch import nn
from torch.nn.functional import cross_entropy

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.data.images import Images
from orthotrace.data.sources import digits
from orthotrace.data.streams import Split
from orthotrace.methods import ewc
from orthotrace.methods.base import trainable
from orthotrace.methods.ewc import EWC, OnlineEWC, fisher_diagonal
from orthotrace.models.convnet import ConvNet
from orthotrace.models.mlp import MLP
from orthotrace.models.recurrent import Recurrent
from orthotrace.models.vit import ViT

STREAM = Split(digits(), tasks=5, scenario="class", class_order="natural")
KINDS = {
    "mlp": partial(MLP, hidden=[7]),
    "convnet": partial(ConvNet, channels=[3]),
    **{cell: partial(Recurrent, cell=cell, hidden=[3], reading="rows") for cell in ("elman", "lstm", "gru")},
    "vit": partial(ViT, features=4, depth=1, heads=2),
}


@pytest.mark.parametrize("outputs", [range(0, 10), range(2, 4)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_empirical_fisher_is_the_mean_of_squared_gradients(kind, outputs):
    """Against a loop over images in float64."""
    torch.manual_seed(0)
    model = KINDS[kind]((1, 8, 8), 10)
    model.double().eval()
    part = STREAM.task(1).train.take(torch.arange(70))
    found = fisher_diagonal(model, part, outputs)
    expected = [torch.zeros_like(value) for value in trainable(model)]
    for x, y in zip(part.inputs(like=torch.zeros(()).double()), part.labels, strict=True):
        logits = model(x[None])[:, outputs.start : outputs.stop]
        gradients = torch.autograd.grad(cross_entropy(logits, y[None] - outputs.start), trainable(model))
        for total, gradient in zip(expected, gradients, strict=True):
            total += gradient.square() / len(part)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-16)


def test_the_sampled_fisher_tends_to_the_exact_one():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 4)).double()
    x = torch.randn(1, 3, 1, 1).double()
    part = Images(x.expand(20000, 3, 1, 1), torch.zeros(20000, dtype=torch.int64))
    (weight, bias) = fisher_diagonal(model, part, range(4), torch.Generator().manual_seed(0), chunk=5000)
    p = model(x).softmax(1).flatten()
    # E_y (p - e_y)_i^2 = p_i (1 - p_i).
    assert torch.allclose(bias, p * (1 - p), rtol=0.03)
    assert torch.allclose(weight, (p * (1 - p))[:, None] * x.flatten().square(), rtol=0.03)


def after(method, tasks: int):
    """A method at the start of a task: its network, (F_t, theta_t) of the tasks before, and the context.

    F_t is the empirical Fisher information of all images of the task.
    """
    torch.manual_seed(0)
    model = MLP(STREAM.shape, 10, hidden=[6]).double()
    method.setup(model, Seeds(), STREAM)
    past = []
    for number in range(tasks + 1):
        context = context_of(STREAM, number)
        method.begin_task(context)
        if number == tasks:
            break
        method.end_task(context)
        fisher = fisher_diagonal(model, context.part, context.outputs.for_training(number))
        past.append((fisher, [value.detach().clone() for value in trainable(model)]))
        with torch.no_grad():
            for value in model.parameters():
                value.add_(0.1 * torch.randn_like(value))
    return model, past, context


def penalty(method, model, past) -> torch.Tensor:
    """The sum over tasks as the papers write it."""
    if isinstance(method, OnlineEWC):
        newest = past[-1][1]
        weights = [method.decay ** (len(past) - 1 - t) for t in range(len(past))]
        terms = [(weight, fisher, newest) for weight, (fisher, _) in zip(weights, past, strict=True)]
    else:
        terms = [(1.0, fisher, centre) for fisher, centre in past]
    return (
        method.strength
        / 2
        * sum(
            weight * (f * (value - c).square()).sum()
            for weight, fisher, centre in terms
            for f, value, c in zip(fisher, trainable(model), centre, strict=True)
        )
    )


@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize("make", [partial(EWC, strength=30.0), partial(OnlineEWC, strength=30.0, decay=0.6)])
def test_one_quadratic_has_the_gradient_of_the_whole_list(make, tasks):
    method = make(samples=10_000, fisher="empirical")
    model, past, context = after(method, tasks)
    expected = torch.autograd.grad(penalty(method, model, past), trainable(model))
    for given in (False, True):
        for value in model.parameters():
            value.grad = torch.ones_like(value) if given else None
        method.on_gradients(context)
        for value, theirs in zip(trainable(model), expected, strict=True):
            assert torch.allclose(value.grad - float(given), theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("make", [EWC, OnlineEWC])
def test_what_is_kept_does_not_grow_with_the_tasks(make):
    sizes = {after(method := make(samples=20), tasks) and method.extra_memory_bytes for tasks in (1, 4)}
    weights = sum(value.numel() for value in MLP(STREAM.shape, 10, hidden=[6]).parameters())
    assert sizes == {2 * 8 * weights}


def test_nothing_pulls_in_the_first_task():
    method = EWC()
    model, _, context = after(method, 0)
    method.on_gradients(context)
    assert all(value.grad is None for value in model.parameters())


@pytest.mark.parametrize("options", [{"strength": -1}, {"samples": 0}, {"fisher": "exact"}, {"decay": 2}])
def test_options_that_cannot_be(options):
    with pytest.raises(UserError, match=next(iter(options))):
        OnlineEWC(**options)


@pytest.mark.parametrize(("numbers", "passes"), [(2**24, 1), (2.5, 5), (0.5, 10)], ids=["all", "two images", "one"])
def test_large_networks_have_few_gradients_in_memory_at_once(monkeypatch, numbers, passes):
    """What they have is less than so many numbers, and the Fisher information is the same."""
    torch.manual_seed(0)
    model = MLP((1, 8, 8), 10, hidden=[7]).double().eval()
    part = STREAM.task(1).train.take(torch.arange(10))
    expected = fisher_diagonal(model, part, range(10), chunk=10)
    seen = []
    model.register_forward_pre_hook(lambda model, given: seen.append(1))
    size = sum(value.numel() for value in trainable(model))
    monkeypatch.setattr(ewc, "GRADIENTS", numbers * size)
    found = fisher_diagonal(model, part, range(10))
    assert len(seen) == passes
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-18)
