"""What no rule foresaw is found by trying, with the layer where it begins; what is free to move is not."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.protection import Guard
from orthotrace.protection.verify import Replay
from orthotrace.subspace import RecursiveSubspace, SvdSubspace


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Gain(nn.Module):
    """Multiplies by a number that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.size * x


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = {"first": 1.0, "last": 1.0}
        self.first, self.gain, self.attention = nn.Linear(12, 8), Gain(), nn.MultiheadAttention(8, 2, batch_first=True)
        self.drop, self.last = nn.Dropout(0.5), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.gain(self.first(self.scale["first"] * x)))
        h = h + self.attention(h, h, h)[0]
        return self.last(self.scale["last"] * self.drop(h)).mean(1)


def trained(model: nn.Module, guard: Guard, change=lambda: None) -> None:
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    with guard.protecting(optimizer):
        for _ in range(5):
            optimizer.zero_grad()
            (model(rand(30, 3, 12, seed=2)) - 1).square().mean().backward()
            optimizer.step()
        change()


def prepared(**options) -> tuple[Net, Guard]:
    torch.manual_seed(0)
    model = Net().double()
    guard = Guard(model, SvdSubspace, **(options or {"energy": 0.8}))
    if guard.head is not None:
        guard.outputs = range(0, 2)
    guard.remember(model, rand(3, 3, 12))
    return model, guard


def attribute(model: Net) -> None:
    model.gain.size = 1.1


def hook(model: Net) -> None:
    model.first.register_forward_hook(lambda module, args, output: 1.1 * output)


def scaled_inputs(model: Net) -> None:
    model.last.register_forward_pre_hook(lambda module, args: (1.1 * args[0],))


def inside(model: Net) -> None:
    model.attention.out_proj.register_forward_pre_hook(lambda module, args: None)
    model.attention.num_heads = 4
    model.attention.head_dim = 2


def new_forward(model: Net) -> None:
    model.forward = lambda x: Net.forward(model, x) + 1


CHANGES = {attribute: "gain", hook: "first", scaled_inputs: "last", inside: "attention", new_forward: ""}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_moves_beside_the_weights_is_named_where_it_begins(change):
    model, guard = prepared()
    where = f"layer '{CHANGES[change]}'" if CHANGES[change] else "the model itself"
    with pytest.raises(UserError, match=f"{where} gives something else for inputs of remembered task 1") as error:
        trained(model, guard, lambda: change(model))
    assert "\n" not in str(error.value)
    # It stays so, and can be asked for.
    with pytest.raises(UserError, match=where):
        guard.verify()


class Expanded(nn.Module):
    """With a buffer that cannot be written: all of its rows are one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 8)
        self.register_buffer("shift", torch.ones(1, 8).expand(3, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + self.shift.sum(0)


def test_buffers_that_cannot_be_written_are_left_alone():
    model = Expanded()
    guard = Guard(model, SvdSubspace, rows=2)
    # Without a warning, which would be an error here.
    guard.remember(model, rand(9, 12).float())


@dataclasses.dataclass(slots=True)
class Answer:
    logits: torch.Tensor


# Outputs of which a part tells nothing, or that are no tensors: the rest is compared.
OUTPUTS = {
    "masked classes": lambda logits: torch.cat([logits, torch.full_like(logits[:, :1], -torch.inf)], dim=1),
    "dataclass": Answer,
    "mapping": lambda logits: {"logits": logits},
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_outputs_of_any_kind_are_compared(kind):
    model, guard = prepared()
    net = model.forward
    model.forward = lambda x: OUTPUTS[kind](net(x) + extra[0])
    extra, optimizer = [0.0], torch.optim.SGD(model.parameters(), 0.1)
    with guard.protecting(optimizer):
        pass
    guard.remember(model, rand(3, 3, 12, seed=1))
    refused = pytest.raises(UserError, match="the model itself gives something else for inputs of remembered task 1")
    with refused, guard.protecting(optimizer):
        extra[0] = 1.0


def test_classes_that_are_masked_otherwise_are_another_output():
    model, guard = prepared()
    net, mask = model.forward, torch.zeros(4, dtype=torch.float64)
    model.forward = lambda x: net(x) + mask
    refused = pytest.raises(
        UserError, match="other calls, shapes or infinite values; set what chooses the part of a task"
    )
    with refused, guard.protecting(torch.optim.SGD(model.parameters(), 0.1)):
        mask[0] = -torch.inf


@pytest.mark.parametrize("layer", ["first", "last"])
def test_what_the_network_does_before_a_layer_is_looked_at_too(layer):
    """In no module of its own: a number in the network's own forward."""
    model, guard = prepared()
    with pytest.raises(UserError, match=f"layer '{layer}' is given something else for inputs of remembered task 1"):
        trained(model, guard, lambda: model.scale.update({layer: 1.1}))


@pytest.mark.parametrize("options", [{"energy": 0.8}, {"rows": 0}, {"rows": 2}, {"rows": 1, "head": "last"}], ids=str)
def test_what_is_free_may_move(options):
    model, guard = prepared(**options)
    state, mode = torch.get_rng_state(), model.training
    guard.verify()
    assert torch.equal(torch.get_rng_state(), state) and model.training == mode
    before = model.last.weight.detach().clone()
    for task in range(2):
        if guard.head is not None:
            guard.outputs = range(2 + task, 3 + task)
        trained(model, guard)
        guard.remember(model, rand(3, 3, 12, seed=5 + task))
    assert not torch.equal(model.last.weight, before)


def test_a_soft_projection_is_not_taken_for_a_loss():
    torch.manual_seed(0)
    model = Net().double()
    guard = Guard(model, RecursiveSubspace)
    for task in range(2):
        trained(model, guard)
        guard.remember(model, rand(3, 3, 12, seed=5 + task))


def test_it_can_be_switched_off_and_is_without_meaning_for_a_network_that_draws():
    model, guard = prepared(energy=0.8, verify=False)
    trained(model, guard, lambda: attribute(model))

    class Drawn(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.count = getattr(self, "count", 0) + 1
            return x + self.count

    model = nn.Sequential(nn.Linear(12, 8), Drawn(), nn.Linear(8, 2)).double()
    guard = Guard(model, SvdSubspace, energy=0.8)
    with pytest.warns(UserWarning, match="inputs of task 1 cannot be replayed .its outputs differ from pass to pass"):
        guard.remember(model, rand(3, 12))
    with guard.protecting(torch.optim.SGD(model.parameters(), 0.1)):
        pass


def test_a_network_that_can_no_longer_be_replayed_is_said_to_be_once():
    model, guard = prepared()

    def broken(x):
        raise RuntimeError("no such task\nat all")

    model.forward = broken
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    warned = pytest.warns(UserWarning, match=r"inputs of task 1 cannot be replayed \(RuntimeError: no such task\): ")
    with warned, guard.protecting(optimizer):
        pass
    with pytest.warns(UserWarning, match="the last task was not remembered") as again, guard.protecting(optimizer):
        pass
    assert len(again) == 1


@pytest.mark.parametrize("change", [hook, scaled_inputs, inside], ids=lambda change: change.__name__)
def test_what_is_applied_to_a_layer_between_two_tasks_is_refused_when_the_next_begins(change):
    model, guard = prepared()
    change(model)
    # However often it is tried.
    for _ in range(2):
        refused = pytest.raises(UserError, match=f"layer '{CHANGES[change]}' gives something else for inputs of rem")
        with refused, guard.protecting(torch.optim.SGD(model.parameters(), 0.1)):
            raise AssertionError("the task began")


def test_what_a_network_does_otherwise_in_the_next_task_and_free_steps_are_no_such_change():
    model, guard = prepared()
    # A network of the user's own that does something else in each task: no layer is meant.
    model.gain.size = 1.1
    trained(model, guard)
    guard.remember(model, rand(3, 3, 12, seed=5))
    with torch.no_grad():
        # A direction that is free.
        rows = guard.subspaces["last"].basis
        free = torch.linalg.svd(rows.double(), full_matrices=True)[2][-1]
        model.last.weight += 0.5 * free.to(model.last.weight.dtype)
    with pytest.warns(UserWarning, match="no optimizer was guarded"):
        trained(model, guard)


def test_of_a_wide_network_fewer_inputs_are_kept(monkeypatch):
    model = nn.Sequential(nn.Linear(3, 1000), nn.ReLU(), nn.Linear(1000, 2))
    for size, kept in ((40_000, 4), (1_000_000, 8), (1, 1)):
        monkeypatch.setattr("orthotrace.protection.verify.BYTES", size)
        replay = Replay(model, {}, lambda: lambda: None)
        replay.keep(torch.rand(40, 3))
        assert len(replay._inputs[1][0]) == kept
    # Of a small batch too: half of its four.
    monkeypatch.setattr("orthotrace.protection.verify.BYTES", 20_000)
    replay = Replay(model, {}, lambda: lambda: None)
    replay.keep(torch.rand(4, 3))
    assert len(replay._inputs[1][0]) == 2


def test_of_many_tasks_the_first_and_the_last_are_kept_each_of_a_few_inputs():
    model = nn.Linear(3, 2)
    replay = Replay(model, {}, lambda: lambda: None)
    for task in range(12):
        replay.keep(torch.full((40, 3), float(task)))
    kept = replay._inputs
    assert sorted(kept) == [1, *range(6, 13)] and all(len(inputs[0]) == 8 for inputs in kept.values())
    replay.keep(torch.ones(40, 3), torch.ones(2_000_000))
    assert 13 not in replay._inputs


class Fixed(nn.Module):
    """Takes inputs with the time first, of one length."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4 * 20, 2)
        self.register_buffer("places", rand(20, 1, 3, seed=3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x + self.places).transpose(0, 1).flatten(1))


class Carrying(nn.Module):
    """Carries its state from batch to batch, in an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.state = nn.GRUCell(12, 8), None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.state = self.cell(x, self.state)
        return self.state


def test_inputs_that_cannot_be_cut_are_kept_whole():
    for model, inputs in ((Fixed(), rand(20, 3, 3)), (nn.Linear(20, 16), rand(20))):
        model = model.double()
        guard = Guard(model, SvdSubspace, rows=1)
        guard.remember(model, inputs)
        with guard.protecting(torch.optim.SGD(model.parameters(), 0.1)):
            pass
        assert guard._replay is not None and torch.equal(guard._replay._inputs[1][0], inputs)


def test_a_state_that_is_carried_along_is_left_as_it_was():
    model = Carrying().double()
    guard = Guard(model, SvdSubspace, rows=2)
    with pytest.warns(UserWarning, match="inputs of task 1 cannot be replayed"):
        guard.remember(model, rand(9, 12))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for start in (None, rand(30, 8, seed=4)):
        model.state = start
        with guard.protecting(optimizer):
            assert model.state is start
            model(rand(30, 12, seed=2)).square().mean().backward()
            optimizer.step()
            model.state = model.state.detach()
        assert model.state.shape == (30, 8)
        if start is None:
            with pytest.warns(UserWarning, match="inputs of task 2 cannot be replayed"):
                guard.remember(model, rand(30, 12, seed=3))


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(x)))


def test_compiling_goes_on_after_it():
    """Hooks that come and go would have torch compile until it gives up, for every network of the process."""
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    torch._dynamo.reset()
    # (A second network of the same type would need no code of its own.)
    for number, dtype in enumerate((torch.float64, torch.float32)):
        model: Any = torch.compile(Plain().to(dtype), backend=backend)
        x = rand(3, 12).to(dtype)
        model(x)
        assert len(compiled) == number + 1
        guard = Guard(model, SvdSubspace, energy=0.8)
        for _ in range(4):
            guard.remember(model, x)
            with guard.protecting(torch.optim.SGD(model.parameters(), 0.1)):
                pass
        assert len(compiled) == number + 1
