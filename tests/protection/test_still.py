"""Buffers that move beside the weights: refused by name, but for caches."""

import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.protection import Guard, still
from orthotrace.subspace import SvdSubspace


def draws(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


OLD, NEW = draws(5, 20, seed=1), draws(40, 20, seed=2)


class Masked(nn.Module):
    """Keeps the mask of the last length in a buffer."""

    def __init__(self, persistent: bool) -> None:
        super().__init__()
        self.a = nn.Linear(20, 20)
        self.register_buffer("mask", torch.zeros(0, 0, dtype=torch.float64), persistent=persistent)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(self.mask) != len(x):
            self.mask = torch.ones(len(x), len(x), dtype=x.dtype).tril()
        return self.mask @ self.a(x)


@pytest.mark.parametrize("persistent", [False, True])
def test_a_cache_that_is_not_saved_may_move(persistent):
    torch.manual_seed(0)
    model = Masked(persistent).double()
    guard = Guard(model, SvdSubspace, energy=1.0)
    guard.remember(model, OLD)
    before, optimizer = model(OLD), torch.optim.Adam(model.parameters(), 0.01)

    def step() -> None:
        with guard.protecting(optimizer):
            model(NEW).square().mean().backward()
            optimizer.step()

    if persistent:
        with pytest.raises(UserError, match="the buffer mask of the model itself .*persistent=False"):
            step()
    else:
        step()
        assert torch.allclose(model(OLD), before, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_a_buffer_whose_values_change_places_has_moved(dtype):
    model = nn.Linear(20, 20).double()
    model.register_buffer("order", torch.arange(4, dtype=dtype))
    guard = Guard(model, SvdSubspace, energy=1.0, verify=False)
    guard.remember(model, OLD)
    with pytest.raises(UserError, match="the buffer order"), guard.protecting(torch.optim.SGD(model.parameters())):
        model.order.copy_(model.order.flip(0))


def test_a_count_of_steps_may_move():
    model = nn.Linear(20, 20).double()
    model.register_buffer("steps", torch.zeros((), dtype=torch.int64))
    guard = Guard(model, SvdSubspace, energy=1.0, verify=False)
    guard.remember(model, OLD)
    optimizer = torch.optim.SGD(model.parameters())
    with guard.protecting(optimizer):
        model(NEW).sum().backward()
        optimizer.step()
        model.steps.add_(1)


def test_values_that_change_places_are_noticed_wherever_they_are(monkeypatch):
    monkeypatch.setattr(still, "AT_ONCE", 4)
    values = torch.arange(10.0)
    other = values[[0, 5, 2, 3, 4, 1, 6, 7, 8, 9]]
    assert still.mark(values) != still.mark(other) and still.mark(values) == still.mark(values.clone())


def test_entries_that_change_places_in_a_sparse_tensor_are_noticed():
    values = torch.eye(3).to_sparse()
    assert still.mark(values) != still.mark(torch.eye(3).flip(0).to_sparse())


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(0, 3),
        torch.tensor(torch.nan),
        torch.ones(2, dtype=torch.complex64),
        torch.ones(3, dtype=torch.bfloat16),
        torch.ones(2, dtype=torch.bool),
        torch.eye(3).to_sparse(),
        torch.tensor([1 + 2j]).conj(),
        torch.ones(2, 3).T,
    ],
    ids=lambda value: f"{value.dtype} {value.layout} {tuple(value.shape)}",
)
def test_values_of_every_kind_have_a_mark(value):
    other = torch.zeros(2) if not value.numel() or value.ndim == 0 else 0 * value
    assert still.mark(value) == still.mark(value.clone()) != still.mark(other)
