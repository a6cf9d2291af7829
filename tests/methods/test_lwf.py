import pytest
import torch
from tasks import context_of
from torch import nn
from torch.nn.functional import cross_entropy

from orthotrace.core.seeds import Seeds
from orthotrace.data.batches import Batches
from orthotrace.data.sources import digits
from orthotrace.data.streams import Split
from orthotrace.methods.lwf import LwF, distillation
from orthotrace.models.mlp import MLP

HEADS = {"task": [range(0, 2), range(2, 4)], "domain": [range(2)], "class": [range(4)]}
OWN = {"task": range(4, 6), "domain": range(2), "class": range(6)}


@pytest.mark.parametrize("scenario", HEADS)
def test_the_earlier_answers_are_kept_head_by_head(scenario):
    stream = Split(digits(), tasks=5, scenario=scenario, class_order="natural")
    torch.manual_seed(0)
    model = MLP(stream.shape, len(stream.classes), hidden=[12])
    method = LwF(strength=0.6, temperature=3.0)
    method.setup(model, Seeds(), stream)
    context = context_of(stream, 2)
    with torch.no_grad():
        model.fc1.weight.mul_(2)
    method.begin_task(context)
    old = MLP(stream.shape, len(stream.classes), hidden=[12])
    old.load_state_dict(model.state_dict())
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn_like(value))
    batch = next(iter(Batches(context.part, 50, 0, 2)))
    loss, logits = method.loss(model, batch, context)
    own = OWN[scenario]
    expected = cross_entropy(logits[:, own.start : own.stop], batch.labels - own.start)
    with torch.no_grad():
        answers = old(batch.inputs)
    for head in HEADS[scenario]:
        p, q = (z[:, head.start : head.stop].div(3.0).softmax(1) for z in (answers, logits))
        expected = expected + 0.6 / len(HEADS[scenario]) * 9 * (p * (p.log() - q.log())).sum(1).mean()
    assert torch.allclose(loss, expected, atol=1e-6)
    assert not any(value.requires_grad for value in method.parameters())


def test_nothing_is_kept_in_the_first_task():
    stream = Split(digits(), tasks=5, scenario="class")
    model = MLP(stream.shape, 10, hidden=[4])
    method = LwF()
    method.setup(model, Seeds(), stream)
    context = context_of(stream)
    method.begin_task(context)
    batch = next(iter(Batches(context.part, 50, 0, 0)))
    loss, logits = method.loss(model, batch, context)
    assert torch.allclose(loss, cross_entropy(logits[:, :2], batch.labels))


def test_the_gradient_of_the_distillation_does_not_shrink_with_the_temperature():
    sizes = []
    for temperature in (10.0, 100.0):
        logits = torch.zeros(4, 3, requires_grad=True)
        distillation(logits, torch.eye(3)[[0, 1, 2, 0]], temperature).backward()
        sizes.append(float(logits.grad.norm()))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


def test_the_earlier_answers_are_those_of_a_network_that_is_not_trained():
    """Without dropout, whose draws would be distilled."""
    stream = Split(digits(), tasks=5, scenario="domain")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 30), nn.Dropout(0.5), nn.Linear(30, 2)).train()
    method = LwF(strength=1.0)
    method.setup(model, Seeds(), stream)
    context = context_of(stream, 1)
    method.begin_task(context)
    batch = next(iter(Batches(context.part, 50, 0, 1)))
    loss, logits = method.loss(model, batch, context)
    answers = model.eval()(batch.inputs)
    assert not torch.allclose(answers, logits)
    expected = cross_entropy(logits, batch.labels) + distillation(logits, answers, method.temperature)
    torch.testing.assert_close(loss, expected)
