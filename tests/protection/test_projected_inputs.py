"""Gradients made of projected inputs: against the projected gradient, and what they must not touch."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from types import MethodType

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import linear
from wide_layers import FEATURES, OUTPUTS, drawn, holding, hooks, prepared

from orthotrace.protection import projected_inputs
from orthotrace.protection.matrices import WeightMatrix
from orthotrace.protection.products import matrices
from orthotrace.protection.projected_inputs import PROBES, ProjectedInputs, is_worth_it
from orthotrace.subspace import ComplementSubspace, NullSpace, SvdSubspace


def gradients(network, layer, x, wanted=False, made=None):
    """Of a loss that is not linear in the outputs: of weight, bias and inputs."""
    x = x.clone().requires_grad_(wanted)
    layer.zero_grad()
    with nullcontext() if made is None else made.attached():
        loss = network(x).square().sin().sum()
    loss.backward()
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
    projected, *others = gradients(layer, layer, x, wanted, made)
    held = space.held()
    torch.testing.assert_close(projected, weight - weight @ held.T @ held, rtol=0, atol=1e-12)
    for one, other in zip(rest, others, strict=True):
        assert (one is None and other is None) or torch.equal(one, other)
    # Afterwards all is as it was.
    assert hooks(layer) == 0 and torch.equal(gradients(layer, layer, x, wanted)[0], weight)


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
        right, wrong = (Masked(layer, after)(x).sum() for after in (False, True))
        written = layer(drawn(3, FEATURES, seed=2).requires_grad_()).sum()
    right.backward()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        wrong.backward()
    with torch.no_grad():
        layer.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        written.backward()


def test_a_call_that_fails_leaves_nothing_behind():
    layer, made = prepared()
    other = nn.Linear(FEATURES, FEATURES, dtype=torch.float64)
    x = drawn(3, FEATURES, seed=2)
    other(x).square().sum().backward()
    wanted = other.weight.grad.clone()
    with made.attached():
        with pytest.raises(RuntimeError, match="shapes"):
            layer(drawn(3, FEATURES + 1))
        # Torch tells from 2.7 on.
        assert getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", lambda _: None)(True) is None
        other.zero_grad()
        other(x).square().sum().backward()
    assert torch.equal(other.weight.grad, wanted)


def test_copies_other_weights_and_calls_without_gradients_are_left_alone():
    layer, made = prepared()
    x = drawn(3, FEATURES, seed=2)
    plain = gradients(layer, layer, x)[0]
    with made.attached():
        copied = copy.deepcopy(layer)
        weights = {"weight": layer.weight.detach().clone().requires_grad_(), "bias": layer.bias.detach()}
        other = functional_call(layer, weights, x).square().sin().sum()
        with torch.no_grad():
            layer(x)
        # By keyword too.
        loss = layer(input=x).square().sin().sum()
    # The copy has the hooks of the block, which do nothing.
    assert hooks(copied) == 2 and torch.equal(gradients(copied, copied, x)[0], plain)
    layer.zero_grad()
    loss.backward()
    other.backward()
    assert torch.equal(weights["weight"].grad, plain)
    torch.testing.assert_close(layer.weight.grad, made.space.project(plain), rtol=0, atol=1e-12)


def test_a_call_of_a_copy_within_that_of_the_layer_does_not_end_its_block():
    """A network may call a copy of a layer in a hook of the layer itself."""
    layer, made = prepared()
    x = drawn(3, FEATURES, seed=2)
    plain = gradients(layer, layer, x)[0]
    with made.attached():
        copied = copy.deepcopy(layer)

        def forward(input):  # noqa: A002
            copied(input.detach())
            return linear(input, layer.weight, layer.bias)

        layer.forward = forward
        layer.zero_grad()
        loss = layer(x).square().sin().sum()
    loss.backward()
    torch.testing.assert_close(layer.weight.grad, made.space.project(plain), rtol=0, atol=1e-12)


@pytest.mark.parametrize("late", [False, True])
def test_what_other_hooks_save_is_not_projected(late):
    layer, made = prepared()
    x, other = drawn(3, FEATURES, seed=2), drawn(OUTPUTS, FEATURES, seed=3).requires_grad_()

    def add(layer, args, output):
        return output + linear(args[0], other)

    if not late:
        layer.register_forward_hook(add)
    with made.attached():
        if late:
            layer.register_forward_hook(add)
        loss = layer(x).sum()
    loss.backward()
    torch.testing.assert_close(other.grad[0], x.sum(0), rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.weight.grad[0], made.space.project(x.sum(0)[None])[0], rtol=0, atol=1e-12)


def test_a_gradient_that_the_loss_takes_is_that_of_the_loss():
    layer, made = prepared()
    x, start = drawn(3, FEATURES, seed=2), layer.weight.detach().clone()
    plain = gradients(layer, layer, x)[0]
    with made.attached():
        loss = layer(x).square().sin().sum()
        (inside,) = torch.autograd.grad(loss, [layer.weight], retain_graph=True)
    assert torch.equal(inside, plain)
    # The weights may follow from it: the step is projected.
    with torch.no_grad():
        moved = start - 1e-9 * inside
        made.take_from(moved, start)
    assert float(((moved - start) @ made.space.held().T).norm()) < 1e-15


def of_one(layer):
    return lambda x: layer(x[None]).sum()


CALLS = {
    "vmap": lambda layer, x: torch.func.vmap(lambda one: layer(one[None])[0])(x),
    "a gradient by torch.func": lambda layer, x: torch.func.vmap(torch.func.grad(of_one(layer)))(x),
    "no hooks": lambda layer, x: without_hooks(layer, x),
    "sparse": lambda layer, x: layer(x.to_sparse()),
    "nothing": lambda layer, x: refused(layer, x),
}


def without_hooks(layer, x):
    with torch.autograd.graph.disable_saved_tensors_hooks("none are taken here"):
        return layer(x)


def refused(layer, x):
    with pytest.raises(TypeError, match="input"):
        layer()
    return x


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_calls_that_cannot_be_projected_are_as_they_were(call):
    layer, made = prepared()
    x, start = drawn(3, FEATURES, seed=2), layer.weight.detach().clone()
    wanted = call(layer, x)
    with made.attached():
        assert torch.equal(call(layer, x), wanted)
    # Then the step is projected.
    with torch.no_grad():
        moved = start - 1e-9
        made.take_from(moved, start)
    assert float(((moved - start) @ made.space.held().T).norm()) < 1e-15


def test_inputs_of_another_type_are_left_alone():
    layer = nn.Linear(FEATURES, OUTPUTS)
    space = SvdSubspace(FEATURES, rows=1)
    space.observe(torch.ones(1, FEATURES))
    space.consolidate()
    made = ProjectedInputs(matrices("layer", layer)[0], space, layer.weight.detach().clone(), torch.Generator())
    with made.attached(), torch.autocast("cpu"):
        loss = layer(torch.ones(3, FEATURES, dtype=torch.bfloat16)).float().sum()
    loss.backward()
    assert torch.equal(layer.weight.grad, torch.full((OUTPUTS, FEATURES), 3.0)) and made.due


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
    plain = gradients(layer, layer, x)[0]
    assert torch.equal(gradients(layer, layer, x, made=made)[0], plain)
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


def patched(layer: nn.Linear, once: bool) -> nn.Linear:
    """With a forward that was set on it, as TRGP's layers have one."""

    def forward(layer, input):  # noqa: A002
        return linear(input, layer.weight, layer.bias)

    if once:
        forward.uses_its_input_once = True
    layer.forward = MethodType(forward, layer)
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
    "a forward that was set": (lambda: patched(nn.Linear(FEATURES, OUTPUTS, **DOUBLE), once=False), {}, False),
    "one that uses its input once": (lambda: patched(nn.Linear(FEATURES, OUTPUTS, **DOUBLE), once=True), {}, True),
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
