"""Adaptive plasticity improvement, against dense formulas in float64."""

import copy
import itertools
import math

import pytest
import torch
from tasks import context_of, to_nearest_input
from torch import nn
from torch.nn.functional import conv2d

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted
from orthotrace.methods.api import API, Added, new_weight
from orthotrace.methods.gpm import GPM
from orthotrace.models.mlp import MLP
from orthotrace.protection.layers import weight_matrices

STREAM = Permuted(digits(), tasks=3)


def trained(method, task: int, steps: int = 20, model: nn.Module | None = None):
    """The network and the context in the middle of a task, all earlier ones trained a little."""
    torch.manual_seed(0)
    model = model or MLP((1, 8, 8), 10, hidden=[20])
    method.setup(model, Seeds(), STREAM)
    context = context_of(STREAM)
    for number in range(task + 1):
        context = context_of(STREAM, number)
        method.enter(context)
        method.begin_task(context)
        train(method, model, context, steps)
        if number < task:
            method.end_task(context)
    return model, context


def train(method, model, context, steps):
    """SGD on the first batches of a task."""
    optimizer = torch.optim.SGD([*model.parameters(), *method.task_parameters(context)], 0.1)
    detach = method.attach([optimizer])
    model.train()
    for inputs, labels in list(context.part.split(32, next(model.parameters())))[:steps]:
        optimizer.zero_grad()
        STREAM.active.loss(method.training_forward(model, inputs, context), labels, context.number).backward()
        optimizer.step()
    detach()
    model.eval()


def api(**options) -> API:
    return API(**{"energy": 0.9, "samples": 100, "threshold": 1.0, **options})


def test_retention_is_the_mean_share_that_the_projection_leaves():
    method = api(threshold=0.0)
    model, context = trained(method, 1, steps=0)
    sample = method.sample(context)
    found = method.retention(context, sample)
    assert min(found) > 0 and max(found) < 1
    for number, (label, space) in enumerate(method.guard.subspaces.items()):
        shares = []
        for batch in torch.arange(100).chunk(10):
            inputs, labels = next(sample.take(batch).split(10, next(model.parameters())))
            loss = STREAM.active.loss(model(inputs), labels, 1)
            gradient = torch.autograd.grad(loss, model.get_submodule(label).weight)[0].double()
            kept = space.rest.double() if space.keeps_rest else None
            rows = space.held().double()
            left = gradient - gradient @ rows.T @ rows if kept is None else gradient @ kept.T @ kept
            shares.append(float(left.norm() / gradient.norm()))
        assert found[number] == pytest.approx(sum(shares) / 10, abs=1e-5), label


@pytest.mark.parametrize(("threshold", "directions"), [(1.0, 10), (0.8, 7), (0.3, 1)])
def test_as_many_inputs_are_added_as_the_retention_lacks(threshold, directions):
    method = api(threshold=threshold, directions=directions)
    _, context = trained(method, 1, steps=0)
    plain = api(threshold=0.0)
    _, plain_context = trained(plain, 1, steps=0)
    shares = plain.retention(plain_context, plain.sample(plain_context))
    found = {number: len(value) for (_, number, kind), value in method.added.items() if kind == 1}
    wanted = {number: math.ceil(directions * (threshold - share)) for number, share in enumerate(shares)}
    assert found == {number: count for number, count in wanted.items() if count > 0}
    assert len(method.task_parameters(context)) == len(found)


def test_without_a_threshold_it_is_gpm_with_the_complement():
    method, gpm = api(threshold=0.0), GPM(complement=True, energy=0.9, samples=100)
    first, context = trained(method, 2)
    second, _ = trained(gpm, 2)
    assert method.task_parameters(context) == []
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_is_new_begins_as_a_layer_of_the_wider_width():
    """Uniform within 1 / sqrt(n), with n the inputs at all positions of a kernel, the new ones among them."""
    (part,) = weight_matrices("conv", nn.Conv2d(3, 50, 5))
    new = new_weight(part, 4, torch.Generator().manual_seed(0))
    bound = 1 / math.sqrt((3 + 4) * 25)
    assert new.shape == (50, 4, 25) and 0.99 * bound < float(new.abs().max()) <= bound
    assert float(new.std()) == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_directions_are_the_principal_ones_of_the_inputs():
    method = api()
    model, context = trained(method, 1, steps=0)
    own = method.sample(context).inputs(None, next(model.parameters()))
    # The hidden layer begins with what it adds to fc1.
    rows = {0: own.flatten(1), 1: torch.relu(model.fc1(own.flatten(1))).detach()}
    for (_, number, kind), value in method.added.items():
        if kind == 1:
            expected = torch.linalg.svd(plain_rows(method, number, rows, model), full_matrices=False).Vh[: len(value)]
            assert torch.allclose((value.double() @ expected.T).abs(), torch.eye(len(value)).double(), atol=1e-4)


def plain_rows(method, number, rows, model):
    """Inputs of a layer before anything is added to the layers below."""
    if number == 0:
        return rows[0].double()
    below = type(model.fc1).forward(model.fc1, rows[0])
    return torch.relu(below).detach().double()


class Grouped(nn.Module):
    """A convolution with groups and biases, between two others."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)
        self.grouped = nn.Conv2d(4, 6, 3, groups=2)
        self.head = nn.Linear(96, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.grouped(torch.relu(self.first(x)))).flatten(1))


def test_a_convolution_gets_new_channels_with_every_task():
    model = Grouped()
    method = api(energy=0.6)
    trained(method, 2, steps=2, model=model)
    layer = model.grouped
    images = torch.randn(3, 4, 5, 5, dtype=torch.float64)
    values = {key: value.detach().double() for key, value in method.added.items()}
    for task in range(3):
        expected = []
        for group, number in enumerate((1, 2)):
            # The paper's form: channels beside the others, and a wider kernel.
            part = images[:, 2 * group : 2 * group + 2]
            kernel = layer.weight.detach().double()[3 * group : 3 * group + 3]
            wider, kernels = [part], [kernel]
            for of in range(1, task + 1):
                new, span = values[of, number, 0], values[of, number, 1]
                assert new.shape == (3, len(span), 9) and span.shape[1] == 2
                wider.append(torch.einsum("kc,nchw->nkhw", span, part))
                kernels.append(new.unflatten(2, (3, 3)))
            expected.append(conv2d(torch.cat(wider, 1), torch.cat(kernels, 1)))
        found = method.network(model, task).grouped(images.float()) if task < 2 else layer(images.float())
        bias = layer.bias.detach().double()[:, None, None]
        assert torch.allclose(found.detach().double(), torch.cat(expected, 1) + bias, atol=1e-5), task


def test_gradients_are_those_of_each_group():
    model = Grouped()
    method = api(energy=0.6)
    _, context = trained(method, 1, steps=2, model=model)
    sample = method.sample(context)
    inputs, labels = next(sample.split(len(sample), next(model.parameters())))
    expected = torch.autograd.grad(STREAM.active.loss(model(inputs), labels, 1), model.grouped.weight)[0]
    for group, gradient in enumerate(method.gradients(context, sample)[1:3]):
        torch.testing.assert_close(gradient, expected[3 * group : 3 * group + 3].flatten(1))


class Narrow(nn.Module):
    """A layer that is not trained and gives two directions, and two layers of one shape."""

    def __init__(self) -> None:
        super().__init__()
        self.fixed = nn.Linear(64, 16, bias=False).requires_grad_(False)
        self.fixed.weight.data[2:] = 0
        self.one = nn.Linear(16, 16)
        self.other = nn.Linear(16, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.other(torch.tanh(self.one(self.fixed(x.flatten(1)))))))


def test_no_more_is_added_than_there_is_and_nothing_to_what_is_not_trained():
    method = api(energy=0.9)
    _, context = trained(method, 2, steps=0, model=Narrow())
    names = method.guard.labels
    spans = {(task, names[number]): value for (task, number, kind), value in method.added.items() if kind == 1}
    assert all(len(value) == 2 for (_, name), value in spans.items() if name == "one")
    assert {name for _, name in spans} == {"one", "other", "head"}
    assert len(method.retention(context, method.sample(context))) == len(names)
    # What is drawn differs between tasks and layers: the first draw of each, in units of its range.
    news = [(value.detach(), names[number]) for (_, number, kind), value in method.added.items() if kind == 0]
    firsts = [float(new.flatten()[0]) * math.sqrt(16 + new.shape[1]) for new, name in news if name in ("one", "other")]
    assert len(firsts) == 4 and min(abs(a - b) for a, b in itertools.combinations(firsts, 2)) > 1e-3


def test_what_is_kept_of_a_task_stays_as_it_is():
    method = api()
    model, _ = trained(method, 1)
    kept = method.kept(model, 1)
    assert kept is not model and torch.equal(kept.fc1.weight, method.network(model, 1).fc1.weight)
    before = kept.fc1.weight.clone()
    with torch.no_grad():
        model.fc1.weight.add_(1)
    assert torch.equal(kept.fc1.weight, before)


def test_weights_with_their_channels_last_are_kept_too():
    # With one channel the matrix of a kernel is a view of the same memory, in another order.
    model = Grouped().to(memory_format=torch.channels_last)
    method = api(energy=0.6)
    trained(method, 0, steps=2, model=model)
    assert torch.equal(method.network(model, 0).first.weight, model.first.weight)


def test_both_forms_of_what_is_added_agree():
    one = Added(torch.randn(5, 2, 1, dtype=torch.float64), torch.randn(2, 7, dtype=torch.float64))
    inputs = torch.randn(3, 7, dtype=torch.float64)
    assert torch.allclose(one.outputs(inputs), inputs @ one.weight().T)


def test_earlier_tasks_are_answered_as_they_were():
    method = api()
    model, context = trained(method, 1)
    method.end_task(context)
    before = [copy.deepcopy(method.network(model, task)) for task in range(2)]
    rows = method.guard.subspaces["fc1"].held().clone()
    kept = {key: value.detach().clone() for key, value in method.added.items()}
    context = context_of(STREAM, 2)
    method.enter(context)
    method.begin_task(context)
    train(method, model, context, 20)
    for task in range(2):
        old, new = before[task].fc1, method.network(model, task).fc1
        assert torch.allclose(rows @ new.weight.T, rows @ old.weight.T, atol=1e-5)
        assert not torch.allclose(new.weight, old.weight, atol=1e-3)
    # What a task added is trained in that task alone.
    for key, value in method.added.items():
        assert value.requires_grad == (key[0] == 2 and key[2] == 0)
        if key in kept:
            assert torch.equal(value, kept[key])
        elif key[2] == 0:
            size = 1 / math.sqrt(model.get_submodule(method.guard.labels[key[1]]).in_features + value.shape[1])
            assert float(value.detach().min()) < -0.9 * size and float(value.detach().max()) > 0.9 * size
    assert {key[0] for key, _ in method.added.items()} == {1, 2}
    assert max(method.guard.leaks().values()) <= 1e-6


def test_remembered_are_the_inputs_that_the_network_of_the_task_sees():
    method = api()
    model, context = trained(method, 1)
    with torch.no_grad():
        for new in method.task_parameters(context):
            new.mul_(3)
    method.learn(context)
    rows = method.guard.subspaces["head"].seen()
    own, plain = (to_nearest_input(rows, method.network(model, task), "head", context.part) for task in (1, 0))
    assert len(rows) == 100 and own.max() <= 1e-4 and plain.median() > 0.1


def test_the_network_of_a_task_has_all_that_was_added_up_to_it():
    method = api()
    model, _ = trained(method, 2)
    values = {key: value.detach().double() for key, value in method.added.items()}
    for task in range(3):
        weight = model.fc1.weight.detach().double()
        for of in range(1, task + 1):
            weight = weight + values[of, 0, 0].flatten(1) @ values[of, 0, 1]
        assert torch.allclose(method.network(model, task).fc1.weight.double(), weight, atol=1e-5)


@pytest.mark.parametrize(("options", "key"), [({"threshold": 1.5}, "threshold"), ({"directions": 0}, "directions")])
def test_what_is_out_of_range_is_refused(options, key):
    with pytest.raises(UserError, match=key):
        API(**options)
