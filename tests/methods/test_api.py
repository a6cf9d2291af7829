"""Adaptive plasticity improvement, against dense formulas in float64."""

import copy
import math

import pytest
import torch
from tasks import context_of
from torch import nn
from torch.nn.functional import conv2d

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted
from orthotrace.methods.api import API, Added
from orthotrace.methods.gpm import GPM
from orthotrace.models.convnet import ConvNet
from orthotrace.models.mlp import MLP

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


def test_a_convolution_gets_new_channels():
    model = ConvNet((1, 8, 8), 10, channels=[4, 6])
    method = api(energy=0.6)
    trained(method, 1, steps=0, model=model)
    name = method.guard.labels[1]
    layer = model.get_submodule(name)
    values = dict(method.added.items())
    new, span = (values[1, 1, kind].double() for kind in (0, 1))
    assert span.shape[1] == 4 and new.shape == (6, len(span), 9)
    images = torch.randn(3, 4, 5, 5, dtype=torch.float64)
    # The paper's form: channels beside the others, and a wider kernel.
    wider = torch.cat([images, torch.einsum("kc,nchw->nkhw", span, images)], 1)
    kernel = torch.cat([layer.weight.double(), new.unflatten(2, (3, 3))], 1)
    expected = conv2d(wider, kernel, None, layer.stride, layer.padding)
    assert torch.allclose(layer(images.float()).double(), expected, atol=1e-5)
    # No other task has them.
    plain = conv2d(images, layer.weight.double(), None, layer.stride, layer.padding)
    assert torch.allclose(method.network(model, 0).get_submodule(name)(images.float()).double(), plain, atol=1e-5)
    assert not torch.allclose(plain, expected, atol=1e-3)


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
