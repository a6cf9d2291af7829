"""Protection that was once lost without a word: each case is held, or refused by name; without its fault it is held."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize, prune

from orthotrace.core.errors import UserError
from orthotrace.protection import Guard
from orthotrace.subspace import SvdSubspace, WeightedSubspace


def draws(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


OLD, NEW = draws(5, 20, seed=1), draws(40, 20, seed=2)


class Tied(nn.Module):
    """Its decoder is the encoder's weight from the other side, in one of the ways to write it."""

    def __init__(self, decode: Callable[[torch.Tensor, nn.Linear], torch.Tensor]) -> None:
        super().__init__()
        self.a = nn.Linear(20, 16)
        self.decode = decode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decode(torch.relu(self.a(x)), self.a)


class Again(nn.Module):
    """A layer that is called, and then used once more past its call."""

    def __init__(self, again: Callable[[torch.Tensor, nn.Linear], torch.Tensor]) -> None:
        super().__init__()
        self.a = nn.Linear(20, 20)
        self.again = again

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.again(torch.tanh(self.a(x)), self.a)


DECODERS = {
    "matmul": lambda h, a: h @ a.weight,
    "linear of the transposed": lambda h, a: functional.linear(h, a.weight.t()),
    "linear of .T": lambda h, a: functional.linear(h, a.weight.T),
    "mm": lambda h, a: torch.mm(h, a.weight),
    "from the left": lambda h, a: (a.weight.transpose(0, 1) @ h.t()).t(),
    "detached": lambda h, a: h @ a.weight.detach(),
    "addmm": lambda h, a: torch.addmm(torch.zeros(20, dtype=h.dtype), h, a.weight),
    "one by one": lambda h, a: torch.stack([torch.mv(a.weight.t(), one) for one in h]),
}
SECOND = {
    "forward": lambda h, a: a.forward(h),
    "linear": lambda h, a: functional.linear(h, a.weight, a.bias),
    "by keyword": lambda h, a: functional.linear(input=h, weight=a.weight),
    "matmul": lambda h, a: h @ a.weight.t() + a.bias,
    "from the left": lambda h, a: (a.weight @ h.t()).t(),
}
HELD: dict[str, Callable[[], nn.Module]] = {
    **{f"tied, {name}": (lambda way=way: Tied(way)) for name, way in DECODERS.items()},
    **{f"again, {name}": (lambda way=way: Again(way)) for name, way in SECOND.items()},
    "a convolution past its call": lambda: Convolved(),
}


class Convolved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a.forward(torch.tanh(self.a(x[:, None])))[:, 0]


def train(model: nn.Module, guard: Guard, optimizer=None, steps: int = 20, within=lambda step: None) -> None:
    optimizer = torch.optim.Adam(model.parameters(), 0.01) if optimizer is None else optimizer
    with guard.protecting(optimizer):
        for step in range(steps):
            within(step)
            optimizer.zero_grad()
            (model(NEW) - 1).square().mean().backward()
            optimizer.step()


def outputs(model: nn.Module) -> torch.Tensor:
    training = model.training
    model.eval()
    with torch.no_grad():
        found = model(OLD)
    model.train(training)
    return found


@pytest.mark.parametrize("name", HELD)
def test_a_weight_is_held_wherever_it_is_used(name):
    torch.manual_seed(0)
    model = HELD[name]().double()
    guard = Guard(model, SvdSubspace, **({"rows": 1} if "conv" in name else {"energy": 1.0}))
    guard.remember(model, OLD)
    before, start = outputs(model), model.a.weight.detach().clone()
    train(model, guard)
    assert float((model.a.weight.detach() - start).norm()) > 1e-3
    assert max(guard.leaks().values()) <= 1e-12
    if "conv" not in name:
        assert float((outputs(model) - before).abs().max()) < 1e-12


def test_what_is_held_from_the_other_side_is_part_of_the_state():
    torch.manual_seed(0)
    model = Tied(DECODERS["matmul"]).double()
    guard = Guard(model, SvdSubspace, energy=1.0)
    guard.remember(model, OLD)
    fresh = Guard(model, SvdSubspace, energy=1.0)
    fresh.load_state_dict(guard.state_dict())
    assert fresh.labels == ["a", "a, transposed"] and fresh.memory_bytes("a, transposed") > 0
    assert torch.equal(fresh.subspaces["a, transposed"].basis, guard.subspaces["a, transposed"].basis)
    before = outputs(model)
    train(model, fresh)
    assert float((outputs(model) - before).abs().max()) < 1e-12


def test_from_the_other_side_a_soft_projection_takes_its_share_of_the_step_alone():
    """Against the rule in a loop: each step is projected from the right, then from the left."""
    torch.manual_seed(0)
    model = Tied(DECODERS["matmul"]).double()
    guard = Guard(model, WeightedSubspace, energy=0.9)
    guard.remember(model, OLD)
    right, left = (guard.subspaces[label] for label in guard.labels)
    expected = model.a.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with guard.protecting(optimizer):
        for _ in range(4):
            optimizer.zero_grad()
            (model(NEW) - 1).square().mean().backward()
            step = right.project(-0.1 * model.a.weight.grad)
            expected += left.project(step.T).T
            optimizer.step()
    assert torch.allclose(model.a.weight.detach(), expected, atol=1e-13)


class Running(nn.Module):
    """A running mean of a user's own, in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(16))
        self.follows = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and self.follows:
            self.mean.mul_(0.9).add_(x.detach().mean(0), alpha=0.1)
        return x - self.mean


def net(*between: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 16), *between, nn.ReLU(), nn.Linear(16, 6)).double()


def scaled_by_a_hook() -> nn.Module:
    model = net()
    model[0].register_parameter("scale", nn.Parameter(torch.ones(16, dtype=torch.float64)))
    model[0].register_forward_hook(lambda module, args, output: output * module.scale)
    return model


def with_a_bias(change: Callable[[nn.Linear], object]) -> nn.Module:
    model = net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        change(model[0])
    return model


class Squared(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x**2


def weighed(way: Callable[[nn.Linear], torch.Tensor]) -> nn.Module:
    class Weighed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(20, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.a(x) * way(self.a)

    return Weighed().double()


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a further parameter": (scaled_by_a_hook, r"the parameter scale of layer '0' \(Linear\) would change unprotected"),
    "a pruned bias": (
        lambda: with_a_bias(lambda layer: prune.l1_unstructured(layer, "bias", 0.5)),
        "bias of layer '0' is parametrised",
    ),
    "a weight-normed bias": (
        lambda: with_a_bias(lambda layer: nn.utils.weight_norm(layer, "bias")),
        "bias of layer '0' is parametrised",
    ),
    "a parametrised bias": (
        lambda: with_a_bias(lambda layer: parametrize.register_parametrization(layer, "bias", Squared())),
        "bias of layer '0' is parametrised",
    ),
    "a norm of the weight": (lambda: weighed(lambda a: a.weight.norm()), "a weight of layer 'a' is also used by norm"),
    "a part of the weight": (lambda: weighed(lambda a: a.weight[:, 0]), "a weight of layer 'a' is also used by"),
    "a weight that is added": (
        lambda: weighed(lambda a: a.weight.mean(1)),
        "a weight of layer 'a' is also used by mean",
    ),
    "a weight that is written": (
        lambda: weighed(lambda a: a.weight.detach().clamp_(-1, 1).sum()),
        "a weight of layer 'a' is also used by clamp_",
    ),
    "a padded convolution past its call": (lambda: Circled().double(), "a weight of layer 'a' is also used by conv1d"),
    "the keys of an attention": (lambda: Attending().double(), "a weight of layer 'a' is also used by"),
    "an embedding as a decoder": (lambda: Spoken().double(), "a weight of layer 'a' is also used by"),
}


class Circled(nn.Module):
    """Its own call pads by what is at the other end, a second one by zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.conv1d(self.a(x[:, None]), self.a.weight, padding=1)[:, 0]


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.MultiheadAttention(20, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a(x, x, x)[0] + functional.linear(x, self.a.in_proj_weight[:20])


class Spoken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Embedding(9, 20)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a((x > 0).long()).mean(1) @ self.a.weight.t()


@pytest.mark.parametrize("name", REFUSED)
def test_a_use_that_is_not_known_is_refused_before_anything_is_trained(name):
    make, line = REFUSED[name]
    torch.manual_seed(0)
    model = make()
    with pytest.raises(UserError, match=line) as error:
        Guard(model, SvdSubspace, energy=1.0).remember(model, OLD)
    assert "\n" not in str(error.value)


def test_a_shape_a_type_or_a_copy_of_zeros_is_no_use():
    model = weighed(lambda a: torch.zeros_like(a.weight).sum() + a.weight.shape[0] + torch.ones(6).to(a.weight))
    Guard(model, SvdSubspace, energy=1.0).remember(model, OLD)


@pytest.mark.parametrize("follows", [True, False])
def test_a_buffer_that_moves_is_refused_at_the_first_step(follows):
    model = net(Running())
    guard = Guard(model, SvdSubspace, energy=1.0)
    train(model, guard)
    guard.remember(model, OLD)
    model[1].follows = follows
    before, seen = outputs(model), []
    if follows:
        with pytest.raises(UserError, match=r"the buffer mean of layer '1' \(Running\) has moved"):
            train(model, guard, within=seen.append)
        assert len(seen) == 1
    else:
        train(model, guard)
        assert float((outputs(model) - before).abs().max()) < 1e-12


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated", "ignore:.*reduce_range.*")
@pytest.mark.parametrize("follows", [True, False])
def test_a_quantisation_that_follows_its_inputs_is_refused(follows):
    quantised = torch.ao.quantization.FakeQuantize(
        torch.ao.quantization.MovingAverageMinMaxObserver, quant_min=0, quant_max=15
    )
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), quantised, nn.Linear(16, 6))
    guard = Guard(model, SvdSubspace, energy=1.0)
    old, new = OLD.float(), NEW.float()
    model(new)
    guard.remember(model, old)
    if not follows:
        quantised.disable_observer()
    model.eval()
    before = model(old).detach()
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)

    def learn() -> None:
        with guard.protecting(optimizer):
            for _ in range(5):
                optimizer.zero_grad()
                model(new).square().mean().backward()
                optimizer.step()

    if follows:
        with pytest.raises(UserError, match=r"the buffer .* of layer '2.*' \(.*\) has moved"):
            learn()
    else:
        learn()
        model.eval()
        # A step of the quantisation is larger than what is left of float32.
        assert float((model(old).detach() - before).abs().max()) < 1e-6


def test_a_parameter_that_is_made_trainable_within_the_block_is_refused():
    model = net(nn.PReLU())
    model[1].weight.requires_grad_(False)
    guard = Guard(model, SvdSubspace, energy=1.0)
    guard.remember(model, OLD)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)

    def unfreeze(step: int) -> None:
        if step == 10:
            model[1].weight.requires_grad_(True)

    with pytest.raises(UserError, match="the parameter 1.weight was made trainable while the task ran"):
        train(model, guard, optimizer, within=unfreeze)
    # A layer that is protected may be unfrozen at any time.
    model[1].weight.requires_grad_(False)
    model[0].requires_grad_(False)
    guard.remember(model, OLD)
    before = outputs(model)
    train(model, guard, within=lambda step: model[0].requires_grad_(step >= 10))
    assert float((outputs(model) - before).abs().max()) < 1e-12


def averaged(model: nn.Module, guard: Guard) -> None:
    """What torch's swa_utils and ASGD leave to be copied in."""
    average = torch.optim.swa_utils.AveragedModel(model)
    train(model, guard)
    with torch.no_grad():
        for value, other in zip(model.parameters(), average.module.parameters(), strict=True):
            value.copy_(0.5 * (value + other + 0.1))


def swapped(model: nn.Module, guard: Guard) -> None:
    """As schedule-free optimizers do in their eval(): other weights than those that were trained."""
    train(model, guard)
    with torch.no_grad():
        for value in model.parameters():
            value.lerp_(torch.full_like(value, 0.1), 0.1)


def loaded(model: nn.Module, guard: Guard) -> None:
    other = copy.deepcopy(model.state_dict())
    train(model, guard)
    model.load_state_dict({name: value + 0.01 for name, value in other.items()})


@pytest.mark.parametrize("write", [averaged, swapped, loaded], ids=lambda write: write.__name__)
def test_what_is_written_after_the_block_is_refused_when_the_task_is_remembered_or_settled(write):
    model = net()
    guard = Guard(model, SvdSubspace, energy=1.0)
    guard.remember(model, OLD)
    before = outputs(model)
    write(model, guard)
    assert float((outputs(model) - before).abs().max()) > 1e-3
    with pytest.raises(UserError, match="layer '.' was written after guard.protecting had ended"):
        guard.remember(model, NEW[:3])
    guard.settle()
    assert float((outputs(model) - before).abs().max()) < 1e-12
    guard.remember(model, NEW[:3])


def test_what_is_written_after_a_task_was_remembered_is_refused_when_the_next_one_begins():
    model = net()
    guard = Guard(model, SvdSubspace, energy=0.9)
    guard.remember(model, OLD)
    train(model, guard)
    guard.remember(model, NEW[:3])
    with torch.no_grad():
        model[2].bias += 0.1
    with pytest.raises(UserError, match="layer '2' was written after guard.protecting had ended"):
        train(model, guard)
