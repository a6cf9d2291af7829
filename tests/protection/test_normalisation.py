import copy

import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.layers import ConceptWhitening, spiking
from orthotrace.protection import Guard
from orthotrace.protection.normalisation import Normalisation
from orthotrace.subspace import SvdSubspace


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(27, 4), nn.LayerNorm(4))


def learn(model: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, weight_decay=0.1)
    model.train()
    for _ in range(3):
        optimizer.zero_grad()
        model(seed + torch.randn(8, 1, 5, 5)).square().sum().backward()
        optimizer.step()


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items() if key[0] in "14"}


def test_frozen_after_the_first_task_whoever_calls_train():
    model = net()
    norms = Normalisation(model)
    for task in range(3):
        norms.enter(task)
        detach = norms.attach()
        before = state(model)
        learn(model, task)
        moved = [key for key, value in state(model).items() if not torch.equal(value, before[key])]
        # Every one of them in the first task: scale, shift, mean, variance, count; scale and shift.
        assert len(moved) == (0 if task else 7)
        detach()
    assert model.train()[1].training and not model[1].weight.requires_grad
    assert norms.state_dict() == {}
    copy.deepcopy(model)


class Shrinking(torch.optim.Optimizer):
    """Goes on without gradients."""

    def __init__(self, params) -> None:
        super().__init__(params, {})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            for value in group["params"]:
                value.mul_(0.5)


def test_what_an_optimizer_does_without_gradients_is_taken_back():
    model = net().double()
    guard = Guard(model, SvdSubspace, rows=1)
    guard.remember(model, torch.ones(2, 1, 5, 5).double())
    before, weight = state(model), model[3].weight.detach().clone()
    optimizer = Shrinking(model.parameters())
    with guard.protecting(optimizer):
        optimizer.step()
    assert all(torch.equal(value, before[key]) for key, value in state(model).items())
    assert not torch.equal(model[3].weight, weight)


def test_concepts_are_not_turned_while_a_guard_holds_them():
    model = nn.Sequential(nn.Linear(4, 6), ConceptWhitening(6, ["a"]))
    guard, inputs = Guard(model, SvdSubspace, rows=1), torch.randn(20, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with guard.protecting(optimizer):
        model[1].align({"a": model[0](inputs)})
    guard.remember(model, inputs)
    with guard.protecting(optimizer), pytest.raises(UserError, match="a guard holds it since the first task"):
        model[1].align({"a": model[0](inputs)})
    model[1].align({"a": model[0](inputs)})


def test_each_task_keeps_its_own():
    model = net()
    norms = Normalisation(model, "task", tasks=2)
    kept = []
    for task in range(2):
        norms.enter(task)
        detach = norms.attach()
        learn(model, task)
        detach()
        norms.keep(model, task)
        kept.append(state(model))
    assert not torch.equal(kept[0]["1.running_mean"], kept[1]["1.running_mean"])
    for task in range(2):
        of = norms.of(model, task)
        assert all(torch.equal(value, kept[task][key]) for key, value in state(of).items())
        # The rest is the model's.
        assert torch.equal(of[0].weight, model[0].weight)
    fresh = Normalisation(net(), "task", tasks=2)
    fresh.load_state_dict(norms.state_dict())
    other = net()
    fresh.put(other, 0)
    assert all(torch.equal(value, kept[0][key]) for key, value in state(other).items())


@pytest.mark.parametrize("mode", ["frozen", "task"])
def test_a_model_without_any_is_left_alone(mode):
    model = nn.Sequential(nn.Linear(2, 2))
    norms = Normalisation(model, mode, tasks=3)
    norms.enter(1)
    norms.attach()()
    assert norms.of(model, 0) is model and norms.state_dict() == {}


@pytest.mark.parametrize(("learning", "trained"), [("dsr", None), ("bptt", ["threshold", "decay"])])
def test_thresholds_and_decays_are_trained_in_the_first_task_alone(learning, trained):
    torch.manual_seed(0)
    layers = [nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 2)]
    model = spiking(nn.Sequential(*layers), 4, learning, threshold=0.5, trained=trained)
    guard, images = Guard(model, SvdSubspace, rows=2), torch.randn(20, 6)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    kept = []
    for task in range(2):
        with guard.protecting(optimizer):
            for _ in range(5):
                optimizer.zero_grad()
                model(images + task).square().sum().backward()
                optimizer.step()
        guard.remember(model, images + task)
        kept.append([float(value.detach()) for value in model[1].parameters()])
    start = [0.5, 0.5] if learning == "bptt" else [0.5]
    assert kept[0] == kept[1] and all(value != first for value, first in zip(kept[0], start, strict=True))


class LlamaRMSNorm(nn.Module):
    """As transformers has it: derived from no normalisation of torch."""

    def __init__(self, shape: tuple[int, ...] = (6,)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x * x.square().mean(-1, keepdim=True).add(1e-6).rsqrt()


def test_a_normalisation_of_another_library_is_known_by_its_name():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 6), LlamaRMSNorm(), nn.Linear(6, 2)).double()
    guard = Guard(model, SvdSubspace, energy=1.0)
    old = torch.rand(2, 12, dtype=torch.float64)
    guard.remember(model, old)
    before, optimizer = model(old), torch.optim.Adam(model.parameters(), 0.01)
    with guard.protecting(optimizer):
        for _ in range(3):
            model(torch.rand(9, 12, dtype=torch.float64)).square().sum().backward()
            optimizer.step()
    assert torch.allclose(model(old), before, atol=1e-12)
    # What has more than a gain and a shift is something else.
    with pytest.raises(UserError, match="the parameter weight of layer '0'"):
        Guard(nn.Sequential(LlamaRMSNorm((6, 6)), nn.Linear(6, 2)), SvdSubspace, energy=1.0)
