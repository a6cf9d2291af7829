"""Vectors of tokens that were seen: held whole, by a share, and under the rule "gradient"."""

import copy

import pytest
import torch
from torch import nn

from orthotrace.protection import Guard
from orthotrace.subspace import SvdSubspace


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
