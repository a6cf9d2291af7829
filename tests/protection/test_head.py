import copy

import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.protection import Guard
from orthotrace.protection.head import Head
from orthotrace.subspace import SvdSubspace


def test_all_but_the_outputs_in_use_are_put_back_bit_by_bit():
    layer = nn.Linear(3, 6, bias=False)
    head = Head(layer)
    before = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight.mul_(3)
    head.hold(None)
    # No outputs were named: all are active.
    assert torch.equal(layer.weight, 3 * before)
    head.hold(range(2, 4))
    assert torch.equal(layer.weight[[0, 1, 4, 5]], before[[0, 1, 4, 5]])
    assert torch.equal(layer.weight[2:4], 3 * before[2:4])
    head.begin()
    with torch.no_grad():
        layer.weight.zero_()
    head.hold(range(2, 4))
    assert torch.equal(layer.weight[[0, 1, 4, 5]], before[[0, 1, 4, 5]])


def test_the_outputs_of_a_convolution_are_its_maps():
    layer = nn.Conv2d(3, 6, (2, 1))
    head = Head(layer)
    before = {name: value.detach().clone() for name, value in layer.named_parameters()}
    with torch.no_grad():
        for value in layer.parameters():
            value.add_(1)
    assert head.moved(range(2, 4)) and head.checked(range(2, 6)) == range(2, 6)
    for held in (range(6), range(2, 4)):
        head.hold(held)
    for name, value in layer.named_parameters():
        kept = [0, 1, 4, 5]
        assert torch.equal(value[kept], before[name][kept]) and torch.equal(value[2:4], before[name][2:4] + 1)
    assert not head.moved(range(2, 4))


def test_the_start_is_its_state_and_the_layer_is_not():
    assert list(Head(nn.Linear(3, 2)).state_dict()) == ["start"]


class Heads(nn.Module):
    """A head for each task, as layers of their own."""

    def __init__(self):
        super().__init__()
        self.body, self.task = nn.Sequential(nn.Linear(24, 40), nn.Tanh()), 0
        self.heads = nn.ModuleList(nn.Linear(40, 2) for _ in range(3))

    def forward(self, x):
        return self.heads[self.task](self.body(x))


def test_heads_of_their_own_are_trained_each_in_its_task_and_frozen_in_the_others():
    torch.manual_seed(0)
    model = Heads().double()
    guard = Guard(model, SvdSubspace, energy=1.0)
    x, answers = torch.randn(3, 7, 24, generator=torch.Generator().manual_seed(1)).double(), []
    for task in range(3):
        model.task = task
        for number, head in enumerate(model.heads):
            head.requires_grad_(number == task)
        before = [value.detach().clone() for value in model.heads[task].parameters()]
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        with guard.protecting(optimizer):
            for _ in range(10):
                optimizer.zero_grad()
                (model(x[task]) - 1).square().mean().backward()
                optimizer.step()
        # The next one is chosen too early.
        model.task = (task + 1) % 3
        model.heads.requires_grad_(False)
        twin, other = copy.deepcopy((model, guard))
        with pytest.raises(
            UserError, match=f"layer 'heads.{task}': no rows were observed in this task: show it inputs"
        ):
            other.remember(twin, x[task])
        model.task = task
        guard.remember(model, x[task])
        answers.append(model(x[task]).detach())
        # Nothing is held of a head before its task, its bias neither.
        assert all(
            (now - was).abs().mean() > 0.01 for now, was in zip(model.heads[task].parameters(), before, strict=True)
        )
    for model.task, answer in enumerate(answers):
        assert torch.allclose(model(x[model.task]), answer, atol=1e-12)
