"""What a guard knows of earlier tasks counts in the next one: outputs in use, writes between two, normalisation.

Also in another process, from its state.
"""

import io
import itertools
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from orthotrace.core.errors import UserError
from orthotrace.protection import Guard
from orthotrace.subspace import NullSpace, SvdSubspace


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 5)).double()


def train(model, optimizer) -> None:
    for step in range(2):
        optimizer.zero_grad()
        model(rand(30, 20, seed=1000 + step)).square().sum().backward()
        optimizer.step()


def resumed_from(guard: Guard, make) -> Guard:
    """A guard of a new process, from what a file keeps of another."""
    torch.save(guard.state_dict(), file := io.BytesIO())
    file.seek(0)
    guard = make()
    guard.load_state_dict(torch.load(file, weights_only=True))
    return guard


# What the second task uses: the same again, because nothing was set, more of them, or others.
@pytest.mark.parametrize(
    ("second", "both"),
    [(range(0, 2), "0 to 1"), (None, "0 to 1"), (range(0, 4), "0 to 1"), (range(1, 3), "1 to 1"), (range(2, 4), "")],
)
@pytest.mark.parametrize("resumed", [False, True])
def test_outputs_of_an_earlier_task_are_not_trained_again(second, both, resumed):
    model = net()
    guard = Guard(model, SvdSubspace, head="2", energy=1.0)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    guard.outputs = range(0, 2)
    # A task in two blocks is one task.
    with guard.protecting(optimizer):
        train(model, optimizer)
    with pytest.warns(UserWarning, match="not remembered"), guard.protecting(optimizer):
        train(model, optimizer)
    guard.remember(model, rand(4, 20))
    if resumed:
        guard = resumed_from(guard, lambda: Guard(model, SvdSubspace, head="2", energy=1.0))
        guard.outputs = range(0, 2)
    if second is not None:
        guard.outputs = second
    before = model(rand(4, 20))[:, :2]
    if both:
        with pytest.raises(UserError, match=f"head: outputs {both} of '2' belong to a task that was remembered"):
            guard.protecting(optimizer).__enter__()
    else:
        with guard.protecting(optimizer):
            train(model, optimizer)
        assert torch.allclose(model(rand(4, 20))[:, :2], before, atol=1e-12)


def normalised() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 5)).double()


def embedding() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(20, 6), nn.Flatten(), nn.Linear(18, 5)).double()


class Scaled(nn.Module):
    """Something beside the layers: a scale that its user may set, and such as are saved with the network."""

    def __init__(self):
        super().__init__()
        self.net, self.scale = net(), 1.0
        self.register_buffer("mean", torch.zeros(20).double())
        self.register_buffer("observing", torch.ones(1, dtype=torch.uint8))
        self.gain = nn.Parameter(torch.ones(5).double(), requires_grad=False)

    def forward(self, x, times=1):
        return self.net((x - self.mean) * self.scale * times) * self.gain


# What is written between two tasks: model, options of the guard, inputs of the task, the write, the line.
WRITES = {
    "steps": (
        net,
        {},
        rand(4, 20),
        lambda model: train(model, torch.optim.Adam(model.parameters())),
        "'.' was written",
    ),
    "head": (net, {"head": "2"}, rand(4, 20), lambda model: model[2].bias.add_(0.1), "'2' was written"),
    "embedding": (
        embedding,
        {},
        torch.arange(12).reshape(4, 3),
        lambda model: model[0].weight.mul_(1.1),
        "'0' was written",
    ),
    "buffer": (Scaled, {}, rand(4, 20), lambda model: model.mean.add_(0.1), "buffer mean .* since the last task"),
    "frozen": (Scaled, {}, rand(4, 20), lambda model: model.gain.mul_(1.1), "parameter gain .* since the last task"),
    "affine": (normalised, {}, rand(4, 20), lambda model: model[1].weight.mul_(1.1), "weight of layer '1' has moved"),
    "statistics": (
        normalised,
        {},
        rand(4, 20),
        lambda model: model.train()(rand(9, 20, seed=3)),
        "running_mean of layer '1' has moved since the first task",
    ),
    "another model": (net, {}, rand(4, 20), lambda model: model.load_state_dict(net().state_dict()), "'.' was written"),
}


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("write", WRITES)
def test_what_is_written_between_two_tasks_is_refused_in_a_process_that_resumes_too(write, resumed):
    make, options, inputs, change, line = WRITES[write]
    model = make()
    guard = Guard(model, SvdSubspace, energy=1.0, **options)
    guard.outputs = range(0, 2) if options else None
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with guard.protecting(optimizer):
        model(inputs).square().sum().backward()
        optimizer.step()
    guard.remember(model, inputs)
    if resumed:
        guard = resumed_from(guard, lambda: Guard(model, SvdSubspace, energy=1.0, **options))
    guard.outputs = range(2, 4) if options else None
    # As it is, it goes on; a second block of the same task.
    with guard.protecting(optimizer):
        pass
    guard = resumed_from(guard, lambda: Guard(model, SvdSubspace, energy=1.0, **options)) if resumed else guard
    # The outputs of the block are known.
    guard.remember(model, inputs)
    guard = resumed_from(guard, lambda: Guard(model, SvdSubspace, energy=1.0, **options)) if resumed else guard
    guard.outputs = range(4, 5) if options else None
    with torch.enable_grad() if write == "steps" else torch.no_grad():
        change(model)
    with pytest.raises(UserError, match=line):
        guard.protecting(optimizer).__enter__()


@pytest.mark.parametrize("write", ["head", "embedding"])
def test_outputs_that_no_task_uses_and_tokens_that_none_has_seen_may_be_written(write):
    make, options, inputs, _, _ = WRITES[write]
    model = make()
    guard = Guard(model, SvdSubspace, energy=1.0, **options)
    guard.outputs = range(0, 2) if options else None
    guard.remember(model, inputs)
    guard.outputs = range(2, 4) if options else None
    with torch.no_grad():
        (model[2].weight[2:] if write == "head" else model[0].weight[12:]).mul_(1.1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.warns(UserWarning, match="have moved since the last task"), guard.protecting(optimizer):
        pass


def test_a_guard_that_resumes_after_a_block_knows_that_it_was_guarded():
    model = net()
    guard = Guard(model, SvdSubspace, rows=2)
    guard.remember(model, rand(20, 20))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with guard.protecting(optimizer):
        train(model, optimizer)
    guard = resumed_from(guard, lambda: Guard(model, SvdSubspace, rows=2))
    # No warning, which would be an error here.
    guard.remember(model, rand(20, 20, seed=1))


@pytest.mark.parametrize("inputs", [rand(20, 20), (rand(20, 20), 2)], ids=["one", "with a number"])
def test_a_guard_that_resumes_looks_at_the_inputs_of_earlier_tasks(inputs):
    model = Scaled()
    guard = Guard(model, SvdSubspace, rows=2)
    guard.remember(model, inputs)
    guard = resumed_from(guard, lambda: Guard(model, SvdSubspace, rows=2))
    # A flag may be set.
    model.observing[0] = 0
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(UserError, match="remembered task 1"), guard.protecting(optimizer):
        train(model, optimizer)
        model.scale = 1.1


def test_inputs_that_are_no_tensors_are_no_part_of_a_state():
    model = nn.LSTM(9, 7).double()
    guard = Guard(model, SvdSubspace, rows=2)
    guard.remember(model, pack_sequence([rand(3, 9), rand(2, 9, seed=1)]))
    guard.remember(model, rand(3, 2, 9))
    resumed = resumed_from(guard, lambda: Guard(model, SvdSubspace, rows=2))
    assert list(resumed.get_extra_state()["replay"][1]) == [2]


def test_a_state_without_what_the_checks_know_is_taken():
    model = net()
    guard = Guard(model, SvdSubspace, rows=2)
    guard.remember(model, rand(20, 20))
    state = {name: value for name, value in guard.state_dict().items() if isinstance(value, torch.Tensor)}
    other = Guard(model, SvdSubspace, rows=2)
    other.load_state_dict(state)
    assert other.subspaces["0"].rank == 2 and len(state) == len(guard.state_dict()) - 1


@pytest.mark.parametrize(
    ("model", "kind", "line"),
    [
        (
            net,
            NullSpace,
            r"has a SvdSubspace of \(16, 20\) for layer '0', this guard a NullSpace of .*: make the guard as it was made",
        ),
        (lambda: nn.Sequential(*net(), nn.Linear(5, 5).double()), SvdSubspace, "has nothing for layer '3'"),
    ],
)
def test_a_state_of_something_else_is_refused_in_one_line_and_nothing_is_loaded(model, kind, line):
    guard = Guard(net(), SvdSubspace, rows=2)
    guard.remember(guard._model[0], rand(20, 20))
    other = Guard(model(), kind, **({"rows": 2} if kind is SvdSubspace else {}))
    with pytest.raises(UserError, match=line):
        other.load_state_dict(guard.state_dict())
    assert not int(other.started) and not other.subspaces["0"].rank


def test_each_task_is_tested_with_its_own_normalisation():
    model = normalised()
    guard = Guard(model, SvdSubspace, energy=1.0, normalisation="task", tasks=2)
    with pytest.raises(UserError, match=r"task: one of those that were remembered, \[\] \(got 0\)"):
        guard.network(0)
    then = []
    for task in range(2):
        optimizer = torch.optim.Adam(model.train().parameters(), 0.01)
        with guard.protecting(optimizer):
            train(model, optimizer)
        guard.remember(model, rand(5, 20, seed=task))
        then.append(model.eval()(rand(5, 20, seed=task)))
    other = normalised()
    other.eval().load_state_dict(model.state_dict())
    resumed = resumed_from(guard, lambda: Guard(other, SvdSubspace, energy=1.0, normalisation="task", tasks=2))
    for one, task in itertools.product((guard, resumed), range(2)):
        assert torch.allclose(one.network(task)(rand(5, 20, seed=task)), then[task], atol=1e-12)
    assert not torch.allclose(model(rand(5, 20)), then[0], atol=1e-3)
    with pytest.raises(UserError, match="tasks: 2 have a normalisation of their own, and this is task 3"):
        guard.protecting(optimizer).__enter__()


def test_where_normalisation_is_frozen_the_model_itself_is_tested():
    model = normalised()
    guard = Guard(model, SvdSubspace, rows=1)
    guard.remember(model, rand(5, 20))
    assert guard.network(0) is model


def test_normalisation_that_was_written_is_put_back_by_settle():
    model = normalised()
    guard = Guard(model, SvdSubspace, energy=1.0)
    optimizer = torch.optim.SGD(model.parameters(), 0.001)
    with guard.protecting(optimizer):
        train(model, optimizer)
    guard.remember(model, rand(5, 20))
    before = model.eval()(rand(5, 20))
    with guard.protecting(optimizer):
        train(model.train(), optimizer)
    torch.optim.swa_utils.update_bn(rand(40, 20).split(10), model)
    with pytest.raises(UserError, match=r"running_mean of layer '1' has moved .* guard.settle\(\) puts it back"):
        guard.remember(model, rand(5, 20, seed=1))
    guard.settle()
    guard.remember(model, rand(5, 20, seed=1))
    assert torch.allclose(model.eval()(rand(5, 20)), before, atol=1e-12)


@pytest.mark.parametrize("resumed", [False, True])
def test_a_task_that_was_not_remembered_goes_on(resumed):
    """In a second block it is the same task: of the first one nothing is frozen, and what is held is held from its start."""
    model = normalised()

    def make():
        return Guard(model, SvdSubspace, energy=1.0, normalisation="task", tasks=2)

    guard, then = make(), []
    for task in range(2):
        optimizer = torch.optim.Adam(model.train().parameters(), 0.01)
        with guard.protecting(optimizer):
            train(model, optimizer)
        guard = resumed_from(guard, make) if resumed else guard
        before = [value.detach().clone() for value in model.parameters()]
        goes_on = pytest.warns(UserWarning, match="the last task was not remembered, so it goes on")
        with goes_on, guard.protecting(optimizer):
            train(model, optimizer)
        # Biases are held from the second task on.
        moved = [not torch.equal(value, was) for value, was in zip(model.parameters(), before, strict=True)]
        assert moved == [True, not task, True, True, True, not task]
        guard.remember(model, rand(5, 20, seed=task))
        then.append(model.eval()(rand(5, 20, seed=task)))
    for task in range(2):
        assert torch.allclose(guard.network(task)(rand(5, 20, seed=task)), then[task], atol=1e-12)


@pytest.mark.parametrize("change", [False, True])
@pytest.mark.parametrize("resumed", [False, True])
def test_what_is_looked_at_in_a_second_block_is_what_the_network_did_at_the_start_of_the_task(resumed, change):
    """Where little is held, and a task moves what the layers give; a hook that came between the blocks is found."""
    model = net()

    def make():
        return Guard(model, SvdSubspace, rows=2)

    guard, optimizer = make(), torch.optim.SGD(model.parameters(), 0.01)
    guard.remember(model, rand(20, 20))
    with guard.protecting(optimizer):
        train(model, optimizer)
    guard = resumed_from(guard, make) if resumed else guard
    if change:
        model[1].register_forward_hook(lambda module, args, output: 2 * output)
    goes_on = pytest.warns(UserWarning, match="goes on")
    # What was added before it was loaded, it cannot know.
    found = pytest.raises(UserError, match="layer '1' gives") if change and not resumed else nullcontext()
    with found, goes_on, guard.protecting(optimizer):
        train(model, optimizer)


@pytest.mark.parametrize("layer", [0, 2])
@pytest.mark.parametrize("then", ["block", "remember"])
def test_what_is_written_after_a_block_is_refused(layer, then):
    model = net()
    guard = Guard(model, SvdSubspace, energy=1.0, head="2")
    guard.outputs = range(0, 2)
    guard.remember(model, rand(5, 20))
    guard.outputs = range(2, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with guard.protecting(optimizer):
        train(model, optimizer)
    with torch.no_grad():
        model[layer].weight.mul_(1.1)
    with pytest.raises(UserError, match=f"layer '{layer}' was written after guard.protecting had ended"):
        guard.protecting(optimizer).__enter__() if then == "block" else guard.remember(model, rand(5, 20, seed=1))
    guard.settle()
    guard.remember(model, rand(5, 20, seed=1))


def test_outputs_are_set_before_a_block_for_the_whole_of_it():
    model = net()
    guard = Guard(model, SvdSubspace, energy=1.0, head="2")
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    guard.outputs = range(0, 2)
    with guard.protecting(optimizer):
        # As they are.
        guard.outputs = range(0, 2)
        with pytest.raises(UserError, match="outputs: set guard.outputs before the block of guard.protecting"):
            guard.outputs = range(2, 4)
        with pytest.raises(UserError, match="call guard.remember after the block of guard.protecting"):
            guard.remember(model, rand(4, 20))
    # Set early for the next task: those of the block belong to this one.
    guard.outputs = range(2, 4)
    guard.remember(model, rand(4, 20))
    with guard.protecting(optimizer):
        train(model, optimizer)
    guard.remember(model, rand(4, 20, seed=1))
    guard.outputs = range(1, 5)
    with pytest.raises(UserError, match="outputs 1 to 3 of '2' belong to a task that was remembered"):
        guard.protecting(optimizer).__enter__()


@pytest.mark.parametrize(
    "garbage", [{}, net().state_dict(), {"model": {}, "guard": {}}], ids=["empty", "model", "both"]
)
def test_what_is_no_state_of_a_guard_is_told(garbage):
    with pytest.raises(UserError, match=r"this is no state of a guard: load what guard.state_dict\(\) gave"):
        Guard(net(), SvdSubspace, rows=2).load_state_dict(garbage)
