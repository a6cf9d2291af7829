"""Vectors of tokens that were seen: held whole, by a share, and under the rule "gradient"."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from orthotrace.core.errors import UserError
from orthotrace.protection import Guard
from orthotrace.subspace import SvdSubspace


@pytest.mark.parametrize("hold", [0.5, 1.0])
def test_what_else_writes_vectors_is_no_step_of_which_a_share_is_taken(hold):
    """Of an average, for instance: what is held whole is put back, and from the rest the next step counts."""
    model = nn.Sequential(nn.Embedding(4, 2)).double()
    guard = Guard(model, SvdSubspace, energy=1.0, hold=hold)
    guard.remember(model, torch.arange(4))
    start, optimizer = model[0].weight.detach().clone(), torch.optim.SGD(model.parameters(), 1.0)
    with guard.protecting(optimizer):
        with torch.no_grad():
            model[0].weight.add_(1)
        guard.settle()
        assert torch.equal(model[0].weight, start if hold == 1 else start + 1)
        model(torch.arange(4)).sum().backward()
        optimizer.step()
    assert torch.allclose(model[0].weight, start if hold == 1 else start + 1 - 0.5, atol=1e-14)


class Neighbours(nn.Module):
    """Reads the vectors of other tokens past its call."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.words(tokens) * functional.embedding(tokens + 4, self.words.weight)


def test_tokens_that_are_read_past_the_call_are_seen():
    model = Neighbours()
    guard = Guard(model, SvdSubspace, energy=1.0)
    guard.remember(model, torch.tensor([0, 2]))
    assert guard.embeddings["words"].seen.nonzero().flatten().tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize("hold", [0.0, 0.5, 1.0])
def test_embeddings_are_held_by_the_same_share(hold):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3)).double()
    twin = copy.deepcopy(model)
    guard = Guard(model, SvdSubspace, energy=1.0, hold=hold)
    tokens = torch.arange(3)
    guard.remember(model, tokens)
    start = model[0].weight.detach().clone()
    optimizers = [torch.optim.SGD(one.parameters(), 0.1) for one in (model, twin)]
    with guard.protecting(optimizers[0]):
        for _ in range(2):
            for one, optimizer in zip((model, twin), optimizers, strict=True):
                optimizer.zero_grad()
                (one[0](tokens) * start.sum(1)[:3, None]).sum().backward()
                optimizer.step()
    # The gradient is the same in each step, so that the shares add up.
    assert torch.allclose(model[0].weight, start + (1 - hold) * (twin[0].weight - start), atol=1e-14)
    assert torch.equal(model[0].weight, twin[0].weight) or hold


def test_under_the_rule_gradient_embeddings_may_be_sparse():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(9, 4, sparse=True)).double()
    guard = Guard(model, SvdSubspace, energy=1.0, rule="gradient")
    guard.remember(model, torch.arange(5))
    start, optimizer = model[0].weight.detach().clone(), torch.optim.SGD(model.parameters(), 0.1)
    with guard.protecting(optimizer):
        model(torch.arange(9)).sum().backward()
        optimizer.step()
    moved = (model[0].weight != start).any(1)
    assert moved.tolist() == [False] * 5 + [True] * 4


@pytest.mark.parametrize("sparse", [False, True])
def test_under_the_rule_gradient_a_share_of_it_is_taken(sparse):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(9, 4, sparse=sparse), nn.Linear(4, 3)).double()
    guard = Guard(model, SvdSubspace, energy=1.0, rule="gradient", hold=0.25)
    guard.remember(model, torch.arange(5))
    start, optimizer = model[0].weight.detach().clone(), torch.optim.SGD(model[0].parameters(), 0.1)
    with guard.protecting(optimizer):
        model[0](torch.arange(9)).sum().backward()
        optimizer.step()
    steps = torch.tensor([0.75] * 5 + [1.0] * 4)[:, None].expand(-1, 4)
    assert torch.allclose(start - model[0].weight, 0.1 * steps.double(), atol=1e-14)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"enrgy": 9}, "enrgy"),
        ({"energy": 1.0, "hold": 7}, "hold"),
        ({"energy": 1.0, "hold": "x"}, "hold"),
        ({}, "energy"),
    ],
    ids=str,
)
def test_options_are_checked_though_there_are_only_embeddings(options, line):
    with pytest.raises(UserError, match=line):
        Guard(nn.Embedding(3, 3), SvdSubspace, **options)


def test_an_embedding_by_itself_is_held_by_its_share():
    model = nn.Embedding(3, 2).double()
    guard = Guard(model, SvdSubspace, rows=1, hold=0.25)
    assert guard.embeddings[""].share == 0.25


def test_the_first_step_of_a_task_counts_from_its_start():
    model = nn.Embedding(3, 2).double()
    held = Guard(model, SvdSubspace, rows=1, hold=0.25).embeddings[""]
    held.observe([torch.tensor([0, 2])])
    held.consolidate()
    with torch.no_grad():
        model.weight.add_(10)
        start = model.weight.clone()
        held.begin()
        model.weight.add_(1)
    held.hold()
    assert torch.allclose(model.weight - start, torch.tensor([[0.75], [1.0], [0.75]]).double(), atol=1e-14)


def test_an_embedding_that_was_trained_and_then_frozen_is_not_taken_for_one_that_nothing_calls():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(8, 3))
    model.add_module("spare", nn.Embedding(9, 4))
    model.forward = lambda x: model[2](model[1](model[0](x) + model.spare(x)))
    guard = Guard(model, SvdSubspace, rows=2)
    x, optimizer = torch.arange(8).reshape(4, 2), torch.optim.SGD(model.parameters(), 0.1)
    with guard.protecting(optimizer):
        model(x).square().sum().backward()
        optimizer.step()
    model.spare.requires_grad_(False)
    model.forward = lambda x: model[2](model[1](model[0](x)))
    with pytest.raises(UserError, match="the embedding 'spare' was not called: it would lose its protection"):
        guard.remember(model, x)
