"""Nothing leaks: every optimizer of conf/, plain and with whatever else writes a weight, over every kind of layer."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
from composed import GROUPS
from optimizers import NAMES, OPTIMIZERS
from torch import nn
from torch.nn.functional import cross_entropy

from orthotrace import linalg
from orthotrace.core.errors import UserError
from orthotrace.protection import Guard
from orthotrace.subspace import (
    ComplementSubspace,
    HebbianSubspace,
    NullSpace,
    RecursiveSubspace,
    SvdSubspace,
    WeightedSubspace,
    base,
)
from orthotrace.training.averaging import Average


def test_conf_has_these_optimizers_and_no_others():
    assert sorted(GROUPS["optimizer"]) == sorted(NAMES)


class Net(nn.Module):
    """Stride 2, dilation 2 with groups 2, layers called twice, biases, and a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.strided = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.dilated = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2)
        self.twice = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.Tanh())
        self.hidden = nn.Linear(36, 36)
        self.head = nn.Linear(36, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.strided(x))
        x = x + torch.tanh(self.dilated(x))
        x = self.twice(self.twice(x)).flatten(1)
        return self.head(torch.tanh(self.hidden(torch.tanh(self.hidden(x)))))


def data(seed: int, dtype: torch.dtype, count: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 5
    return torch.randn(count, 1, 5, 5, generator=draws, dtype=torch.float64).to(dtype), labels


def steps(network, optimizer, dtype, count: int = 12, clip=None, accumulate: int = 1, autocast: bool = False) -> None:
    for step in range(count):
        optimizer.zero_grad()
        for part in range(accumulate):
            images, labels = data(100 * step + part, dtype)
            with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
                loss = cross_entropy(network(images), labels)
            loss.backward()
        if clip is not None:
            clip(network.parameters())
        optimizer.step()


def prepared(dtype: torch.dtype, **options) -> tuple[Net, Guard]:
    """A network after a first task, of whose inputs something is held in every layer."""
    torch.manual_seed(0)
    model = Net().to(dtype)
    guard = Guard(model, SvdSubspace, **(options or {"energy": 0.8}))
    guard.remember(model, data(9999, dtype, 4)[0])
    assert all(0 < space.rank < space.features for space in guard.subspaces.values())
    return model, guard


def plain(model, make, guard, dtype):
    optimizer = make(model.parameters())
    with guard.protecting(optimizer):
        steps(model, optimizer, dtype)


def weight_decay(model, make, guard, dtype):
    optimizer = make(model.parameters(), weight_decay=0.1)
    with guard.protecting(optimizer):
        steps(model, optimizer, dtype)


def clipped_by_norm(model, make, guard, dtype):
    optimizer = make(model.parameters())
    with guard.protecting(optimizer):
        steps(model, optimizer, dtype, clip=lambda values: nn.utils.clip_grad_norm_(values, 0.1))


def clipped_by_value(model, make, guard, dtype):
    optimizer = make(model.parameters())
    with guard.protecting(optimizer):
        steps(model, optimizer, dtype, clip=lambda values: nn.utils.clip_grad_value_(values, 1e-3))


def accumulated(model, make, guard, dtype):
    optimizer = make(model.parameters())
    with guard.protecting(optimizer):
        steps(model, optimizer, dtype, accumulate=3)


def carried_over(model, make, guard, dtype):
    optimizer = make(model.parameters())
    # What an optimizer remembers belongs to steps that nothing protected, and that were undone.
    before = copy.deepcopy(model.state_dict())
    steps(model, optimizer, dtype, 4)
    model.load_state_dict(before)
    with guard.protecting(optimizer):
        steps(model, optimizer, dtype)


def averaged(model, make, guard, dtype):
    optimizer = make(model.parameters())
    average = Average(model, 0.9)
    with guard.protecting(optimizer):
        average.restart()
        detach = average.attach([optimizer])
        steps(model, optimizer, dtype)
        detach()
    average.swap()
    guard.settle()


def compiled(model, make, guard, dtype):
    optimizer = make(model.parameters())
    network = torch.compile(model, backend="aot_eager")
    with guard.protecting(optimizer):
        steps(network, optimizer, dtype)


def bf16_mixed(model, make, guard, dtype):
    optimizer = make(model.parameters())
    with guard.protecting(optimizer):
        steps(model, optimizer, dtype, autocast=True)


WAYS = [
    plain, weight_decay, clipped_by_norm, clipped_by_value, accumulated, carried_over, averaged, compiled, bf16_mixed,
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=["64", "32"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_nothing_leaks(name, way, dtype, bound):
    if way is bf16_mixed and dtype is torch.float64:
        dtype, bound = torch.float32, 1e-6
    model, guard = prepared(dtype)
    way(model, OPTIMIZERS[name], guard, dtype)
    leaks = guard.leaks()
    assert len(leaks) == 6 and max(leaks.values()) <= bound
    for label in guard.labels:
        moved = guard.update(label)
        # It is learned all the same, outside of what is held; the biases stay.
        assert float(moved.norm()) > 1e-4
        if guard.parts[guard.labels.index(label)].bias is not None:
            assert float(moved[:, -1].abs().max()) == 0


def test_large_matrices_are_held_and_measured_some_rows_at_a_time(monkeypatch):
    """Matrices, groups of a convolution and biases: the same weights, and the same leak where there is one."""
    found = []
    for entries in (linalg.AT_ONCE, 40):
        monkeypatch.setattr(linalg, "AT_ONCE", entries)
        monkeypatch.setattr(base, "AT_ONCE", entries)
        model, guard = prepared(torch.float64)
        carried_over(model, OPTIMIZERS["adamw"], guard, torch.float64)
        assert max(guard.leaks().values()) <= 1e-12
        weights = [value.detach().clone() for value in model.parameters()]
        with torch.no_grad():
            for value in model.parameters():
                value += 0.1 * torch.arange(value.numel()).sin().reshape(value.shape)
        found.append((weights, guard.leaks()))
    (whole, leaks), (by_rows, same) = found
    assert all(torch.allclose(one, other, atol=1e-12) for one, other in zip(whole, by_rows, strict=True))
    assert min(leaks.values()) > 1e-3 and same == pytest.approx(leaks, rel=1e-10)


@pytest.mark.parametrize("kind", [ComplementSubspace, HebbianSubspace, NullSpace])
def test_nor_does_another_subspace(kind):
    torch.manual_seed(0)
    model = Net().double()
    options = {"factor": 2.0} if kind is NullSpace else {"rows": 4}
    guard = Guard(model, kind, **options)
    guard.remember(model, data(9999, torch.float64, 40)[0])
    carried_over(model, OPTIMIZERS["adamw"], guard, torch.float64)
    assert max(guard.leaks().values()) <= 1e-12
    assert min(space.rank for space in guard.subspaces.values()) > 0


@pytest.mark.whole
def test_by_inductor_too():
    """A small network: each of its kernels is compiled by a C++ compiler, which takes seconds."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(25, 8), nn.Tanh(), nn.Linear(8, 5))
    guard = Guard(model, SvdSubspace, energy=0.8)
    guard.remember(model, data(9999, torch.float32, 4)[0])
    optimizer = OPTIMIZERS["adam"](model.parameters(), weight_decay=0.1)
    network = torch.compile(model)
    with guard.protecting(optimizer):
        steps(network, optimizer, torch.float32, 4)
    assert max(guard.leaks().values()) <= 1e-6 and float(guard.update("1").norm()) > 1e-4


def test_without_the_guard_the_measure_shows_a_leak():
    model, guard = prepared(torch.float64)
    guard.begin()
    steps(model, torch.optim.SGD(model.parameters(), 0.01), torch.float64)
    assert min(guard.leaks().values()) > 1e-5


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov"])
def test_the_rule_of_the_papers_is_exact_for_plain_sgd(name):
    model, guard = prepared(torch.float64, energy=0.8, rule="gradient")
    plain(model, OPTIMIZERS[name], guard, torch.float64)
    assert max(guard.leaks().values()) <= 1e-12
    with pytest.warns(UserWarning, match="the last task was not remembered, so it goes on"):
        carried_over(model, OPTIMIZERS[name], guard, torch.float64)
    assert max(guard.leaks().values()) <= 1e-12


@pytest.mark.parametrize(
    ("name", "way"),
    [("adam", plain), ("sgd", weight_decay), ("rmsprop", plain), ("nadam", plain), ("adagrad", carried_over)],
)
def test_the_rule_of_the_papers_warns_where_it_leaks(name, way):
    model, guard = prepared(torch.float64, energy=0.8, rule="gradient")
    with pytest.warns(UserWarning, match=r"the projected gradient of layer '\S+' leaked .* rule 'applied' is exact"):
        way(model, OPTIMIZERS[name], guard, torch.float64)


def test_inputs_that_are_held_get_the_same_answers_during_a_whole_task():
    """Every layer, its bias included, on rows inside its subspace."""
    model, guard = prepared(torch.float64)
    draws = torch.Generator().manual_seed(5)
    before = []
    for part, space in zip(guard.parts, guard.subspaces.values(), strict=True):
        rows = torch.randn(20, space.rank, generator=draws, dtype=torch.float64) @ space.basis
        before.append((rows, answers(part, rows)))
    optimizer = OPTIMIZERS["adamw"](model.parameters(), weight_decay=0.1)
    worst = 0.0
    with guard.protecting(optimizer):
        for _ in range(10):
            steps(model, optimizer, torch.float64, 5)
            for part, (rows, old) in zip(guard.parts, before, strict=True):
                worst = max(worst, float((answers(part, rows) - old).norm() / old.norm()))
    assert worst < 1e-5
    assert min(float(guard.update(label).norm()) for label in guard.labels) > 0.05


def answers(part, rows: torch.Tensor) -> torch.Tensor:
    outputs = rows @ part.weight.T
    return outputs if part.bias is None else outputs + part.bias


FUSED = ("sgd", "momentum", "nesterov", "adagrad", "adam", "adamw")


@pytest.mark.parametrize(
    ("name", "kernel"), [*((name, "fused") for name in FUSED), *((name, "foreach") for name in OPTIMIZERS)]
)
def test_nor_do_kernels_over_all_weights_at_once(name, kernel):
    found = []
    for options in ({}, {kernel: True}):
        model, guard = prepared(torch.float64)
        with guard.protecting(optimizer := OPTIMIZERS[name](model.parameters(), **options)):
            assert optimizer.param_groups[0].get(kernel) is (True if options else None)
            steps(model, optimizer, torch.float64)
        assert max(guard.leaks().values()) <= 1e-12
        found.append(model.state_dict())
    for key, value in found[0].items():
        torch.testing.assert_close(found[1][key], value, rtol=1e-9, atol=1e-11)


OTHERS = {
    "ASGD": {"lr": 0.1},
    "Adamax": {"lr": 0.01},
    "Adafactor": {"lr": 0.05},
    "RAdam": {"lr": 0.01},
    "Rprop": {"lr": 0.01},
    "LBFGS": {"lr": 0.1, "max_iter": 3},
}


@pytest.mark.parametrize("name", OTHERS)
def test_nor_does_any_other_optimizer_of_torch(name):
    model, guard = prepared(torch.float64)
    optimizer = getattr(torch.optim, name)(model.parameters(), **OTHERS[name])
    images, labels = data(1, torch.float64)

    def loss():
        optimizer.zero_grad()
        value = cross_entropy(model(images), labels)
        value.backward()
        return value

    with guard.protecting(optimizer):
        for _ in range(5):
            optimizer.step(loss)
    assert max(guard.leaks().values()) <= 1e-12
    assert min(float(guard.update(label).norm()) for label in guard.labels) > 1e-4


@pytest.mark.parametrize("name", ["adam", "rmsprop", "nadam", "adamw"])
def test_what_the_rule_of_the_papers_carries_over_stays_finite(name):
    model, guard = prepared(torch.float64, energy=0.8, rule="gradient")
    with pytest.warns(UserWarning, match="leaked"):
        carried_over(model, OPTIMIZERS[name], guard, torch.float64)
    assert all(value.isfinite().all() for value in model.parameters())


@pytest.mark.parametrize("kind", [WeightedSubspace, RecursiveSubspace])
def test_a_guard_called_by_hand_takes_its_share_of_each_step(kind):
    def run(by_hand: bool) -> torch.Tensor:
        torch.manual_seed(0)
        model = Net().double()
        guard = Guard(model, kind, **({"energy": 0.8} if kind is WeightedSubspace else {"alpha": 0.1}))
        guard.remember(model, data(9999, torch.float64, 4)[0])
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        if not by_hand:
            with guard.protecting(optimizer):
                steps(model, optimizer, torch.float64, 4)
        else:
            guard.begin()
            for step in range(4):
                images, labels = data(100 * step, torch.float64)
                optimizer.zero_grad()
                cross_entropy(model(images), labels).backward()
                optimizer.step()
                guard.enforce()
        return model.hidden.weight.detach()

    assert torch.equal(run(by_hand=True), run(by_hand=False))


@pytest.mark.parametrize("kind", [SvdSubspace, WeightedSubspace, RecursiveSubspace])
@pytest.mark.parametrize("given", [True, False])
def test_steps_of_an_optimizer_that_the_guard_does_not_know_are_never_silent(kind, given):
    torch.manual_seed(0)
    model = Net().double()
    guard = Guard(model, kind, **({"alpha": 0.1} if kind is RecursiveSubspace else {"energy": 0.8}))
    guard.remember(model, data(9999, torch.float64, 4)[0])
    known = torch.optim.SGD(model.head.parameters(), 0.1)
    other = torch.optim.SGD([*model.strided.parameters(), *model.hidden.parameters()], 0.1)
    if kind is SvdSubspace or not given:
        with pytest.raises(UserError, match="was changed by steps that called no hook of SGD"), guard.protecting(known):
            images, labels = data(1, torch.float64)
            cross_entropy(model(images), labels).backward()
            if given:
                known.step()
            other.step()


def test_outputs_of_other_tasks_that_moved_unseen_are_an_error():
    model = nn.Sequential(nn.Linear(4, 4))
    guard = Guard(model, SvdSubspace, head="0", rows=1)
    guard.outputs = range(0, 2)
    with (
        pytest.raises(UserError, match="'the head' was changed"),
        guard.protecting(torch.optim.SGD(model.parameters(), 0.1)),
        torch.no_grad(),
    ):
        model[0].weight.add_(1)


def test_a_frozen_bias_under_the_rule_of_the_papers():
    model, guard = prepared(torch.float64, energy=0.8, rule="gradient")
    model.hidden.bias.requires_grad_(False)
    plain(model, OPTIMIZERS["sgd"], guard, torch.float64)
    assert max(guard.leaks().values()) <= 1e-12
