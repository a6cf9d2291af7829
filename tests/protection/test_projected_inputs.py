"""Gradients made of projected inputs: against the projected gradient, and what they must not touch."""

from __future__ import annotations

import copy
import gc

import pytest
import torch
from torch import nn
from torch.func import functional_call

from orthotrace.protection import projected_inputs
from orthotrace.protection.guard import Projector
from orthotrace.protection.matrices import WeightMatrix
from orthotrace.protection.products import matrices
from orthotrace.protection.projected_inputs import PROBES, ProjectedInputs, is_worth_it
from orthotrace.subspace import ComplementSubspace, NullSpace, SvdSubspace

FEATURES, OUTPUTS = 6, 40


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def holding(rows: int = 2, kind: type = SvdSubspace, **options) -> SvdSubspace:
    asked = {} if kind is NullSpace else {"rows": rows}
    space = kind(FEATURES, **asked, **options, dtype=torch.float64)
    space.begin()
    space.observe(drawn(rows, FEATURES, seed=1))
    space.consolidate()
    return space


def prepared(bias: bool = True, space=None) -> tuple[nn.Linear, ProjectedInputs]:
    torch.manual_seed(0)
    layer = nn.Linear(FEATURES, OUTPUTS, bias=bias, dtype=torch.float64)
    [part] = matrices("layer", layer)
    space = holding() if space is None else space
    return layer, ProjectedInputs(part, space, layer.weight.detach().clone(), torch.Generator())


def gradients(network, layer, x, wanted):
    """Of a loss that is not linear in the outputs: of weight, bias and inputs."""
    x = x.clone().requires_grad_(wanted)
    layer.zero_grad()
    network(x).square().sin().sum().backward()
    found = [value.grad for value in (layer.weight, layer.bias, x) if value is not None]
    return [value if value is None else value.clone() for value in found]


@pytest.mark.parametrize(
    "space",
    [
        holding(),
        holding(4, ComplementSubspace),
        holding(3, NullSpace, factor=2.0),
        holding(FEATURES),
    ],
    ids=["few rows", "complement", "null space", "all rows"],
)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("wanted", [True, False], ids=["later layer", "first layer"])
@pytest.mark.parametrize("shape", [(5,), (3, 2), ()], ids=["a batch", "over time", "one"])
def test_the_gradient_is_the_projected_one_and_no_other_changes(space, bias, wanted, shape):
    layer, made = prepared(bias, space)
    x = drawn(*shape, FEATURES, seed=2)
    weight, *rest = gradients(layer, layer, x, wanted)
    with made.attached():
        projected, *others = gradients(layer, layer, x, wanted)
    held = space.held()
    torch.testing.assert_close(projected, weight - weight @ held.T @ held, rtol=0, atol=1e-12)
    for one, other in zip(rest, others, strict=True):
        assert (one is None and other is None) or torch.equal(one, other)
    # Afterwards all is as it was.
    assert torch.equal(gradients(layer, layer, x, wanted)[0], weight)


def test_a_layer_called_twice_and_a_graph_used_twice():
    layer, made = prepared()
    square = nn.Linear(OUTPUTS, FEATURES, dtype=torch.float64)
    network = nn.Sequential(layer, square, nn.Tanh(), layer)
    x = drawn(3, FEATURES, seed=2)
    weight = gradients(network, layer, x, True)[0]
    with made.attached():
        layer.zero_grad()
        loss = network(x).square().sin().sum()
        loss.backward(retain_graph=True)
        loss.backward()
    torch.testing.assert_close(layer.weight.grad, 2 * made.space.project(weight), rtol=0, atol=1e-12)


class Masked(nn.Module):
    """A layer between others that write in place."""

    def __init__(self, layer, after):
        super().__init__()
        self.layer, self.after = layer, after

    def forward(self, x):
        hidden = x * 1
        found = self.layer(hidden)
        if self.after:
            hidden.mul_(2)
        return found


@pytest.mark.parametrize("inputs_wanted", [True, False])
def test_what_a_gradient_needs_must_not_be_written_to(inputs_wanted):
    """Torch says so by itself, but not where saved tensors have hooks."""
    layer, made = prepared()
    x = drawn(3, FEATURES, seed=2).requires_grad_(inputs_wanted)
    with made.attached():
        Masked(layer, after=False)(x).sum().backward()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            Masked(layer, after=True)(x).sum().backward()
        loss = layer(drawn(3, FEATURES, seed=2).requires_grad_()).sum()
        with torch.no_grad():
            layer.weight.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_a_call_that_fails_leaves_nothing_behind():
    layer, made = prepared()
    other = nn.Linear(FEATURES, FEATURES, dtype=torch.float64)
    x = drawn(3, FEATURES, seed=2)
    other(x).square().sum().backward()
    wanted = other.weight.grad.clone()
    with made.attached():
        with pytest.raises(RuntimeError, match="shapes"):
            layer(drawn(3, FEATURES + 1))
        assert torch._C._autograd._top_saved_tensors_default_hooks(True) is None
        other.zero_grad()
        other(x).square().sum().backward()
    assert torch.equal(other.weight.grad, wanted)


def test_copies_other_weights_and_calls_without_gradients_are_left_alone():
    layer, made = prepared()
    x = drawn(3, FEATURES, seed=2)
    plain = gradients(layer, layer, x, False)[0]
    with made.attached():
        copied = copy.deepcopy(layer)
        assert torch.equal(gradients(copied, copied, x, False)[0], plain)
        weights = {"weight": layer.weight.detach().clone().requires_grad_(), "bias": layer.bias.detach()}
        functional_call(layer, weights, x).square().sin().sum().backward()
        assert torch.equal(weights["weight"].grad, plain)
        with torch.no_grad():
            layer(x)
        # By keyword too.
        layer.zero_grad()
        layer(input=x).square().sin().sum().backward()
    torch.testing.assert_close(layer.weight.grad, made.space.project(plain), rtol=0, atol=1e-12)


def counted(made: ProjectedInputs, monkeypatch) -> list[int]:
    """Notes each step that is projected in full."""
    calls, take = [], type(made.space).take_from
    monkeypatch.setattr(type(made.space), "take_from", lambda *given: (calls.append(1), take(*given))[1])
    return calls


def test_a_step_is_projected_where_the_weight_has_moved_along_rows_held_and_else_not(monkeypatch):
    layer, made = prepared()
    calls, start, held = counted(made, monkeypatch), layer.weight.detach().clone(), made.space.held()
    with torch.no_grad():
        free = made.space.project(drawn(OUTPUTS, FEATURES, seed=3))
        layer.weight.add_(free)
        made.take_from(layer.weight, start)
        assert not calls and torch.equal(layer.weight, start + free)
        # Of one output, along one row, a millionth.
        layer.weight[3] += 1e-6 * held[1]
        made.take_from(layer.weight, start)
        assert len(calls) == 1
        torch.testing.assert_close(layer.weight, start + free, rtol=0, atol=1e-12)
        layer.weight[0, 0] = float("nan")
        made.take_from(layer.weight, start)
        assert len(calls) == 2 and layer.weight[0].isnan().any()
        layer.weight.copy_(start)
        made.settle()
        made.take_from(layer.weight, start)
        made.take_from(layer.weight, start)
    assert len(calls) == 3


def test_it_goes_on_whoever_keeps_what_ends_it(monkeypatch):
    """What project_inputs returns may be dropped, as what attach returns."""
    monkeypatch.setattr(projected_inputs, "WORTH", 0)
    model = nn.Sequential(nn.Linear(4, 64), nn.Linear(64, 64))
    guard = Projector(model, SvdSubspace, rows=2)
    with guard.watching() as seen:
        model(torch.rand(8, 4))
    guard.observe(seen)
    guard.consolidate()
    guard.begin()
    guard.attach(torch.optim.SGD(model.parameters(), 0.1))
    guard.project_inputs()
    gc.collect()
    model(torch.rand(8, 4)).square().sum().backward()
    for number, layer in enumerate(model):
        assert float((layer.weight.grad @ guard.subspaces[str(number)].held().T).norm()) < 1e-4


def test_what_is_looked_at_is_the_size_of_the_leak():
    """In the mean over directions its square is that of |dW M^T|."""
    layer, space = nn.Linear(FEATURES, OUTPUTS, dtype=torch.float64), holding(4)
    [part] = matrices("layer", layer)
    start, update = layer.weight.detach().clone(), drawn(OUTPUTS, FEATURES, seed=4)
    found = []
    for seed in range(400):
        made = ProjectedInputs(part, space, start, torch.Generator().manual_seed(seed))
        assert made.probes.shape == (FEATURES, PROBES)
        found.append(float(((start + update) @ made.probes - made.start).square().sum()))
    wanted = float((update @ space.held().T).square().sum())
    assert sum(found) / len(found) == pytest.approx(wanted, rel=0.1)
    assert made.most == pytest.approx(8 * torch.finfo(torch.float64).eps * float(start.norm()))


def test_a_batch_as_large_as_half_the_outputs_is_no_gain():
    layer, made = prepared()
    start = layer.weight.detach().clone()
    x = drawn(OUTPUTS // 2 + 1, FEATURES, seed=2)
    plain = gradients(layer, layer, x, False)[0]
    with made.attached():
        assert torch.equal(gradients(layer, layer, x, False)[0], plain)
        with torch.no_grad():
            layer.weight -= plain
            made.take_from(layer.weight, start)
    torch.testing.assert_close(layer.weight, start - made.space.project(plain), rtol=0, atol=1e-12)


class Own(nn.Linear):
    def forward(self, input):  # noqa: A002
        return super().forward(input) * 2


def hooked(layer: nn.Linear) -> nn.Linear:
    layer.weight.register_hook(lambda gradient: None)
    return layer


def noted(layer: nn.Linear) -> nn.Linear:
    layer.weight.register_post_accumulate_grad_hook(lambda value: None)
    return layer


class BothSides(SvdSubspace):
    by_row = False


def frozen(layer: nn.Linear) -> nn.Linear:
    layer.weight.requires_grad_(False)
    return layer


DOUBLE = {"dtype": torch.float64}
LAYERS = {
    "a wide layer": (lambda: nn.Linear(FEATURES, OUTPUTS, **DOUBLE), {}, True),
    "fewer multiplications than it is worth": (lambda: nn.Linear(FEATURES, OUTPUTS - 1, **DOUBLE), {}, False),
    "nothing held": (lambda: nn.Linear(FEATURES, OUTPUTS, **DOUBLE), {"space": SvdSubspace(FEATURES, rows=1)}, False),
    "a soft projection": (lambda: nn.Linear(FEATURES, OUTPUTS, **DOUBLE), {"space": holding(rows=2, hold=0.5)}, False),
    "a projection from both sides": (
        lambda: nn.Linear(FEATURES, OUTPUTS, **DOUBLE),
        {"space": holding(kind=BothSides)},
        False,
    ),
    "a convolution": (lambda: nn.Conv2d(FEATURES, OUTPUTS, 1, **DOUBLE), {}, False),
    "a forward of its own": (lambda: Own(FEATURES, OUTPUTS, **DOUBLE), {}, False),
    "another type": (lambda: nn.Linear(FEATURES, OUTPUTS), {}, False),
    "a gradient that is changed": (lambda: hooked(nn.Linear(FEATURES, OUTPUTS, **DOUBLE)), {}, False),
    "a gradient that is read": (lambda: noted(nn.Linear(FEATURES, OUTPUTS, **DOUBLE)), {}, False),
    "a frozen weight": (lambda: frozen(nn.Linear(FEATURES, OUTPUTS, **DOUBLE)), {}, False),
}


@pytest.mark.parametrize(("make", "given", "worth"), LAYERS.values(), ids=LAYERS)
def test_which_layers_it_is_for(monkeypatch, make, given, worth):
    monkeypatch.setattr(projected_inputs, "WORTH", FEATURES * OUTPUTS * 4)
    space = given.get("space") or holding()
    layer = make()
    part = matrices("layer", layer)[0]
    assert isinstance(part, WeightMatrix) and is_worth_it(part, space) is worth


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
        model(drawn(16, 12, seed=step).to(dtype)).square().mean().backward()
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
    monkeypatch.setattr(ProjectedInputs, "attached", lambda self: pytest.fail("gradients are projected already"))
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
    guard = Projector(model, SvdSubspace, rows=2)
    guard.look(lambda: model(torch.rand(4, 8)))
    with guard.watching() as seen:
        model(torch.rand(4, 8))
    guard.observe(seen)
    guard.consolidate()
    guard.begin()
    guard.attach(torch.optim.SGD(model.parameters(), 0.1))
    made = []
    monkeypatch.setattr(ProjectedInputs, "__init__", lambda self, part, *rest: made.append(part.label))
    monkeypatch.setattr(ProjectedInputs, "attached", lambda self: torch.no_grad())
    guard.project_inputs()
    assert made == []
