"""Spikes and their errors, beside loops that say what is meant."""

from __future__ import annotations

import math

import pytest
import torch
from torch.func import grad, vmap

from orthotrace.layers.firing import fire, rate_spikes, surrogate_spikes, weighted_mean
from orthotrace.layers.neurons import IF, LIF

SLOPES = {
    "sigmoid": lambda u: torch.sigmoid(4 * u),
    "atan": lambda u: torch.atan(math.pi * u) / math.pi,
}


def naive(currents, before, threshold, decay, surrogate):
    """Step by step, by autograd: the slope of a smooth step, and a reset that is detached."""
    membrane = torch.zeros_like(currents[0]) if before is None else before
    spikes = []
    for current in currents:
        membrane = decay * membrane + current
        smooth = SLOPES[surrogate](membrane - threshold)
        spike = (membrane >= threshold).to(membrane) + smooth - smooth.detach()
        spikes.append(spike)
        membrane = membrane - (threshold * spike).detach()
    return torch.stack(spikes), membrane


def currents(steps=7, shape=(3, 4), dtype=torch.float64, seed=0):
    return torch.randn(steps, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) + 0.3


@pytest.mark.parametrize("surrogate", SLOPES)
@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("started", [False, True])
def test_surrogate_gradients_are_those_of_a_loop(surrogate, steps, started):
    found = []
    for run in (naive, surrogate_spikes):
        x = currents(steps).requires_grad_()
        before = currents(1, seed=1)[0].requires_grad_() if started else None
        threshold, decay = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.8, 0.6))
        spikes, left = run(x, before, threshold, decay, surrogate)
        weights = currents(steps, seed=2)
        ((spikes * weights).sum() + (left * weights[0]).sum()).backward()
        kept = [x.grad, threshold.grad, *([] if before is None else [before.grad])]
        # Where nothing came before, one step says nothing of the decay.
        found.append([spikes, left, *kept, *([] if steps == 1 and not started else [decay.grad])])
    for ours, theirs in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("kind", [*SLOPES, "rate"])
def test_channels_that_are_last_in_memory_stay_last_and_change_nothing(kind, started):
    found = []
    for order in (torch.contiguous_format, torch.channels_last):
        # As a convolution gives them, for all steps at once.
        x, weights = (
            currents(6, (4, 5, 3), seed=seed).contiguous(memory_format=order).unflatten(0, (3, 2)) for seed in (0, 1)
        )
        before = currents(1, (2, 4, 5, 3), seed=2)[0] if started and kind != "rate" else None
        x.requires_grad_()
        spikes, left = rate_spikes(x, 0.8, 0.6) if kind == "rate" else surrogate_spikes(x, before, 0.8, 0.6, kind)
        spikes.backward(weights)
        found.append((spikes, left, x.grad))
        last = order is torch.channels_last
        assert all((one.flatten(0, 1).stride(1) == 1) is last for one in (spikes, x.grad))
    # Another order of memory puts other values into the lanes of a vector, which some processors round otherwise.
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_many_steps_in_a_type_of_few_bits_are_summed_in_one_of_more(dtype):
    x = torch.full((1000, 1), 0.5, dtype=dtype, requires_grad=True)
    assert weighted_mean(x, 1.0).tolist() == [0.5]
    rate_spikes(x, 1.0, 1.0)[0].sum().backward()
    assert float(x.grad.double().sum()) == pytest.approx(1000, rel=0.01)


def test_no_steps_leave_the_membrane_as_it_is():
    before = torch.rand(2, 3)
    spikes, left = surrogate_spikes(torch.rand(0, 2, 3), before, 1.0, 0.5)
    assert spikes.shape == (0, 2, 3) and torch.equal(left, before)
    assert weighted_mean(spikes, 0.5).tolist() == [[0.0] * 3] * 2


def test_a_threshold_and_a_decay_that_are_numbers_give_the_same():
    x = currents()
    trained = surrogate_spikes(x, None, torch.tensor(0.8), torch.tensor(0.5))
    for ours, theirs in zip(surrogate_spikes(x, None, float(torch.tensor(0.8)), 0.5), trained, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("decay", [1.0, 0.7])
def test_rates_are_differentiated_as_the_clamped_map(decay):
    x, threshold = currents(12, (40,)) * 2, 1.5
    level = torch.tensor(threshold, dtype=torch.float64, requires_grad=True)
    given = x.clone().requires_grad_()
    toward = currents(1, (40,), seed=3)[0]

    def limit(values, most):
        return (weighted_mean(values, decay).clamp(0, most) * toward).sum()

    spikes, _ = rate_spikes(given, level, decay, 0.3)
    (weighted_mean(spikes, decay) * toward).sum().backward()
    small = 1e-6
    for step in (0, 5, 11):
        for unit in range(0, 40, 7):
            moved = torch.zeros_like(x)
            moved[step, unit] = small
            slope = (limit(x + moved, threshold) - limit(x - moved, threshold)) / (2 * small)
            torch.testing.assert_close(given.grad[step, unit], slope, atol=1e-9, rtol=1e-7)
    slope = (limit(x, threshold + small) - limit(x, threshold - small)) / (2 * small)
    torch.testing.assert_close(level.grad, slope, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("decay", [1.0, 0.9])
def test_rates_tend_to_the_clamped_map(decay):
    steady = torch.linspace(-1, 3, 21, dtype=torch.float64).expand(400, -1)
    rates = weighted_mean(rate_spikes(steady, 2.0, decay)[0], decay)
    # What the last step leaves on a membrane, over the sum of the weights.
    allowed = 2.0 / sum(decay**k for k in range(400)) + 1e-9
    assert (rates - steady[0].clamp(0, 2)).abs().max() <= allowed


@pytest.mark.parametrize("spikes_of", [surrogate_spikes, rate_spikes])
def test_gradients_sample_by_sample(spikes_of):
    """As for Fisher information: under torch.func each sample has its own."""
    arguments = (None, 1.0, 0.5, "atan") if spikes_of is surrogate_spikes else (1.0, 0.5, 0.3)
    x = currents(5, (6, 4))

    def total(one):
        return (spikes_of(one[:, None], *arguments)[0] * x[:, :1]).sum()

    each = vmap(grad(total), in_dims=1, out_dims=1)(x)
    for sample in range(6):
        alone = x[:, sample].clone().requires_grad_()
        total(alone).backward()
        torch.testing.assert_close(each[:, sample], alone.grad)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("learning", ["bptt", "dsr"])
@pytest.mark.parametrize(("shape", "steps"), [((1, 1), 1), ((1, 5), 4), ((3, 2, 2, 2), 3)])
def test_types_and_shapes(dtype, learning, shape, steps):
    neurons = LIF(steps, learning, threshold=1.0)
    x = currents(steps, shape, dtype).flatten(0, 1).requires_grad_()
    spikes = neurons(x)
    spikes.sum().backward()
    assert spikes.shape == x.shape and spikes.dtype == dtype == x.grad.dtype
    with torch.no_grad():
        assert torch.equal(neurons(x), spikes)


def test_small_currents_add_up_in_few_bits():
    spikes = LIF(300, decay=1.0)(torch.full((300, 1), 0.004, dtype=torch.bfloat16))
    assert spikes.sum() == 1


@pytest.mark.parametrize("learning", ["bptt", "dsr"])
@pytest.mark.parametrize(("current", "rate"), [(-5.0, 0.0), (0.0, 0.0), (50.0, 1.0)])
def test_neurons_that_never_and_that_always_fire(learning, current, rate):
    x = torch.full((8, 3), current, requires_grad=True)
    spikes = LIF(8, learning, threshold=2.0, trained=[])(x)
    spikes.sum().backward()
    assert (spikes == rate * (2.0 if learning == "dsr" else 1.0)).all() and x.grad.isfinite().all()
    if learning == "dsr":
        assert not x.grad.any()


@pytest.mark.parametrize("decay", [1.0, 0.9, 0.5])
@pytest.mark.parametrize("threshold", [1.0, 0.4])
def test_spike_for_spike_as_snntorch(decay, threshold):
    import snntorch  # seconds, which no other test pays

    # With a delay it resets after the leak; without one twice where more than the threshold is left. At the threshold
    # itself it does not fire.
    theirs = snntorch.Leaky(beta=decay, threshold=threshold, reset_delay=decay == 1, reset_mechanism="subtract")
    x, membrane, expected = currents(30, (5, 6), torch.float32).clamp_max(0.97 * threshold), torch.zeros(5, 6), []
    for current in x:
        spike, membrane = theirs(current, membrane)
        expected.append(spike)
    neurons = IF(30, threshold=threshold) if decay == 1 else LIF(30, threshold=threshold, decay=decay)
    spikes, left = neurons.over(x)
    assert torch.equal(spikes, torch.stack(expected)) and 0 < spikes.mean() < 1
    if decay < 1:
        torch.testing.assert_close(left, membrane.detach())


def test_what_a_step_leaves_is_given_back():
    x = currents(6)
    whole = fire(x, None, 1.0, 0.5, 1.0, 1.0)
    first = fire(x[:2], None, 1.0, 0.5, 1.0, 1.0)
    rest = fire(x[2:], first[1], 1.0, 0.5, 1.0, 1.0)
    assert torch.equal(torch.cat([first[0], rest[0]]), whole[0]) and torch.equal(rest[1], whole[1])
