import copy
import io
import pickle
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.layers import spiking
from orthotrace.protection import Guard, Taps
from orthotrace.subspace import SvdSubspace


def test_rows_of_any_leading_shape_and_of_several_calls():
    layer = nn.Linear(4, 4)
    taps = Taps({"layer": layer})
    x = torch.rand(3, 5, 4)
    with taps.watching() as inputs:
        y = layer(layer(input=x))
    first, second = inputs["layer"]
    assert torch.equal(first, x.reshape(1, 15, 4))
    assert torch.equal(second, layer(x).reshape(1, 15, 4))
    assert not second.requires_grad and y.requires_grad


def test_nothing_is_collected_outside_and_after_an_error():
    layer = nn.Linear(2, 2)
    taps = Taps({"layer": layer})
    with taps.watching() as inputs:
        layer(torch.ones(1, 2))
    layer(torch.ones(1, 2))
    assert len(inputs["layer"]) == 1
    with pytest.raises(RuntimeError), taps.watching():
        layer(torch.ones(1, 3))
    layer(torch.ones(1, 2))
    assert len(inputs["layer"]) == 1


def test_rows_are_those_of_the_call_whatever_happens_to_the_input_later():
    class Changing(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            h = self.layer(x)
            x.add_(100)
            return h + x

    model = Changing()
    taps = Taps({"layer": model.layer})
    with taps.watching() as inputs:
        model(torch.ones(3, 2))
    assert torch.equal(inputs["layer"][0], torch.ones(1, 3, 2))


def test_patches_are_drawn_from_a_seed_to_a_budget():
    layer = nn.Conv2d(2, 3, 3)
    taps = Taps({"conv": layer}, patches=20)
    x = torch.rand(4, 2, 9, 9)
    found = []
    for seed in (1, 1, 2):
        with taps.watching(seed) as inputs:
            layer(x)
        found.append(inputs["conv"][0])
    assert found[0].shape == (1, 20, 18)
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_a_compiled_network_is_watched_too():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    taps = Taps({"0": model[0], "2": model[2]})
    compiled = torch.compile(model, backend="eager")
    x = torch.rand(5, 4)
    compiled(x)
    for _ in range(2):
        with taps.watching() as inputs:
            compiled(x)
        assert torch.equal(inputs["0"][0], x[None]) and torch.equal(inputs["2"][0], model[:2](x)[None])
    compiled(x)
    assert len(inputs["0"]) == 1


@pytest.mark.parametrize(("learning", "rows"), [("dsr", (6, 6)), ("bptt", (6, 24)), ("ottt", (42, 42))])
def test_of_a_spiking_network_what_its_layers_learn_from(learning, rows):
    """Weighted rates; the spikes of all steps, where they differ; spikes of 4 steps, and traces of the last 3."""
    torch.manual_seed(0)
    model = spiking(nn.Sequential(nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 2)), 4, learning)
    guard, images = Guard(model, SvdSubspace, rows=1), torch.randn(6, 8)
    for training in (False, True):
        model.train(training)
        with guard.watching() as seen:
            model(images)
        assert tuple(sum(call.shape[1] for call in seen[name]) for name in ("0", "2")) == rows
    if learning == "dsr":
        with guard.watching() as seen, torch.no_grad():
            logits = model(images)
        assert torch.allclose(model[4].forward(seen["4"][0][0]), logits, atol=1e-5)


def give(layer: nn.Module) -> None:
    layer.register_forward_pre_hook(lambda module, args: (torch.sin(args[0]), *args[1:]))


def take(layer: nn.Module) -> None:
    layer.register_forward_hook(lambda module, args, output: (torch.sin(output[0]), output[1]))


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("layer", "hook"),
    [(lambda: nn.Linear(20, 9), give), (lambda: nn.GRU(20, 30), give), (lambda: nn.GRU(20, 30), take)],
)
def test_what_hooks_of_the_user_change_is_seen_as_the_layer_sees_it(layer, hook, late):
    torch.manual_seed(0)
    model = nn.Sequential(layer()).double()
    if not late:
        hook(model[0])
    guard = Guard(model, SvdSubspace, energy=1.0)
    if late:
        hook(model[0])
    old = torch.randn(3, 2, 20).double()
    guard.remember(model, old)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)

    def given(x: torch.Tensor) -> torch.Tensor:
        output = model(x)
        return output[0] if isinstance(output, tuple) else output

    before = given(old)
    with guard.protecting(optimizer):
        for _ in range(3):
            (given(torch.randn(3, 9, 20).double()) - 1).square().sum().backward()
            optimizer.step()
    assert torch.allclose(given(old), before, atol=1e-11) and guard.update(guard.labels[0]).abs().max() > 1e-3


@pytest.mark.parametrize("layer", [nn.Linear(6, 3), nn.Conv1d(2, 3, 2)], ids=lambda layer: type(layer).__name__)
def test_a_layer_within_a_transform_is_refused_where_it_is_watched_only(layer):
    taps = Taps({"": layer})
    x = torch.rand(4, 6) if isinstance(layer, nn.Linear) else torch.rand(4, 2, 5)
    refused = pytest.raises(UserError, match=r"^the model itself is called within a transform of torch.func")
    with refused, taps.watching():
        torch.vmap(layer)(x)
    torch.vmap(layer)(x)


@pytest.mark.parametrize("within", [False, True])
def test_a_guarded_model_is_saved_whole(within):
    """By torch.save(model), and without what watches it: also within the block of a later task."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Unflatten(1, (2, 4)), nn.TransformerEncoderLayer(4, 2, 8), nn.LSTM(4, 3)
    )
    guard = Guard(model, SvdSubspace, rows=2)
    guard.remember(model, torch.rand(4, 8))
    file, optimizer = io.BytesIO(), torch.optim.SGD(model.parameters(), 0.1)
    with guard.protecting(optimizer) if within else nullcontext():
        torch.save(model, file)
    file.seek(0)
    other = torch.load(file, weights_only=False).eval()
    x = torch.rand(4, 8)
    assert torch.equal(other(x)[0], model.eval()(x)[0])
    # What is loaded is a model of its own: nothing keeps it in evaluation mode, and another guard can watch it.
    assert other.train()[1].training
    Guard(other, SvdSubspace, rows=1).remember(other, x)


def test_a_guard_that_is_pickled_with_its_model_goes_on():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
    guard = Guard(model, SvdSubspace, energy=1.0)
    guard.remember(model, torch.rand(3, 8))
    model, guard = pickle.loads(pickle.dumps((model, guard)))
    guard.remember(model, torch.rand(3, 8))
    assert guard.subspaces["0"].rank == 6


class Tied(nn.Module):
    """A decoder that is the encoder, transposed."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 6)

    def forward(self, x):
        return torch.tanh(self.layer(x)) @ self.layer.weight


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))], ids=["copy", "pickle"]
)
def test_a_copy_of_a_guard_goes_on_looking_at_other_uses_of_a_weight(copied):
    torch.manual_seed(0)
    model = Tied()
    guard = Guard(model, SvdSubspace, energy=1.0)
    guard.remember(model, torch.rand(2, 8))
    model, guard = copied((model, guard))
    guard.remember(model, torch.rand(2, 8))
    assert guard.subspaces["layer, transposed"].rank == 4
