"""What a user gets wrong with a guard is reported in one line."""

import copy
import functools
import warnings

import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.protection import Guard, checks
from orthotrace.subspace import SvdSubspace, WeightedSubspace


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 5)).double()


class Silent:
    """An optimizer that is none of torch's."""

    def __init__(self, parameters):
        self.parameters = list(parameters)


def test_an_optimizer_without_hooks_is_refused():
    model = net()
    guard = Guard(model, SvdSubspace, rows=2)
    with (
        pytest.raises(UserError, match="Silent has no register_step_post_hook"),
        guard.protecting(Silent(model.parameters())),
    ):
        pass


CHANGES = {
    "replaced": lambda model: model.__setitem__(2, nn.Linear(16, 7).double()),
    "added": lambda model: model.append(nn.Linear(5, 5).double()),
    "half": lambda model: model.bfloat16(),
    "unfrozen": lambda model: model[3].weight.requires_grad_(True),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_model_that_changed_is_noticed(change):
    model = net()
    model.append(nn.PReLU().double())
    model[3].weight.requires_grad_(False)
    guard = Guard(model, SvdSubspace, rows=1)
    guard.remember(model, rand(20, 20))
    CHANGES[change](model)
    line = {"half": "rounds its protection away", "unfrozen": "would change unprotected"}.get(
        change, "is not the one that this guard was made for"
    )
    with pytest.raises(UserError, match=line):
        guard.protecting(torch.optim.SGD(model.parameters())).__enter__()


@pytest.mark.parametrize("given", ["text", 3, {"x": rand(8, 20)}, (), [rand(8, 20), "text"], [[]], rand(8, 20).numpy()])
def test_batches_that_are_no_inputs_are_refused_with_the_way_out(given):
    model = net()
    guard = Guard(model, SvdSubspace, rows=1)
    with pytest.raises(
        UserError, match=r"of other batches: guard.remember\(model, \(batch\[...\] for batch in loader\)\)"
    ):
        guard.remember(model, given)
    # What is refused at once was not observed.
    assert not int(guard.shown)


def test_full_groups_are_named_once():
    model = nn.Sequential(nn.Conv2d(4, 4, 2, groups=4), nn.Flatten(), nn.Linear(64, 2)).double()
    guard = Guard(model, SvdSubspace, energy=1.0)
    lines = messages(lambda: guard.remember(model, rand(40, 4, 5, 5)))
    assert [line for line in lines if "cannot move" in line] == [
        "layer '0', 4 groups: all of its 4 directions are held, its weights cannot move any more; lower the energy or the "
        "rows, or widen the layer before it"
    ]


def messages(do) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        do()
    return [str(one.message) for one in found]


def test_a_layer_that_becomes_full_is_named_once():
    model = net()
    guard = Guard(model, SvdSubspace, rows=[16, 5])
    guard.remember(model, rand(16, 20))
    lines = messages(lambda: guard.remember(model, rand(50, 20, seed=2)))
    assert lines[0] == "layer '0': 5 rows asked for task 2, 4 of 20 directions are free: 4 are taken"
    full = [
        line
        for line in lines
        if line.startswith("layer '0': all of its 20 directions are held, its weights cannot move")
    ]
    assert len(full) == 1
    assert not any("cannot move" in line for line in messages(lambda: guard.remember(model, rand(50, 20, seed=3))))


def test_a_guard_without_an_optimizer_or_with_an_instance_of_a_subspace_is_refused():
    model = net()
    with pytest.raises(UserError, match="subspace: give the class"):
        Guard(model, SvdSubspace(20, rows=2))
    with pytest.raises(UserError, match="no optimizer to protect from"):
        Guard(model, SvdSubspace, rows=2).protecting().__enter__()


def test_a_deep_copy_of_the_model_is_another_model():
    model = net()
    guard = Guard(model, SvdSubspace, rows=2)
    guard.remember(model, rand(20, 20))
    other = copy.deepcopy(model)
    with pytest.raises(UserError, match="no optimizer trains a layer that this guard protects"):
        guard.protecting(torch.optim.SGD(other.parameters())).__enter__()
    with pytest.raises(UserError, match="not the model that the guard was made for"):
        guard.remember(other, rand(20, 20))
    for none in ((), ([],), (iter(()),)):
        with pytest.raises(UserError, match="no inputs of the task"):
            guard.remember(model, *none)
    # A part of the model may be trained, by several optimizers.
    with guard.protecting(torch.optim.SGD(model[2].parameters())):
        pass


class Doubling(SvdSubspace):
    """Says of itself that it projects, and takes twice what is inside."""

    def component(self, update: torch.Tensor) -> torch.Tensor:
        return 2 * super().component(update)


def test_a_subspace_that_does_not_project_is_refused():
    model = net()
    guard = Guard(model, Doubling, rows=2)
    with pytest.raises(UserError, match="layer '0': Doubling does not project.*set exact = False"):
        guard.remember(model, rand(20, 20))


def test_what_differs_between_processes_is_refused(monkeypatch):
    model = net()
    guard = Guard(model, SvdSubspace, rows=2)
    monkeypatch.setattr(checks, "rank_and_world_size", lambda: (1, 2))
    monkeypatch.setattr(checks, "all_reduce_sum", lambda *values: None)
    guard.remember(model, rand(20, 20))
    # What the first process holds is something else.
    monkeypatch.setattr(checks, "broadcast_from_first", lambda value: value.add_(1e-3))
    with pytest.raises(UserError, match="SvdSubspace differs between processes: in consolidate, sum"):
        guard.remember(model, rand(20, 20, seed=1))


def test_a_layer_under_a_soft_projection_is_never_called_full():
    model = net()
    guard = Guard(model, WeightedSubspace, energy=1.0)
    # Warnings are errors.
    guard.remember(model, rand(60, 20))
    assert not guard.subspaces["0"].free


class Wrapper(torch.optim.Optimizer):
    """As accelerate has it: an Optimizer whose own __init__ was never called."""

    def __init__(self, optimizer):
        self.optimizer = optimizer


def test_a_wrapper_of_an_optimizer_without_hooks_of_its_own_is_refused():
    model = net()
    guard = Guard(model, SvdSubspace, rows=2)
    optimizer = Wrapper(torch.optim.SGD(model.parameters(), 0.1))
    with (
        pytest.raises(UserError, match=r"Wrapper wraps an optimizer .* such as optimizer\.optimizer"),
        guard.protecting(optimizer),
    ):
        pass
    guard.remember(model, rand(9, 20))
    with guard.protecting(optimizer.optimizer):
        pass


def test_options_that_a_subspace_needs_or_does_not_know_are_named():
    class Floor(SvdSubspace):
        def __init__(self, features, *, floor, dtype=torch.float32):
            super().__init__(features, rows=1, dtype=dtype)

    with pytest.raises(
        UserError, match=r"^Floor: missing a required argument: 'floor'; give what it takes by its name"
    ):
        Guard(net(), Floor)
    with pytest.raises(UserError, match="^Floor: got an unexpected keyword argument 'flor'"):
        Guard(net(), Floor, floor=1.0, flor=1.0)
    with pytest.raises(UserError, match="^the subspace: missing a required argument: 'floor'"):
        Guard(net(), functools.partial(Floor))
    Guard(net(), functools.partial(Floor, floor=1.0))
