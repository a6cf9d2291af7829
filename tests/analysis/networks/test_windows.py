"""Spiking networks over time: windows of their steps, and the spikes of each."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from orthotrace.analysis.networks.activations import activations
from orthotrace.core.errors import UserError
from orthotrace.layers import spiking
from orthotrace.layers.firing import step_weights
from orthotrace.layers.neurons import LIF

STEPS = 5
LEARNING = ("bptt", "dsr", "ottt")


def made(learning: str = "bptt", steps: int = STEPS, encoding: str = "constant"):
    torch.manual_seed(0)
    layers = [nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)]
    return spiking(nn.Sequential(*layers), steps, learning, threshold=0.3, encoding=encoding).eval()


IMAGES = torch.rand(9, 4, generator=torch.Generator().manual_seed(1)) * 2


@torch.no_grad()
def by_hand(model) -> dict[str, torch.Tensor]:
    """Each layer at each step, (n, steps, neurons), one step after the other."""
    found, state = {}, {}
    for _ in range(model.steps):
        values = IMAGES
        for name, module in model.named_children():
            if isinstance(module, LIF):
                fired, state[name] = module.over(values[None], state.get(name))
                values = fired[0]
            else:
                values = linear(values, module.weight, module.bias)
            found.setdefault(name, []).append(values.detach())
    return {name: torch.stack(of, dim=1) for name, of in found.items()}


@pytest.mark.parametrize("learning", LEARNING)
@pytest.mark.parametrize("batch", [4, 256])
def test_every_layer_is_read_at_every_step_and_in_windows(learning, batch):
    model = made(learning)
    expected = by_hand(model)
    spikes = dict(activations(model, IMAGES, batch_size=batch, spikes=True))
    assert list(spikes) == ["1", "3", "4"]
    for name, of in spikes.items():
        assert torch.allclose(of, expected[name], atol=1e-6) and (of[:, 0] != of[:, 1]).any()
    found = activations(model, IMAGES, batch_size=batch, windows=2)
    assert list(found.places) == ["1@1-3", "1@4-5", "3@1-3", "3@4-5", "4@1-3", "4@4-5"] and found.left_out == ()
    for name, values in found:
        layer, _, window = name.partition("@")
        first, last = map(int, window.split("-"))
        part = expected[layer][:, first - 1 : last]
        weights = torch.ones(part.shape[1]) / part.shape[1]
        if learning == "dsr":
            weights = step_weights(part.shape[1], model.decay, like=part)
        assert torch.allclose(values, torch.einsum("t,ntk->nk", weights, part), atol=1e-6), name


@pytest.mark.parametrize("learning", LEARNING)
def test_one_window_has_the_bits_of_the_firing_rates(learning):
    model = made(learning)
    rates, one = dict(activations(model, IMAGES)), dict(activations(model, IMAGES, windows=1))
    assert list(one) == [f"{name}@1-{STEPS}" for name in rates]
    assert all(torch.equal(one[f"{name}@1-{STEPS}"], values) for name, values in rates.items())


def test_as_many_windows_as_steps_have_one_step_each():
    found = dict(activations(made(), IMAGES, ["3"], windows=STEPS))
    spikes = dict(activations(made(), IMAGES, ["3"], spikes=True))["3"]
    assert list(found) == [f"3@{step}" for step in range(1, STEPS + 1)]
    assert torch.equal(torch.stack(list(found.values()), dim=1), spikes)


def test_what_does_not_change_with_time_is_read_once():
    plain = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    assert list(activations(plain, IMAGES, windows=7).places) == ["1", "2"]
    # A constant current, before the first neurons.
    model = made()
    assert list(activations(model, IMAGES, ["0", "1"], read="module", windows=2).places) == ["0", "1@1-3", "1@4-5"]
    found = dict(activations(model, IMAGES, ["0"], read="module", spikes=True))["0"]
    assert found.shape == (9, STEPS, 8) and torch.equal(found[:, 0], found[:, 4])
    assert dict(activations(made(steps=1), IMAGES, spikes=True))["1"].shape == (9, 1, 8)
    # Where the input changes there is none.
    assert list(activations(made(encoding="rate"), IMAGES, ["0"], read="module", windows=2).places) == [
        "0@1-3",
        "0@4-5",
    ]


@pytest.mark.parametrize(
    ("layers", "read"),
    [
        (["3@4-5", "1"], ["3@4-5", "1@1-3", "1@4-5"]),
        (["?@4-5"], ["1@4-5", "3@4-5", "4@4-5"]),
        (["1*"], ["1@1-3", "1@4-5"]),
    ],
)
def test_names_and_patterns_with_windows(layers, read):
    found = activations(made(), IMAGES, layers, windows=2)
    assert list(found.places) == [name for name, _ in found] == read


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"windows": 0}, "windows: a whole number of at least 1 is needed .got 0"),
        ({"windows": 1.5}, "windows: a whole number of at least 1 is needed .got 1.5"),
        ({"windows": 6}, "windows: of 5 steps there are at most 5 windows .got 6"),
        ({"windows": 2, "layers": ["1@1-2"]}, "layers: there is no window '1@1-2'; did you mean '1@1-3'?"),
        ({"windows": 2, "layers": ["7@1-3"]}, "layers: there is no layer '7'"),
    ],
)
def test_windows_that_there_are_not(options, line):
    with pytest.raises(UserError, match=line):
        activations(made(), IMAGES, **options)


def test_a_network_that_does_not_spike_has_no_spikes():
    with pytest.raises(UserError, match="spikes: Sequential does not spike"):
        activations(nn.Sequential(nn.Linear(4, 3)).eval(), IMAGES, spikes=True)
