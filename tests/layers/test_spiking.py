"""Networks that spike: as any network from outside, and inside what the papers say."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from orthotrace.core.errors import UserError
from orthotrace.layers.neurons import LIF
from orthotrace.layers.online import leaking
from orthotrace.layers.spiking import SpikingNetwork, spiking
from orthotrace.models.convnet import ConvNet
from orthotrace.models.mlp import MLP
from orthotrace.models.resnet import ResNet18
from orthotrace.models.spiking import SpikingMLP

WAYS = ("dsr", "bptt", "ottt")
MAKERS = {
    "mlp": lambda: MLP((1, 4, 4), 5, hidden=[12, 9]),
    "convnet": lambda: ConvNet((1, 4, 4), 5, channels=[3, 4], norm=False, bias=True),
    "batch norm": lambda: ConvNet((1, 4, 4), 5, channels=[3, 4]),
    "resnet": lambda: ResNet18((1, 4, 4), 5, channels=2),
    "pre-activation": lambda: ResNet18((1, 4, 4), 5, channels=2, preactivation=True),
}


def made(name="mlp", dtype=torch.float32, **options):
    torch.manual_seed(0)
    return spiking(MAKERS[name]().to(dtype), **options)


def images(count=6, dtype=torch.float32):
    return torch.randn(count, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("learning", WAYS)
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("encoding", ["constant", "rate", "latency"])
def test_it_is_called_as_before(name, learning, encoding):
    if learning == "ottt" and name not in ("mlp", "convnet"):
        with pytest.raises(
            UserError, match="learning: ottt learns step by step, and layer '(layer1.0.)?bn1' .* needs all steps"
        ):
            made(name, learning=learning)
        return
    model, plain = made(name, learning=learning, steps=3, encoding=encoding), MAKERS[name]()
    assert isinstance(model, type(plain)) and isinstance(model, SpikingNetwork)
    weights = {key for key, _ in model.named_parameters() if not key.endswith("threshold")}
    assert weights == {key for key, _ in plain.named_parameters()}
    for count in (1 if name in ("mlp", "convnet") else 2, 5, 5):
        logits = model(images(count))
        assert logits.shape == (count, 5)
    logits.square().sum().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in model.parameters())
    model.eval()
    once = model(images())
    # Nothing is kept between batches, whatever their size.
    model(images(2))
    assert torch.equal(model(images()), once)
    with torch.no_grad():
        assert torch.equal(model(images()), once)
    assert torch.equal(copy.deepcopy(model)(images()), once)


def test_weights_go_from_and_to_a_network_that_does_not_spike():
    plain, model = MAKERS["mlp"](), made(steps=2)
    model.load_state_dict(plain.state_dict())
    assert torch.equal(model.fc1.weight, plain.fc1.weight)


@pytest.mark.parametrize("name", ["mlp", "batch norm"])
def test_a_constant_current_is_the_same_as_its_steps(name):
    """Before the first neurons one product does for all steps."""
    model = made(name, learning="bptt", steps=4, dtype=torch.float64).eval()
    slow = made(name, learning="bptt", steps=4, encoding="rate", dtype=torch.float64).eval()
    slow.encoding = "constant"
    for one in (model, slow):
        cross_entropy(one(images(dtype=torch.float64)), torch.arange(6) % 5).backward()
    assert torch.equal(model(images(dtype=torch.float64)), slow(images(dtype=torch.float64)))
    for ours, theirs in zip(model.parameters(), slow.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def surrogate(membrane):
    smooth = torch.sigmoid(4 * (membrane - 1))
    return (membrane >= 1).to(membrane) + smooth - smooth.detach()


def own_leak_alone(model, shown, labels, decay):
    """BPTT in which a layer keeps its own membrane's leak, the reset is detached, errors go down within a step."""
    layers = [module for module in model.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    kept, total = [None] * len(layers), 0.0
    for step in shown:
        values, number = step, 0
        for module in model.children():
            if isinstance(module, LIF):
                spikes = surrogate(values)
                # What the membrane keeps remembers its weights, not what moved its inputs.
                kept[number - 1] = kept[number - 1] - spikes.detach()
                values = spikes
            elif isinstance(module, (nn.Linear, nn.Conv2d)) and module is not layers[-1]:
                left = 0 if kept[number] is None else decay * kept[number]
                kept[number] = left + nn.Module.__call__(module, values.detach())
                values, number = left + module(values), number + 1
            else:
                values = module(values)
        total = total + cross_entropy(values, labels) / len(shown)
    return total


@pytest.mark.parametrize("name", ["mlp", "convnet"])
@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_ottt_is_bptt_with_the_own_leak_alone(name, decay):
    shown, labels = images(dtype=torch.float64), torch.arange(6) % 5
    model = made(name, learning="ottt", steps=5, decay=decay, dtype=torch.float64)
    own_leak_alone(model, [shown] * 5, labels, decay).backward()
    expected = [value.grad.clone() for value in model.parameters()]
    # As a network is trained, as it is in evaluation, and step by step with the state in the caller's hands.
    for way in ("training", "evaluation", "steps"):
        model.zero_grad()
        model.train(way != "evaluation")
        if way == "steps":
            state = model.rest
            for _ in range(5):
                logits, state = model(shown, state)
                (cross_entropy(logits, labels) / 5).backward()
        else:
            over_steps = model(shown).over_steps
            cross_entropy(over_steps.flatten(0, 1), torch.cat([labels] * 5)).backward()
        for value, gradient in zip(model.parameters(), expected, strict=True):
            torch.testing.assert_close(value.grad, gradient, rtol=1e-10, atol=1e-12)


def test_bptt_goes_through_all_steps_and_layers():
    """Beside the loop that autograd makes of it."""
    shown, labels = images(dtype=torch.float64), torch.arange(6) % 5
    model = made(learning="bptt", steps=5, dtype=torch.float64)
    found, membranes = 0, [0, 0]
    for _ in range(5):
        values = shown.flatten(1)
        for number, layer in enumerate((model.fc1, model.fc2)):
            membrane = 0.5 * membranes[number] + layer(values)
            values = surrogate(membrane)
            membranes[number] = membrane - values.detach()
        found = found + model.head(values) / 5
    cross_entropy(found, labels).backward()
    expected = [value.grad.clone() for value in model.parameters()]
    model.zero_grad()
    logits = model(shown)
    torch.testing.assert_close(logits, found)
    cross_entropy(logits, labels).backward()
    for value, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(value.grad, gradient, rtol=1e-10, atol=1e-12)


def test_dsr_is_the_network_of_clipped_relus():
    """Long spike trains have the gradient of the network that their rates tend to."""
    shown, labels = images(dtype=torch.float64), torch.arange(6) % 5
    model, plain = made(learning="dsr", steps=3000, decay=1.0, dtype=torch.float64), MAKERS["mlp"]().double()
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if "threshold" not in name})
    plain.relu1, plain.relu2 = nn.Hardtanh(0, 6), nn.Hardtanh(0, 6)
    for one in (model, plain):
        cross_entropy(one(shown), labels).backward()
    torch.testing.assert_close(model(shown), plain(shown), atol=0.02, rtol=0)
    for name, value in plain.named_parameters():
        torch.testing.assert_close(model.get_parameter(name).grad, value.grad, atol=0.01, rtol=0.05)


@pytest.mark.parametrize("name", ["mlp", "convnet", "batch norm"])
def test_going_back_by_rates_changes_no_gradient(name):
    shown, labels = images(dtype=torch.float64), torch.arange(6) % 5
    model, slow = (made(name, learning="dsr", steps=4, dtype=torch.float64) for _ in range(2))
    hooks = 0
    for module in slow.modules():
        hooks += len(module._forward_hooks)
        module._forward_hooks.clear()
    # Behind batch statistics errors differ from step to step.
    assert hooks == {"mlp": 2, "convnet": 2, "batch norm": 1}[name]
    for one in (model, slow):
        cross_entropy(one(shown), labels).backward()
    assert torch.equal(model(shown), slow(shown))
    for ours, theirs in zip(model.parameters(), slow.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-12)


def test_dropout_draws_the_same_when_a_step_runs_anew():
    torch.manual_seed(0)
    model = spiking(nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3)), 4, "ottt")
    shown = torch.randn(5, 8)
    torch.manual_seed(3)
    once = model(shown)
    once.sum().backward()
    gradient = model[3].weight.grad
    torch.manual_seed(3)
    state, masks = model.rest, []
    hook = model[2].register_forward_hook(lambda module, args, output: masks.append(output.detach()))
    for _ in range(4):
        _, state = model(shown, state)
    hook.remove()
    torch.testing.assert_close(gradient, torch.stack(masks).mean(0).sum(0).expand(3, -1))


class Reordered(nn.Module):
    """Its modules are registered in another order than that of their calls; one ReLU for all."""

    def __init__(self, first: str) -> None:
        super().__init__()
        if first == "relu":
            self.relu = nn.ReLU()
        self.head, self.fc2, self.fc1 = nn.Linear(6, 5), nn.Linear(7, 6), nn.Linear(8, 7)
        if first != "relu":
            self.relu = nn.ReLU()

    def forward(self, x):
        return self.head(self.relu(self.fc2(self.relu(self.fc1(x)))))


@pytest.mark.parametrize("first", ["relu", "layers"])
def test_traces_follow_the_calls_and_not_the_order_of_registration(first):
    torch.manual_seed(0)
    mixed_up, plain = (
        Reordered(first),
        nn.Sequential(nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 5)),
    )
    for ours, theirs in zip(("fc1", "fc2", "head"), ("0", "2", "4"), strict=True):
        mixed_up.get_submodule(ours).load_state_dict(plain.get_submodule(theirs).state_dict())
    shown, labels = torch.randn(6, 8, dtype=torch.float64) * 3, torch.arange(6) % 5
    for one in (mixed_up, plain):
        spiking(one.double(), 5, "ottt", decay=0.5)
        cross_entropy(one(shown).over_steps.flatten(0, 1), torch.cat([labels] * 5)).backward()
    for ours, theirs in zip(("fc1", "fc2", "head"), ("0", "2", "4"), strict=True):
        for a, b in zip(
            *(one.parameters() for one in (mixed_up.get_submodule(ours), plain.get_submodule(theirs))), strict=True
        ):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12)
    assert [leaking(mixed_up.get_submodule(name)) for name in ("fc1", "fc2", "head")] == [0.5, 0.5, None]


def test_what_layers_learn_from():
    spikes = torch.tensor([[1.0], [0.0], [1.0], [1.0]])
    dsr = made(learning="dsr", steps=4, decay=0.5)
    weights = torch.tensor([1.0, 2, 4, 8]) / 15
    assert torch.allclose(dsr.observed("fc2", [spikes])[0], (weights @ spikes)[None])
    # A current that repeats is its own rate.
    assert dsr.observed("fc1", [spikes])[0] is spikes
    assert made(learning="bptt", steps=4).observed("fc2", [spikes])[0] is spikes
    ottt = made(learning="ottt", steps=4, decay=0.5)
    ottt(images())
    seen = torch.stack(ottt.observed("fc2", list(spikes)))
    assert seen.flatten().tolist() == [1, 0, 0.5, 1, 1.25, 1, 1.625]
    # Behind the last neurons nothing leaks.
    assert leaking(ottt.head) is None and ottt.observed("head", list(spikes)) == list(spikes)


def mixed():
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.Tanh())


@pytest.mark.parametrize(
    ("make", "options", "said"),
    [
        (MAKERS["mlp"], {"steps": 0}, "steps: input should be greater than or equal to 1 (got 0)"),
        (MAKERS["mlp"], {"steps": 2.5}, "steps: input should be a valid integer"),
        (MAKERS["mlp"], {"threshold": 0}, "threshold: input should be greater than 0 (got 0)"),
        (MAKERS["mlp"], {"threshold": -1}, "threshold: input should be greater than 0 (got -1)"),
        (MAKERS["mlp"], {"decay": 0}, "decay: input should be greater than 0 (got 0)"),
        (MAKERS["mlp"], {"decay": 1.5}, "decay: input should be less than or equal to 1 (got 1.5)"),
        (MAKERS["mlp"], {"learning": "stdp"}, "learning: input should be 'dsr', 'bptt' or 'ottt'"),
        (MAKERS["mlp"], {"neuron": "if", "decay": 0.5}, "decay: IF neurons forget nothing"),
        (MAKERS["mlp"], {"learning": "dsr", "trained": ["decay"]}, "trained: under dsr the decay is fixed"),
        (MAKERS["mlp"], {"learning": "ottt", "trained": ["decay"]}, "trained: under ottt the decay is fixed"),
        (lambda: nn.Sequential(nn.Linear(2, 2)), {}, "model: there is no nn.ReLU"),
        (mixed, {}, "model: layer '3' (Tanh) has no spiking form: only ReLU has"),
        (nn.ReLU, {}, "model: a single ReLU is no network"),
        (lambda: nn.Sequential(nn.MultiheadAttention(2, 1), nn.ReLU()), {"learning": "ottt"}, "learning: ottt learns"),
        (made, {}, "model: this network spikes already"),
    ],
)
def test_mistakes(make, options, said):
    with pytest.raises(UserError) as error:
        spiking(make(), **options)
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


@pytest.mark.parametrize("learning", WAYS)
def test_mixed_precision(learning):
    model, labels = made(learning=learning, steps=3), torch.arange(6) % 5
    with torch.autocast("cpu", torch.bfloat16):
        loss = cross_entropy(model(images()), labels)
    loss.backward()
    assert all(value.grad.isfinite().all() and value.grad.dtype == torch.float32 for value in model.parameters())


@pytest.mark.parametrize("learning", WAYS)
def test_frames_are_the_inputs_of_the_steps(learning):
    torch.manual_seed(0)
    model = SpikingMLP((8, 2, 3), 5, hidden=[12], learning=learning, steps=4, encoding="frames")
    assert model.fc1.in_features == 12
    frames = torch.randn(3, 8, 2, 3, generator=torch.Generator().manual_seed(1))
    logits = model(frames)
    # The last frame cannot be seen before its step, and the first one is.
    later, sooner = frames.clone(), frames.clone()
    later[:, 6:], sooner[:, :2] = 0, 0
    assert not torch.equal(model(later), logits) and not torch.equal(model(sooner), logits)
    model.encoding, same = "constant", frames[:, :2]
    constant = model(same)
    model.encoding = "frames"
    torch.testing.assert_close(model(same.repeat(1, 4, 1, 1)), constant)
    with pytest.raises(UserError, match="steps: the network has 3 steps"):
        SpikingMLP((8, 2, 3), 5, steps=3, encoding="frames")


class Block(nn.Module):
    """Calls its nonlinearity twice, and may add what it was shown."""

    def __init__(self, residual: bool) -> None:
        super().__init__()
        self.first, self.second, self.relu, self.residual = nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU(), residual

    def forward(self, x):
        found = self.second(self.relu(self.first(x)))
        return self.relu(found + x if self.residual else found)


class Added(nn.Sequential):
    """A Sequential with a way of its own."""

    def forward(self, input):  # noqa: A002
        return super().forward(input) + input


def shared(*, block: bool = False) -> nn.Sequential:
    """One ReLU, or a block with it, in two places."""
    relu = nn.ReLU()
    if block:
        relu = nn.Sequential(nn.Linear(4, 4), relu)
    return nn.Sequential(nn.Linear(4, 4), relu, nn.Linear(4, 4), relu, nn.Linear(4, 3))


UNLIKE_A_CHAIN = {
    "called twice": lambda: nn.Sequential(Block(residual=False), nn.Linear(4, 3)),
    "residual": lambda: nn.Sequential(Block(residual=True), nn.Linear(4, 3)),
    "own forward": lambda: Added(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)),
    "one ReLU": shared,
    "one block": lambda: shared(block=True),
}


@pytest.mark.parametrize("learning", ["dsr", "bptt", "ottt"])
@pytest.mark.parametrize("name", UNLIKE_A_CHAIN)
def test_blocks_and_shared_nonlinearities_in_a_sequential(name, learning):
    torch.manual_seed(0)
    model, images = UNLIKE_A_CHAIN[name](), 4 * torch.randn(3, 4)
    over_time = spiking(copy.deepcopy(model), steps=4, learning=learning)
    assert not any(isinstance(module, nn.ReLU) for module in over_time.modules())
    with torch.no_grad():
        # As a module of a network that is no chain, every step is computed.
        inside = spiking(Outer(model), steps=4, learning=learning)
        torch.testing.assert_close(over_time(images), inside(images), rtol=0, atol=1e-5)


class Outer(nn.Module):
    """Hands on what it is shown, by its name."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(input=x)


def test_traces_of_layers_whose_inputs_are_named():
    torch.manual_seed(0)
    layer, images = nn.Linear(4, 4), 4 * torch.randn(3, 4)
    found = []
    for first in (layer, Outer(layer)):
        model = spiking(nn.Sequential(copy.deepcopy(first), nn.ReLU(), nn.Linear(4, 3)), steps=3, learning="ottt")
        torch.manual_seed(1)
        nn.init.normal_(model[2].weight)
        nn.init.zeros_(model[2].bias)
        model(images).sum().backward()
        found.append([weight.grad for weight in model.parameters()])
    torch.testing.assert_close(found[0], found[1])
