from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from orthotrace.core.errors import UserError
from orthotrace.models.mlp import MLP
from orthotrace.protection import Guard
from orthotrace.subspace import SvdSubspace
from orthotrace.training.regularizer import Regularizer, dropped

X = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(30) % 10


def model() -> MLP:
    torch.manual_seed(0)
    return MLP((1, 8, 8), 10, hidden=[20]).double()


def weights(net: nn.Module):
    return [value for value in net.parameters() if value.ndim > 1]


def longest(net: nn.Module) -> float:
    return max(float(value.detach().flatten(1).norm(dim=1).max()) for value in weights(net))


@pytest.mark.parametrize("options", [{"l1": 0.02}, {"l2": 0.3}, {"l1": 0.02, "l2": 0.3}])
def test_penalties_have_the_gradient_of_what_they_add(options):
    net, regularizer = model(), Regularizer(**options)
    forward = regularizer.setup(net)
    assert forward is net
    cross_entropy(net(X.double()), Y).backward()
    regularizer.on_gradients()
    ours = [value.grad.clone() for value in net.parameters()]
    net.zero_grad()
    penalty = sum(
        options.get("l1", 0) * value.abs().sum() + options.get("l2", 0) / 2 * value.square().sum()
        for value in weights(net)
    )
    (cross_entropy(net(X.double()), Y) + penalty).backward()
    for a, value in zip(ours, net.parameters(), strict=True):
        assert torch.allclose(a, value.grad)


def test_norms_are_bounded_after_every_step_and_the_guard_has_the_last_word():
    net, regularizer = model(), Regularizer(max_norm=0.5)
    regularizer.setup(net)
    guard = Guard(net, SvdSubspace, rows=5)
    guard.remember(net, X.double())
    optimizer = torch.optim.SGD(net.parameters(), 0.5)
    free = model()
    alone = Regularizer(max_norm=0.5)
    alone.setup(free)
    optimizers = [optimizer, torch.optim.SGD(free.parameters(), 0.5)]
    detach = alone.attach(optimizers[1:])
    guard.begin()
    ends = [regularizer.attach([optimizer]), guard.attach(optimizer), detach]
    for _ in range(5):
        for net_, steps in ((net, optimizers[0]), (free, optimizers[1])):
            steps.zero_grad()
            cross_entropy(net_(X.double()), Y).backward()
            steps.step()
        assert longest(free) <= 0.5 + 1e-12
        assert max(guard.leaks().values()) <= 1e-12
    # Its bound was at work under the guard too.
    assert longest(net) < longest(model())
    for end in ends:
        end()
    before = free.fc1.weight.detach().clone().mul_(9)
    with torch.no_grad():
        free.fc1.weight.copy_(before)
    optimizers[1].step()
    assert longest(free) > 0.5


def test_dropout_is_after_the_nonlinearities_and_in_training_only():
    net, regularizer = model(), Regularizer(dropout=0.5)
    regularizer.setup(net)
    seen = {}
    net.head.register_forward_pre_hook(lambda module, args: seen.__setitem__("head", args[0]))
    torch.manual_seed(0)
    net(X.double())
    dropped_out = seen["head"]
    net.eval()
    net(X.double())
    kept = dropped_out != 0
    active = seen["head"] > 0
    assert 0.4 < float(kept[active].double().mean()) < 0.6
    assert torch.allclose(dropped_out[kept], 2 * seen["head"][kept])


def test_dropconnect_drops_weights_of_the_same_network():
    net, regularizer = model(), Regularizer(dropconnect=0.25)
    forward = regularizer.setup(net)
    torch.manual_seed(3)
    ours = forward(X.double())
    torch.manual_seed(3)
    thinned = dropped({name: value for name, value in net.named_parameters() if value.ndim > 1}, 0.25)
    hidden = (X.double().flatten(1) @ thinned["fc1.weight"].T + net.fc1.bias).relu()
    assert torch.allclose(ours, hidden @ thinned["head.weight"].T + net.head.bias)
    ours.sum().backward()
    zero = thinned["fc1.weight"] == 0
    assert 0.2 < float(zero.double().mean()) < 0.3 and not net.fc1.weight.grad[zero].any()
    # The network itself is whole, and sorted as ever.
    assert torch.equal(net(X.double()), net(X.double())) and sorted(net.state_dict())[0] == "fc1.bias"


def test_noise_is_on_the_inputs_of_training_alone():
    net, regularizer = nn.Identity(), Regularizer(input_noise=0.2)
    forward = regularizer.setup(net)
    given = torch.zeros(200, 100)
    assert float(forward(given).std()) == pytest.approx(0.2, rel=0.02) and not given.any()
    assert torch.equal(net(given), given)


@pytest.mark.parametrize(
    ("monitor", "values", "stops"),
    [
        ("loss", [3, 2, 1], False),
        ("loss", [1, 2], False),
        ("loss", [1, 2, 2], True),
        ("accuracy", [0.5, 0.5, 0.5], True),
        ("accuracy", [0.5, 0.4, 0.6], False),
        ("loss", [], False),
    ],
)
def test_a_task_ends_when_its_score_stays(monitor, values, stops):
    rows = [{f"validation_{monitor}": value} for value in values]
    assert Regularizer(early_stopping=2, monitor=monitor).stops(rows) == stops
    assert not Regularizer().stops(rows)


@pytest.mark.parametrize(
    "options",
    [{"l1": -1}, {"max_norm": 0}, {"dropout": 1}, {"dropconnect": 1.5}, {"label_smoothing": 1}, {"early_stopping": 0}, {"monitor": "acc"}],
)  # fmt: skip
def test_options_that_cannot_be(options):
    with pytest.raises(UserError, match=next(iter(options))):
        Regularizer(**options)


def test_dropout_without_a_nonlinearity_is_refused():
    with pytest.raises(UserError, match="dropout: the model has no nonlinearity"):
        Regularizer(dropout=0.1).setup(nn.Linear(2, 2))


@pytest.mark.parametrize("groups", [1, 2])
def test_norms_are_those_of_what_comes_in_where_a_weight_has_its_inputs_first(groups):
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(4, 6, 3, groups=groups, bias=False).double()
    with torch.no_grad():
        # Of single outputs, so that some are above the bound and others below.
        layer.weight.mul_(torch.linspace(0.1, 5, 6 // groups, dtype=torch.float64)[:, None, None])
    before = layer.weight.detach().clone()
    regularizer = Regularizer(max_norm=0.5)
    regularizer.setup(layer)
    optimizer = torch.optim.SGD(layer.parameters(), 0.0)
    end = regularizer.attach([optimizer])
    layer.weight.grad = torch.zeros_like(layer.weight)
    optimizer.step()
    end()
    # By hand: output o of group g is made of the inputs of its group.
    bounded = 0
    for group, output in itertools.product(range(groups), range(6 // groups)):
        inputs = slice(group * 4 // groups, (group + 1) * 4 // groups)
        was, now = before[inputs, output], layer.weight.detach()[inputs, output]
        assert torch.allclose(now, was * min(1.0, 0.5 / float(was.norm())), atol=1e-6)
        bounded += bool(was.norm() > 0.5)
    assert 0 < bounded < 6
