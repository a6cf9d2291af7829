"""Gradients made of projected inputs over a whole task under a guard."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from wide_layers import drawn, hooks

from orthotrace.protection import projected_inputs
from orthotrace.protection.guard import Projector
from orthotrace.protection.projected_inputs import ProjectedInputs
from orthotrace.subspace import SvdSubspace


def begun(model: nn.Module, like: torch.Tensor) -> Projector:
    """In a second task, with two rows of each layer held."""
    guard = Projector(model, SvdSubspace, rows=2)
    guard.look(lambda: model(like))
    with guard.watching() as seen:
        model(like)
    guard.observe(seen)
    guard.consolidate()
    guard.begin()
    guard.attach(torch.optim.SGD(model.parameters(), 0.1))
    return guard


def test_it_ends_with_its_task(monkeypatch):
    monkeypatch.setattr(projected_inputs, "WORTH", 0)
    model = nn.Sequential(nn.Linear(4, 64), nn.Linear(64, 64))
    x = torch.rand(8, 4)
    guard = begun(model, x)
    before = [hooks(layer) for layer in model]

    def leaks() -> float:
        model.zero_grad()
        with guard.projecting_inputs():
            loss = model(x).square().sum()
        loss.backward()
        assert [hooks(layer) for layer in model] == before
        spaces = [guard.subspaces[str(number)] for number in range(len(model))]
        return max(
            float((layer.weight.grad @ space.held().T).norm()) for layer, space in zip(model, spaces, strict=True)
        )

    assert leaks() > 0.1
    end = guard.project_inputs()
    assert leaks() < 1e-4
    end()
    assert leaks() > 0.1
    # Also where nobody ended it, as after an error.
    guard.project_inputs()
    guard.attach(torch.optim.SGD(model.parameters(), 0.1))
    assert leaks() > 0.1


def trained(
    inputs: bool, dtype: torch.dtype, count: int = 30, rule: str = "applied"
) -> tuple[Projector, nn.Module, list]:
    """A later task by SGD with momentum; and the leaks after each step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64)).to(dtype)
    guard = Projector(model, SvdSubspace, rule=rule, rows=8)
    with guard.watching() as seen:
        model(drawn(20, 12, seed=5).to(dtype))
    guard.started += 1
    guard.observe(seen)
    guard.consolidate()
    guard.begin()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, 0.9)
    detach = guard.attach(optimizer)
    end = guard.project_inputs() if inputs else lambda: None
    leaks = []
    for step in range(count):
        optimizer.zero_grad()
        with guard.projecting_inputs():
            loss = model(drawn(16, 12, seed=step).to(dtype)).square().mean()
        loss.backward()
        optimizer.step()
        leaks.append(max(guard.leaks().values()))
    end()
    detach()
    return guard, model, leaks


def test_a_task_ends_as_with_a_projection_of_each_step(monkeypatch):
    monkeypatch.setattr(projected_inputs, "WORTH", 0)
    (_, plain, _), (guard, model, leaks) = (trained(inputs, torch.float64) for inputs in (False, True))
    for one, other in zip(plain.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    assert max(leaks) < 1e-14
    assert float(guard.update("0").norm()) > 0.05


def test_in_float32_the_leak_is_bounded_within_the_task_and_as_ever_at_its_end(monkeypatch):
    monkeypatch.setattr(projected_inputs, "WORTH", 0)
    (reference, _, _), (guard, _, leaks) = (trained(inputs, torch.float32, 200) for inputs in (False, True))
    assert max(leaks) < 2e-6
    # Rounding, of one projection.
    assert max(guard.leaks().values()) < 2 * max(reference.leaks().values()) < 2e-7


def test_only_where_the_projection_is_of_what_is_applied(monkeypatch):
    monkeypatch.setattr(projected_inputs, "WORTH", 0)
    monkeypatch.setattr(ProjectedInputs, "__init__", lambda *given: pytest.fail("gradients are projected already"))
    with pytest.warns(UserWarning, match="leaked"):
        trained(True, torch.float64, rule="gradient")


def test_weights_used_from_both_sides_are_left_alone(monkeypatch):
    """The gradient of the other use is of other inputs."""

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x):
            return torch.relu(self.layer(x)) @ self.layer.weight

    monkeypatch.setattr(projected_inputs, "WORTH", 0)
    model = Tied()
    guard = begun(model, torch.rand(4, 8))
    monkeypatch.setattr(ProjectedInputs, "__init__", lambda self, part, *rest: pytest.fail(part.label))
    guard.project_inputs()
