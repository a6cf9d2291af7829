"""The protocol of a user's own loop: protecting, remember, and warnings where a step of it is left out."""

import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.protection import Guard
from orthotrace.subspace import SvdSubspace


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 5)).double()


def train(model, optimizer) -> None:
    for step in range(2):
        optimizer.zero_grad()
        model(rand(30, 20, seed=1000 + step)).square().sum().backward()
        optimizer.step()


def test_protection_ends_with_the_block():
    model = net()
    guard = Guard(model, SvdSubspace, rows=8)
    guard.remember(model, rand(50, 20))
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with guard.protecting(optimizer):
        train(model, optimizer)
    train(model, optimizer)
    assert guard.leaks()["0"] > 1e-6


def test_an_error_within_the_block_is_the_one_that_is_reported():
    model = net()
    guard = Guard(model, SvdSubspace, rows=4)
    guard.remember(model, rand(50, 20))
    with pytest.raises(KeyError, match="mine"), guard.protecting(torch.optim.SGD(model.parameters(), 0.1)):
        with torch.no_grad():
            model[0].weight.add_(0.1)
        raise KeyError("mine")


def test_a_head_whose_outputs_were_not_said_is_not_left_unprotected():
    model = net()
    guard = Guard(model, SvdSubspace, head="2", rows=1)
    with pytest.raises(UserError, match="head: say which outputs of '2' the task uses"):
        guard.protecting(torch.optim.SGD(model.parameters())).__enter__()


def test_a_task_that_was_not_remembered_gives_a_warning():
    model = net()
    guard = Guard(model, SvdSubspace, rows=2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with guard.protecting(optimizer):
        train(model, optimizer)
    with pytest.warns(UserWarning, match="the last task was not remembered"), guard.protecting(optimizer):
        train(model, optimizer)
    guard.remember(model, rand(20, 20))
    with guard.protecting(optimizer):
        train(model, optimizer)
    guard.remember(model, rand(20, 20, seed=1))


def test_a_task_that_was_not_guarded_gives_a_warning():
    model = net()
    guard = Guard(model, SvdSubspace, rows=2)
    guard.remember(model, rand(20, 20))
    # More of the same task.
    guard.remember(model, rand(20, 20, seed=1))
    train(model, torch.optim.SGD(model.parameters(), 0.1))
    with pytest.warns(UserWarning, match="no optimizer was guarded"):
        guard.remember(model, rand(20, 20, seed=2))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(20, 3).double()

    def forward(self, x, y):
        return self.layer(x + y)


def test_a_model_of_several_inputs_is_remembered_by_tuples():
    model = Two()
    guard = Guard(model, SvdSubspace, energy=1.0)
    guard.remember(model, (rand(4, 20), rand(4, 20, seed=1)))
    assert guard.subspaces["layer"].rank == 4


def test_steps_between_tasks_that_nothing_guarded_give_a_warning():
    model = net()
    guard = Guard(model, SvdSubspace, rows=2)
    guard.remember(model, rand(20, 20))
    train(model, torch.optim.SGD(model.parameters(), 0.1))
    with pytest.warns(UserWarning, match="the weights have moved since the last task"):
        guard.protecting(torch.optim.SGD(model.parameters())).__enter__()
