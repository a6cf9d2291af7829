"""The protocol of a user's own loop: protecting, remember, and warnings where a step of it is left out."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, TensorDataset

from orthotrace.core.errors import UserError
from orthotrace.protection import Guard
from orthotrace.subspace import HebbianSubspace, SvdSubspace


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


def test_protection_ends_with_the_block():
    model = net()
    guard = Guard(model, SvdSubspace, rows=8)
    guard.remember(model, rand(50, 20))
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with guard.protecting(optimizer):
        train(model, optimizer)
    train(model, optimizer)
    assert guard.leaks()["0"] > 1e-6


def test_an_error_within_the_block_is_the_one_that_is_reported():
    model = net()
    guard = Guard(model, SvdSubspace, rows=4)
    guard.remember(model, rand(50, 20))
    with pytest.raises(KeyError, match="mine"), guard.protecting(torch.optim.SGD(model.parameters(), 0.1)):
        with torch.no_grad():
            model[0].weight.add_(0.1)
        raise KeyError("mine")


def test_a_head_whose_outputs_were_not_said_is_not_left_unprotected():
    model = net()
    guard = Guard(model, SvdSubspace, head="2", rows=1)
    with pytest.raises(UserError, match="head: say which outputs of '2' the task uses"):
        guard.protecting(torch.optim.SGD(model.parameters())).__enter__()


def test_outputs_of_a_task_that_is_remembered_without_a_block_are_said_too():
    guard = Guard(net(), SvdSubspace, head="2", rows=1)
    with pytest.raises(UserError, match="head: say which outputs of '2' the task uses"):
        guard.remember(guard._model[0], rand(9, 20))


def test_a_task_that_was_not_remembered_gives_a_warning():
    model = net()
    guard = Guard(model, SvdSubspace, rows=2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with guard.protecting(optimizer):
        train(model, optimizer)
    with pytest.warns(UserWarning, match="the last task was not remembered"), guard.protecting(optimizer):
        train(model, optimizer)
    guard.remember(model, rand(20, 20))
    with guard.protecting(optimizer):
        train(model, optimizer)
    guard.remember(model, rand(20, 20, seed=1))


@pytest.mark.parametrize("given", [(), ([],), (rand(9, 3),)], ids=["nothing", "no batch", "another width"])
def test_a_remember_that_fails_before_the_first_task_leaves_nothing_to_warn_of(given):
    """Warnings are errors here."""
    model = net()
    guard = Guard(model, SvdSubspace, energy=1.0)
    with pytest.raises((UserError, RuntimeError)):
        guard.remember(model, *given)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with guard.protecting(optimizer):
        train(model, optimizer)
    guard.remember(model, rand(9, 20))
    before = model(rand(9, 20))
    with guard.protecting(optimizer):
        train(model, optimizer)
    assert (model(rand(9, 20)) - before).abs().max() < 1e-12


@pytest.mark.parametrize("hold", [1.0, 0.5])
def test_the_best_weights_are_taken_back_after_the_block(hold):
    """Within it a soft projection cannot tell them from steps that it did not see."""
    model = net()
    guard = Guard(model, SvdSubspace, rows=4, hold=hold)
    guard.remember(model, rand(50, 20))
    optimizer = torch.optim.SGD(model.parameters(), 0.05)

    def trained(within: bool) -> None:
        with guard.protecting(optimizer):
            train(model, optimizer)
            best = copy.deepcopy(model.state_dict())
            train(model, optimizer)
            if within:
                model.load_state_dict(best)
        model.load_state_dict(best)
        guard.settle()
        assert all(torch.allclose(now, best[name], atol=1e-12) for name, now in model.state_dict().items())
        guard.remember(model, rand(50, 20, seed=1))

    trained(within=False)
    if hold == 1:
        trained(within=True)
    else:
        with pytest.raises(UserError, match="the best ones, are written after the block"):
            trained(within=True)


def test_a_task_that_was_not_guarded_gives_a_warning():
    model = net()
    guard = Guard(model, SvdSubspace, rows=2)
    guard.remember(model, rand(20, 20))
    # More of the same task.
    guard.remember(model, rand(20, 20, seed=1))
    train(model, torch.optim.SGD(model.parameters(), 0.1))
    with pytest.warns(UserWarning, match="no optimizer was guarded"):
        guard.remember(model, rand(20, 20, seed=2))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(20, 3).double()

    def forward(self, x, y):
        return self.layer(x + y)


def test_a_model_of_several_inputs_is_remembered_by_tuples():
    model = Two()
    guard = Guard(model, SvdSubspace, energy=1.0)
    guard.remember(model, (rand(4, 20), rand(4, 20, seed=1)))
    assert guard.subspaces["layer"].rank == 4


X = rand(60, 20)
LABELS = torch.arange(60)
# The same batches, as a user may have them.
BATCHES = {
    "batches": lambda: X.split(5),
    "list": lambda: [list(X.split(5))],
    "generator": lambda: [(x for x in X.split(5))],
    "loader": lambda: [DataLoader(TensorDataset(X, LABELS), batch_size=5)],
    "loader of inputs alone": lambda: [DataLoader(X, batch_size=5)],
    "list of a loader": lambda: [list(DataLoader(TensorDataset(X, LABELS), batch_size=5))],
    "two loaders": lambda: [DataLoader(TensorDataset(part, LABELS[:30]), batch_size=5) for part in X.split(30)],
}


@pytest.mark.parametrize("subspace", [SvdSubspace, HebbianSubspace])
@pytest.mark.parametrize("kind", BATCHES)
def test_batches_come_one_by_one_or_in_any_iterable(kind, subspace):
    model = net()
    guard, expected = (Guard(model, subspace, rows=3) for _ in range(2))
    expected.remember(model, *X.split(5))
    guard.remember(model, *BATCHES[kind]())
    assert torch.equal(guard.subspaces["0"].basis, expected.subspaces["0"].basis)


def test_tuples_of_several_inputs_come_in_an_iterable_too():
    model = Two()
    guard = Guard(model, SvdSubspace, energy=1.0)
    guard.remember(model, ((x, x) for x in X[:4].split(2)))
    assert guard.subspaces["layer"].rank == 4


@pytest.mark.parametrize("form", ["alone", "tuple", "loader"])
def test_packed_sequences_are_one_input(form):
    packed = pack_sequence([rand(3, 9), rand(2, 9, seed=1)])
    model = nn.LSTM(9, 7).double()
    guard = Guard(model, SvdSubspace, energy=1.0)
    given = {"alone": packed, "tuple": (packed,), "loader": [[packed, LABELS[:2]]]}[form]
    guard.remember(model, given)
    assert guard.subspaces["[ih_l0]"].rank == 5


class Within(nn.Module):
    """Runs in autocast by itself, as networks of accelerate do."""

    def __init__(self, layer):
        super().__init__()
        self.first, self.layer = nn.Linear(6, 8), layer

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            x = self.first(x)
            found = self.layer(x, x, x) if isinstance(self.layer, nn.MultiheadAttention) else self.layer(x)
            return found[0].float()


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.MultiheadAttention(8, 2, batch_first=True),
        lambda: nn.LSTM(8, 5, num_layers=2, batch_first=True),
        lambda: nn.GRU(8, 5, num_layers=2, bidirectional=True),
        lambda: nn.RNN(8, 5),
    ],
    ids=["attention", "LSTM", "GRU", "RNN"],
)
def test_a_network_that_runs_in_autocast_by_itself_is_remembered(layer):
    torch.manual_seed(0)
    model = Within(layer())
    guard = Guard(model, SvdSubspace, rows=2, verify=False)
    inputs = torch.rand(10, 3, 6)
    guard.remember(model, inputs)
    assert all(space.rank == 2 for space in guard.subspaces.values())
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    with guard.protecting(optimizer):
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.rand(10, 3, 6)).square().sum().backward()
            optimizer.step()
    assert all(leak < 1e-5 for leak in guard.leaks().values())
    assert any(not torch.equal(value, start[name]) for name, value in model.named_parameters())


def test_what_is_remembered_under_autocast_is_held_in_full_digits():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(48, 64), nn.Tanh(), nn.Linear(64, 3))
    guard = Guard(model, SvdSubspace, energy=1.0)
    with torch.autocast("cpu", torch.bfloat16):
        guard.remember(model, rand(16, 48).float())
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with guard.protecting(optimizer):
            model(rand(16, 48, seed=1).float()).float().sum().backward()
            optimizer.step()
        assert max(guard.leaks().values()) < 1e-6
        guard.remember(model, rand(16, 48, seed=2).float())
    for space in guard.subspaces.values():
        assert torch.allclose(space.basis @ space.basis.T, torch.eye(space.rank), atol=1e-5)


def test_a_subspace_that_learns_step_by_step_holds_more_after_more_batches():
    model = net()
    rows = torch.diag(torch.tensor([1.0] * 4 + [0.5] * 16, dtype=torch.float64))
    found = []
    for batches in (1, 40):
        guard = Guard(model, HebbianSubspace, rows=4)
        guard.remember(model, DataLoader(rows.repeat(batches, 1), batch_size=20))
        found.append(float(guard.subspaces["0"].basis[:, :4].square().sum()))
    assert found[0] < 3 < 3.9 < found[1]


def test_steps_between_tasks_that_nothing_guarded_are_refused_where_they_undo_what_is_held():
    model = net()
    guard = Guard(model, SvdSubspace, rows=2)
    guard.remember(model, rand(20, 20))
    train(model, torch.optim.SGD(model.parameters(), 0.1))
    with pytest.raises(UserError, match="layer '.' was written after guard.protecting had ended"):
        guard.protecting(torch.optim.SGD(model.parameters())).__enter__()
    # What the network does now can be remembered instead.
    with pytest.warns(UserWarning, match="the weights have moved since the last task"):
        guard.remember(model, rand(20, 20))
    with guard.protecting(torch.optim.SGD(model.parameters())):
        pass


@pytest.mark.parametrize("autocast", [False, True])
def test_steps_between_tasks_that_nothing_guarded_give_a_warning_where_they_do_not(autocast):
    model = net().float()
    guard = Guard(model, SvdSubspace, rows=2)
    guard.remember(model, rand(20, 20).float())
    with torch.no_grad():
        model[0].weight.add_(guard.subspaces["0"].project(rand(*model[0].weight.shape).float()))
    moved = pytest.warns(UserWarning, match="the weights have moved since the last task")
    with moved, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        guard.protecting(torch.optim.SGD(model.parameters())).__enter__()


@pytest.mark.parametrize("model", [net, lambda: nn.Sequential(nn.Embedding(20, 3)).double()], ids=["net", "embedding"])
def test_at_hold_0_nothing_is_missed(model):
    """Of a task that was remembered, whatever share of it is held: no warning, which would be an error here."""
    model = model()
    guard = Guard(model, SvdSubspace, energy=1.0, hold=0.0)
    inputs = torch.arange(20) if isinstance(model[0], nn.Embedding) else rand(4, 20)
    for _ in range(3):
        guard.remember(model, inputs)
        with guard.protecting(torch.optim.SGD(model.parameters(), 0.1)):
            pass


def test_a_copy_of_model_and_guard_goes_on_by_itself():
    model = net()
    guard = Guard(model, SvdSubspace, energy=1.0)
    guard.remember(model, rand(3, 20))
    twin, own = copy.deepcopy((model, guard))
    own.remember(twin, rand(3, 20, seed=1))
    old, optimizer = torch.cat([rand(3, 20), rand(3, 20, seed=1)]), torch.optim.Adam(twin.parameters(), 0.01)
    before = twin(old)
    with own.protecting(optimizer):
        train(twin, optimizer)
    assert torch.allclose(twin(old), before, atol=1e-12) and not torch.equal(twin[0].weight, model[0].weight)
    assert guard.subspaces["0"].rank == 3


def normalised() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 6)).double()


def test_settle_between_two_tasks_puts_back_normalisation_and_leaves_what_was_learned():
    model = normalised()
    guard = Guard(model, SvdSubspace, head="3", energy=1.0)
    # Before anything it does nothing.
    with torch.no_grad():
        model[3].weight.mul_(2)
    guard.outputs = range(0, 2)
    guard.settle()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), 0.001)
    with guard.protecting(optimizer):
        train(model, optimizer)
    assert all(torch.equal(model[3].weight[rows], before["3.weight"][rows]) for rows in (slice(2, 4), slice(4, 6)))
    guard.remember(model.eval(), rand(5, 20))
    guard.outputs = range(2, 4)
    learned = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()(rand(9, 20, seed=3))
    assert not torch.equal(model[1].running_mean, learned["1.running_mean"])
    guard.settle()
    for name, value in model.state_dict().items():
        assert torch.equal(value, learned[name]) or name.endswith("tracked"), name


def test_outputs_that_are_set_early_are_not_those_that_settle_leaves_free():
    model = normalised()
    guard = Guard(model, SvdSubspace, head="3", energy=1.0)
    guard.outputs = range(0, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.001)
    with guard.protecting(optimizer):
        train(model, optimizer)
    guard.outputs = range(2, 4)
    learned = model[3].weight.detach().clone()
    guard.settle()
    assert torch.equal(model[3].weight, learned) and guard.outputs == range(2, 4)
    # A task whose end was forgotten would lose its outputs.
    with pytest.raises(UserError, match="head: the last task trained outputs 0 to 1 of '3' and was not remembered"):
        guard.protecting(optimizer).__enter__()


@pytest.mark.parametrize("within", [False, True])
def test_what_the_guard_itself_froze_may_be_made_trainable(within):
    model = normalised()
    guard = Guard(model, SvdSubspace, energy=1.0)
    optimizer = torch.optim.Adam(model.parameters(), 0.001)
    for task in range(3):
        model.requires_grad_(True)
        with guard.protecting(optimizer):
            if within:
                model.requires_grad_(True)
            train(model.train(), optimizer)
        guard.remember(model.eval(), rand(5, 20, seed=task))
        if not task:
            before = model(rand(5, 20))
    assert torch.allclose(model(rand(5, 20)), before, atol=1e-12)


def test_a_block_within_a_block_is_refused():
    model = net()
    guard = Guard(model, SvdSubspace, rows=2)
    optimizers = [torch.optim.SGD(layer.parameters(), 0.1) for layer in (model[0], model[2])]
    line = r"a block of guard.protecting runs already: give it all optimizers, guard.protecting\(a, b\)"
    with guard.protecting(optimizers[0]), pytest.raises(UserError, match=line), guard.protecting(optimizers[1]):
        pass
    guard.remember(model, rand(5, 20))
    with guard.protecting(*optimizers):
        pass
