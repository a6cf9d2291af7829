import pytest
import torch
from tasks import context_of
from torch.nn.functional import cross_entropy

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.data.sources import digits
from orthotrace.data.streams import Split
from orthotrace.methods.base import trainable
from orthotrace.methods.si import SI
from orthotrace.models.mlp import MLP

STREAM = Split(digits(), tasks=5, scenario="class", class_order="natural")


def trained(optimizer, clip=None, tasks=2):
    """SI over some tasks, and its importances by another way: from the weights and gradients written down."""
    torch.manual_seed(0)
    model = MLP(STREAM.shape, 10, hidden=[6]).double()
    method = SI(strength=2.0, damping=0.05)
    method.setup(model, Seeds(), STREAM)
    importance = [torch.zeros_like(value) for value in trainable(model)]
    centre = None
    for number in range(tasks):
        context = context_of(STREAM, number)
        part = context.part
        method.begin_task(context)
        steps = optimizer(model.parameters())
        detach = method.attach([steps])
        start = [value.detach().clone() for value in trainable(model)]
        path = [torch.zeros_like(value) for value in start]
        inputs = part.inputs(like=start[0])
        for _ in range(8):
            steps.zero_grad()
            cross_entropy(model(inputs)[:, : 2 * number + 2], part.labels).backward()
            gradients = [value.grad.clone() for value in trainable(model)]
            before = [value.detach().clone() for value in trainable(model)]
            method.on_gradients(context)
            if centre is not None:
                for value, gradient, weight, old in zip(trainable(model), gradients, importance, centre, strict=True):
                    assert torch.allclose(value.grad, gradient + 2 * 2.0 * weight * (value - old))
            if clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            steps.step()
            for total, gradient, value, old in zip(path, gradients, trainable(model), before, strict=True):
                total -= gradient * (value.detach() - old)
        detach()
        method.end_task(context)
        for weight, total, value, old in zip(importance, path, trainable(model), start, strict=True):
            weight += total.clamp(min=0) / ((value.detach() - old).square() + 0.05)
        centre = [value.detach().clone() for value in trainable(model)]
    return method, importance


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize(
    "optimizer", [lambda p: torch.optim.SGD(p, 0.05, momentum=0.9), lambda p: torch.optim.Adam(p, 0.01)]
)
def test_importance_is_what_each_weight_did_for_the_loss(optimizer, clip):
    method, expected = trained(optimizer, clip)
    for ours, theirs in zip(method.importance, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-14) and float(theirs.max()) > 0


def test_along_a_gradient_flow_the_path_is_the_fall_of_the_loss():
    """Small steps of plain descent: the sum of omega is the loss lost."""
    torch.manual_seed(0)
    model = MLP(STREAM.shape, 10, hidden=[6]).double()
    method = SI()
    method.setup(model, Seeds(), STREAM)
    context = context_of(STREAM)
    part = context.part
    method.begin_task(context)
    steps = torch.optim.SGD(model.parameters(), 1e-3)
    method.attach([steps])
    inputs = part.inputs(like=next(model.parameters()))
    losses = []
    for _ in range(200):
        steps.zero_grad()
        loss = cross_entropy(model(inputs), part.labels)
        losses.append(float(loss.detach()))
        loss.backward()
        method.on_gradients(context)
        steps.step()
    fallen = losses[0] - float(cross_entropy(model(inputs), part.labels).detach())
    assert sum(float(path.sum()) for path in method.path) == pytest.approx(fallen, rel=0.01)


@pytest.mark.parametrize("options", [{"strength": -1}, {"damping": 0}])
def test_options_that_cannot_be(options):
    with pytest.raises(UserError, match=next(iter(options))):
        SI(**options)
