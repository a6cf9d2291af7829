"""Nothing leaks through layers of normalisation, where they are frozen."""

import pytest
import torch
from optimizers import OPTIMIZERS
from torch import nn
from torch.nn.functional import cross_entropy

from orthotrace.protection import Guard
from orthotrace.subspace import SvdSubspace


def normalised() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.GroupNorm(2, 8), nn.ReLU(),
        nn.Flatten(), nn.Linear(32, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 5),
    ).double()  # fmt: skip


@pytest.mark.parametrize("frozen", [True, False])
def test_with_normalisation_too_where_it_is_frozen(frozen):
    model = normalised()
    guard = Guard(model, SvdSubspace, energy=1.0, normalisation="frozen" if frozen else "task", tasks=2)
    optimizer = OPTIMIZERS["adam"](model.parameters())
    draws = torch.Generator().manual_seed(1)
    batches = torch.randn(30, 10, 2, 8, 8, generator=draws, dtype=torch.float64)
    old = batches[0, :1]

    def learn(some: torch.Tensor) -> None:
        model.train()
        for images in some:
            optimizer.zero_grad()
            cross_entropy(model(images), torch.arange(10) % 5).backward()
            optimizer.step()

    with guard.protecting(optimizer):
        learn(batches[:10])
    moved = model[1].running_mean.clone()
    assert float(moved.abs().max()) > 0 and model[1].weight.requires_grad
    guard.remember(model, old)
    model.eval()
    inside: list[torch.Tensor] = []
    for layer in model:
        layer.register_forward_hook(lambda module, args, output: inside.append(output.detach()))
    model(old)
    before = list(inside)
    with guard.protecting(optimizer):
        learn(batches[10:])
    model.eval()
    inside.clear()
    model(old)
    change = max(float((a - b).norm() / a.norm()) for a, b in zip(before, inside, strict=True))
    assert (change < 1e-5) == frozen and (change > 1e-2) != frozen
    # Of other images it has learned.
    assert min(float(guard.update(label).norm()) for label in guard.labels) > 0.01


@pytest.mark.parametrize("name", ["momentum", "adam", "sgd"])
def test_a_frozen_affine_stays_whatever_an_optimizer_remembers(name):
    model = normalised()
    guard = Guard(model, SvdSubspace, energy=1.0)
    optimizer = OPTIMIZERS[name](model.parameters(), weight_decay=0.1)
    images = torch.randn(10, 2, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def learn() -> None:
        with guard.protecting(optimizer):
            for _ in range(5):
                # Gradients are kept as zeros: momentum and decay go on.
                optimizer.zero_grad(set_to_none=False)
                cross_entropy(model(images), torch.arange(10) % 5).backward()
                optimizer.step()

    learn()
    guard.remember(model, images[:1])
    before = [value.detach().clone() for index in (1, 4, 8) for value in model[index].parameters()]
    learn()
    after = [value.detach() for index in (1, 4, 8) for value in model[index].parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
