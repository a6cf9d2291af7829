import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from orthotrace.core.errors import UserError
from orthotrace.protection import Guard
from orthotrace.subspace import HebbianSubspace, NullSpace, RecursiveSubspace, SvdSubspace, WeightedSubspace


def rand(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def net(dtype: torch.dtype = torch.float64, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 16, bias=bias), nn.ReLU(), nn.Linear(16, 5, bias=bias)).to(dtype)


def train(model, optimizer, steps: int, dtype) -> None:
    for step in range(steps):
        labels = torch.arange(30) % 5
        optimizer.zero_grad()
        cross_entropy(model(rand(30, 20, seed=1000 + step, dtype=dtype)), labels).backward()
        optimizer.step()


@pytest.mark.parametrize("kind", [SvdSubspace, HebbianSubspace])
def test_answers_to_protected_inputs_do_not_move(kind):
    model = net()
    old = rand(6, 20)
    guard = Guard(model, kind, **({"energy": 1.0} if kind is SvdSubspace else {"rows": 6}))
    guard.begin()
    guard.remember(model, *[old] * 30)
    before = model(old).detach()
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    with guard.protecting(optimizer):
        train(model, optimizer, 80, torch.float64)
    with torch.no_grad():
        change = (model(old) - before).abs().max() / before.abs().max()
        elsewhere = (model(rand(6, 20, seed=5)) - before).abs().max()
    assert float(change) < 1e-5
    assert float(elsewhere) > 0.1


def test_weights_written_between_steps_are_taken_back_too():
    model = net()
    guard = Guard(model, SvdSubspace, rows=8)
    guard.remember(model, rand(50, 20))
    guard.begin()
    with torch.no_grad():
        model[0].weight.mul_(0.5)
    assert guard.leaks()["0"] > 1e-3
    guard.enforce()
    assert max(guard.leaks().values()) <= 1e-12


def test_a_bias_stays_once_its_layer_holds_anything_and_its_leak_is_seen():
    model = net()
    guard = Guard(model, SvdSubspace, rows=1)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with guard.protecting(optimizer):
        train(model, optimizer, 3, torch.float64)
    assert float(guard.update("0")[:, -1].abs().max()) > 0
    guard.remember(model, rand(50, 20))
    with guard.protecting(optimizer):
        train(model, optimizer, 3, torch.float64)
    assert float(guard.update("0")[:, -1].abs().max()) == 0
    with torch.no_grad():
        model[0].bias.add_(1.0)
    assert guard.leaks()["0"] > 0.1


def test_state_loads_into_a_fresh_guard():
    model = net()
    guard = Guard(model, SvdSubspace, rows=8)
    guard.remember(model, rand(50, 20))
    guard.begin()
    fresh_model = net()
    fresh = Guard(fresh_model, SvdSubspace, rows=8)
    fresh.load_state_dict(guard.state_dict())
    for a, b in zip(guard.state_dict().values(), fresh.state_dict().values(), strict=True):
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a.keys() == b.keys()
    for one, keeper in ((model, guard), (fresh_model, fresh)):
        optimizer = torch.optim.SGD(one.parameters(), 0.05)
        keeper.attach(optimizer)
        train(one, optimizer, 5, torch.float64)
    assert torch.equal(model[0].weight, fresh_model[0].weight)


def test_a_layer_that_is_never_called_is_named():
    model = net()
    model.add_module("unused", nn.Linear(5, 5).double())
    guard = Guard(model, SvdSubspace, rows=2)
    with guard.taps.watching() as inputs:
        model[:3](rand(4, 20))
    with pytest.raises(UserError, match="'unused' was not called"):
        guard.observe(inputs)


class Whole(SvdSubspace):
    """Of a user, who looks at the largest input of each batch."""

    def observe(self, rows):
        super().observe(rows[rows.norm(dim=1) <= rows.norm(dim=1).max()])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (SvdSubspace, {"rows": 2}),
        (HebbianSubspace, {"rows": 2}),
        (RecursiveSubspace, {}),
        (NullSpace, {}),
        (SvdSubspace, {"rows": 2, "rule": "gradient"}),
        (Whole, {"rows": 2}),
    ],
)
def test_a_frozen_layer_that_is_never_called_is_let_be_and_held_once_it_is_used(kind, options):
    """Such as the copies of a classifier and of an embedding that peft keeps; later tasks may use and train them."""
    model = nn.Sequential(net(), nn.Identity())
    model.add_module("spare", nn.Sequential(nn.Linear(20, 5), nn.Embedding(9, 5)).double().requires_grad_(False))
    model.forward = lambda x: model[0](x)
    guard = Guard(model, kind, **options)
    guard.remember(model, rand(60, 20))
    assert guard.subspaces["0.0"].active and not guard.subspaces["spare.0"].rank
    model.spare.requires_grad_(True)
    model.forward = lambda x: model[0](x) + model.spare[0](x) + model.spare[1]((x[:, 0] > 0).long())
    with guard.protecting(torch.optim.SGD(model.parameters(), 0.1)):
        pass
    guard.remember(model, rand(60, 20, seed=1))
    assert guard.subspaces["spare.0"].active and guard.embeddings["spare.1"].capacity.rank
    # From now on it is trained, and must be called.
    model.forward = lambda x: model[0](x)
    with pytest.raises(UserError, match="'spare.*' was not called"):
        guard.remember(model, rand(60, 20, seed=1))


@pytest.mark.parametrize("kind", [SvdSubspace, HebbianSubspace])
def test_a_task_of_which_nothing_was_observed_does_not_end(kind):
    with pytest.raises(UserError, match="layer '0': no rows were observed in this task"):
        Guard(net(), kind, rows=2).consolidate()


@pytest.mark.parametrize("kind", [SvdSubspace, HebbianSubspace])
def test_inputs_that_are_not_finite_are_named(kind):
    model = net()
    guard = Guard(model, kind, rows=2)
    guard.begin()
    with pytest.raises(UserError, match="layer '0'"):
        guard.remember(model, rand(4, 20) * float("nan"))


@pytest.mark.parametrize(
    "optimizer", [lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.1), lambda p: torch.optim.AdamW(p)]
)
def test_outputs_of_other_tasks_stay_bit_by_bit_and_those_in_use_are_free(optimizer):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6)).double()
    guard = Guard(model, SvdSubspace, head="2", rows=3)
    assert list(guard.layers) == ["0"] and list(guard.subspaces) == ["0"]
    guard.outputs = range(0, 2)
    guard.remember(model, torch.randn(20, 6).double())
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    guard.outputs = range(2, 4)
    steps = optimizer(model.parameters())
    with guard.protecting(steps):
        for _ in range(5):
            steps.zero_grad()
            # A loss that would move them all.
            model(torch.randn(20, 6).double()).square().sum().backward()
            steps.step()
    for name in ("2.weight", "2.bias"):
        now, then = dict(model.named_parameters())[name].detach(), before[name]
        assert torch.equal(now[[0, 1, 4, 5]], then[[0, 1, 4, 5]]) and not torch.equal(now[2:4], then[2:4])
    assert max(guard.leaks().values()) <= 1e-12 and not torch.equal(model[0].weight, before["0.weight"])


def test_a_model_that_is_a_head_alone_is_held_too():
    model = nn.Sequential(nn.Linear(4, 4))
    guard = Guard(model, SvdSubspace, head="0", rows=1)
    guard.outputs = range(0, 2)
    start = model[0].weight.detach().clone()
    steps = torch.optim.SGD(model.parameters(), 0.1)
    with guard.protecting(steps):
        model(torch.ones(3, 4)).sum().backward()
        steps.step()
    assert torch.equal(model[0].weight[2:], start[2:]) and not torch.equal(model[0].weight[:2], start[:2])


@pytest.mark.parametrize("held", [0, 4])
def test_steps_that_call_no_hook_are_never_silent(held):
    model = net()
    guard = Guard(model, SvdSubspace, rows=held)
    guard.remember(model, rand(50, 20))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def learn():
        with guard.protecting(optimizer), torch.no_grad():
            model[0].weight.add_(0.1)

    if held:
        with pytest.raises(UserError, match="layer '0' was changed by steps that called no hook of SGD"):
            learn()
    else:
        learn()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"subspace": {"0": SvdSubspace, "hed": SvdSubspace}}, "there is no protected layer 'hed'"),
        ({"subspace": {"0": SvdSubspace}}, "no subspace for layer '2'"),
        ({"subspace": SvdSubspace, "head": "1"}, "head: there is no Linear or Conv2d layer '1'"),
        ({"subspace": SvdSubspace, "head": 2}, "head: there is no Linear or Conv2d layer '2'; did you mean '2'"),
        ({"subspace": SvdSubspace, "rule": "aplied"}, "rule: applied or gradient (got 'aplied')"),
        ({"subspace": SvdSubspace, "normalisation": "tasks"}, "normalisation: frozen or task (got 'tasks')"),
        ({"subspace": SvdSubspace, "normalisation": "task"}, "tasks: normalisation='task' keeps some for each task"),
        ({"subspace": SvdSubspace, "patches": 0}, "patches: at least 1, or None for all (got 0)"),
        ({"subspace": SvdSubspace, "energy": [0.9, 0.9]}, "energy: here one value for all layers; for others"),
        ({"subspace": SvdSubspace, "growth": {"0": 0.1}}, "growth: here one value for all layers"),
    ],
)
def test_arguments_that_cannot_be_meant(arguments, line):
    model = nn.Sequential(*net(), nn.BatchNorm1d(5).double())
    with pytest.raises(UserError) as error:
        Guard(model, **{"rows": 1} | arguments)
    assert line in str(error.value)


@pytest.mark.parametrize("outputs", [[0, 1], "ab", range(0, 9), range(4, 2), range(0, 4, 2), slice(0, 2), -1])
def test_outputs_are_a_range_within_the_head(outputs):
    guard = Guard(net(), SvdSubspace, head="2", rows=1)
    with pytest.raises(UserError, match="outputs: a range within the 5 outputs of the head"):
        guard.outputs = outputs


@pytest.mark.parametrize("kind", [WeightedSubspace, RecursiveSubspace])
def test_steps_that_a_soft_projection_did_not_see_are_an_error(kind):
    model = net()
    guard = Guard(model, kind, **({"energy": 0.9} if kind is WeightedSubspace else {"alpha": 0.1}))
    guard.remember(model, rand(40, 20))
    seen, unseen = (torch.optim.SGD(model.parameters(), 0.1) for _ in range(2))
    with guard.protecting(seen):
        train(model, seen, 3, torch.float64)
    guard.remember(model, rand(40, 20, seed=1))
    with pytest.raises(UserError, match="was changed by steps that called no hook of SGD"), guard.protecting(seen):
        train(model, seen, 3, torch.float64)
        train(model, unseen, 3, torch.float64)


class Scaled(nn.Linear):
    def forward(self, x):
        return super().forward(2 * x)


def test_a_class_derived_from_a_layer_is_refused_as_such():
    with pytest.raises(
        UserError,
        match="layer .1. is a tests.protection.test_guard.Scaled, derived from Linear with a forward of its own: what its",
    ):
        Guard(nn.Sequential(nn.Linear(3, 4), Scaled(4, 2)), SvdSubspace, rows=1)


def test_a_layer_without_a_shape_and_a_bare_parameter_are_named():
    with pytest.raises(UserError, match=r"layer '0' \(LazyLinear\) has no shape yet: run a batch"):
        Guard(nn.Sequential(nn.LazyLinear(3)), SvdSubspace, rows=1)
    model = net()
    model.register_parameter("scale", nn.Parameter(torch.ones(1)))
    with pytest.raises(UserError, match=r"the parameter scale of the model itself \(Sequential\)"):
        Guard(model, SvdSubspace, rows=1)


def test_groups_have_a_subspace_each_and_depthwise_convolutions_too():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.Tanh(), nn.Flatten(), nn.Linear(54, 5)).double()
    guard = Guard(model, SvdSubspace, energy=0.5)
    assert guard.labels == ["0[1]", "0[2]", "0[3]", "3"]
    x = rand(2, 3, 5, 5)
    # The inputs of the second group are zero: nothing of it is held.
    x[:, 1] = 0
    guard.remember(model, x)
    ranks = {label: space.rank for label, space in guard.subspaces.items()}
    assert ranks["0[2]"] == 0 and ranks["0[1]"] > 0
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with guard.protecting(optimizer):
        for seed in range(5):
            optimizer.zero_grad()
            cross_entropy(model(rand(10, 3, 5, 5, seed=seed)), torch.arange(10) % 5).backward()
            optimizer.step()
    assert max(guard.leaks().values()) <= 1e-12
    # Of zeros the answer is the bias: it stays, and the weight is free.
    moved = guard.update("0[2]")
    assert float(moved[:, -1].abs().max()) == 0 and float(moved[:, :-1].abs().min()) > 0


@pytest.mark.parametrize(("options", "moves"), [({"energy": 0.9}, False), ({"rows": 2}, False), ({"rows": 0}, True)])
@pytest.mark.parametrize("rule", ["applied", "gradient"])
def test_answers_to_inputs_that_were_all_zero_stay_unless_nothing_was_to_be_held(options, moves, rule):
    model = net()
    guard = Guard(model, SvdSubspace, rule=rule, **options)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with guard.protecting(optimizer):
        train(model, optimizer, 3, torch.float64)
    assert float(guard.update("0")[:, -1].abs().max()) > 0
    guard.remember(model, torch.zeros(5, 20).double())
    before = model(torch.zeros(1, 20).double()).detach()
    with guard.protecting(optimizer):
        train(model, optimizer, 3, torch.float64)
    # Zeros have no direction that could be held; their answer is made of biases.
    change = float((model(torch.zeros(1, 20).double()).detach() - before).abs().max())
    assert (change > 1e-6) == moves


def test_channels_last_weights_are_protected_in_place():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(36, 5)).double()
    model.to(memory_format=torch.channels_last)
    guard = Guard(model, SvdSubspace, rows=3)
    guard.remember(model, rand(4, 3, 5, 5))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    with guard.protecting(optimizer):
        for seed in range(5):
            optimizer.zero_grad()
            images = rand(10, 3, 5, 5, seed=seed).to(memory_format=torch.channels_last)
            cross_entropy(model(images), torch.arange(10) % 5).backward()
            optimizer.step()
    assert max(guard.leaks().values()) <= 1e-12 and float(guard.update("0").norm()) > 1e-3


def test_memory_is_that_of_the_subspace_and_the_weights_at_the_start():
    model = net()
    guard = Guard(model, SvdSubspace, rows=3)
    guard.remember(model, rand(50, 20))
    # 16 x (20 + 1) weights and 3 x 20 rows in 8 bytes, and a counter.
    assert guard.memory_bytes("0") == 8 * (16 * 21 + 3 * 20) + 8


def test_weights_that_diverged_are_no_leak():
    model = net(torch.float32)
    guard = Guard(model, SvdSubspace, rows=4)
    guard.remember(model, rand(50, 20, dtype=torch.float32))
    optimizer = torch.optim.SGD(model.parameters(), 1e30)
    with guard.protecting(optimizer):
        train(model, optimizer, 3, torch.float32)
    assert not model[0].weight.isfinite().all()


def test_a_subspace_that_begins_to_hold_within_a_task_is_seen():
    model = net()
    guard = Guard(model, SvdSubspace, rows=2)
    guard.begin()
    guard.enforce()
    space = guard.subspaces["0"]
    space.hold(torch.eye(20, dtype=torch.float64)[:2])
    with torch.no_grad():
        model[0].weight.add_(0.1)
    guard.enforce()
    moved = guard.update("0")[:, :-1]
    assert float(moved[:, :2].abs().max()) <= 1e-12 and torch.allclose(moved[:, 2:], torch.tensor(0.1).double())


@pytest.mark.parametrize(
    ("kind", "options"), [(WeightedSubspace, {"energy": 0.9}), (RecursiveSubspace, {"alpha": 0.1})]
)
def test_weights_that_an_average_wrote_are_no_step_of_a_soft_projection(kind, options):
    model = net()
    guard = Guard(model, kind, **options)
    guard.remember(model, rand(40, 20))
    guard.begin()
    with torch.no_grad():
        model[0].weight.add_(0.1)
    written = model[0].weight.detach().clone()
    guard.settle()
    assert torch.equal(model[0].weight, written)
    # A step of nothing is not made up for later either.
    guard.enforce()
    assert torch.equal(model[0].weight, written)
