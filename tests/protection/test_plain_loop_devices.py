"""A guard is where its model is, and projects in full precision; a device without numbers stands for a GPU."""

from __future__ import annotations

import warnings

import pytest
import torch
from composed import StopError
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.protection import Guard
from orthotrace.protection.guard import Projector
from orthotrace.protection.stacked import StackedProjector
from orthotrace.subspace import RecursiveSubspace, SvdSubspace

X = torch.rand(3, 40, 8, generator=torch.Generator().manual_seed(0))


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))


@pytest.fixture
def shortened():
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision("highest")


def precision() -> str:
    return torch.backends.cuda.matmul.fp32_precision


def recording(kind: type, seen: dict[str, set[str]], names: tuple[str, ...]) -> type:
    """A subspace that notes the precision of torch's products in some of its methods."""

    def noting(name):
        def method(self, *args):
            seen.setdefault(name, set()).add(precision())
            return getattr(kind, name)(self, *args)

        return method

    return type("Recording", (kind,), {name: noting(name) for name in names})


@pytest.mark.parametrize(
    ("kind", "options", "rule", "names"),
    [
        (SvdSubspace, {"rows": 2}, "applied", ("begin", "observe", "consolidate", "take_from", "inside", "held")),
        (RecursiveSubspace, {"alpha": 0.1}, "applied", ("begin", "observe", "consolidate", "inside")),
        (SvdSubspace, {"rows": 2}, "gradient", ("begin", "observe", "consolidate", "inside")),
    ],
)
def test_what_protects_is_computed_in_full_precision(shortened, kind, options, rule, names):
    seen: dict[str, set[str]] = {}
    model = net()
    guard = Guard(model, recording(kind, seen, names), rule=rule, verify=False, **options)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for inputs in X:
        with guard.protecting(optimizer):
            optimizer.zero_grad()
            model(inputs).square().mean().backward()
            assert precision() == "tf32"
            optimizer.step()
        guard.remember(model, inputs)
    guard.leaks()
    assert precision() == "tf32"
    assert set(seen) == set(names)
    # held is asked for by others too.
    assert all("ieee" in found and (found == {"ieee"} or name == "held") for name, found in seen.items())


def test_networks_together_are_projected_in_full_precision(shortened, monkeypatch):
    models = [net(), net()]
    guards = [Projector(model, SvdSubspace, rows=2) for model in models]
    for model, guard in zip(models, guards, strict=True):
        with guard.watching() as inputs:
            model(X[0])
        guard.observe(inputs)
        guard.consolidate()
        guard.begin()
    stacked = {
        name: torch.stack([dict(model.named_parameters())[name].detach() for model in models])
        for name, _ in models[0].named_parameters()
    }
    seen = []
    product = torch.Tensor.baddbmm_
    monkeypatch.setattr(
        torch.Tensor, "baddbmm_", lambda *args, **kwargs: seen.append(precision()) or product(*args, **kwargs)
    )
    StackedProjector(guards, stacked).enforce()
    assert seen and set(seen) == {"ieee"} and precision() == "tf32"


def test_inputs_are_not_projected_in_the_place_of_steps_where_products_are_shortened(monkeypatch):
    monkeypatch.setattr("orthotrace.protection.guard.is_worth_it", lambda part, space: True)
    guard = Projector(model := net(), SvdSubspace, rows=2)
    with guard.watching() as inputs:
        model(X[0])
    guard.observe(inputs)
    guard.consolidate()
    guard.begin()
    for shorten in (False, True):
        torch.set_float32_matmul_precision("high" if shorten else "highest")
        try:
            end = guard.project_inputs()
        finally:
            torch.set_float32_matmul_precision("highest")
        assert bool(guard._inputs) != shorten
        end()


@pytest.mark.parametrize("call", ["protecting", "remember"])
def test_a_guard_follows_its_model(monkeypatch, call):
    def to(self, device):
        raise StopError(device.type)

    model = net()
    guard = Guard(model, SvdSubspace, rows=1)
    monkeypatch.setattr(Guard, "to", to)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with guard.protecting(optimizer):
        pass
    model.to("meta")
    with pytest.raises(StopError, match="meta"):
        guard.remember(model, X[0]) if call == "remember" else guard.protecting(optimizer).__enter__()


def test_all_that_a_guard_keeps_moves_with_it():
    model = net()
    guard = Guard(model, SvdSubspace, rows=1)
    guard.remember(model, X[0])
    model.double()
    guard.double()
    assert {value.dtype for value in guard._inside.values()} == {torch.float64}
    assert guard._replay is not None and guard._replay._inputs[1][0].dtype == torch.float64
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with warnings.catch_warnings():
        # Other bits than the weights had.
        warnings.filterwarnings("ignore", message="the weights have moved")
        with guard.protecting(optimizer):
            model(X[1].double()).square().mean().backward()
            optimizer.step()
    assert max(guard.leaks().values()) < 1e-6


def test_outputs_of_a_guard_without_a_head_are_refused():
    guard = Guard(net(), SvdSubspace, rows=1)
    guard.outputs = None
    with pytest.raises(UserError, match="outputs: this guard has no head"):
        guard.outputs = range(0, 2)
