"""Crossbars against their formulas in float64; what is written and drawn when; protection of what they hold."""

import copy

import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.data.images import Images
from orthotrace.layers.crossbar import Crossbar
from orthotrace.layers.memristor import memristor
from orthotrace.methods.ewc import fisher_diagonal
from orthotrace.models.convnet import ConvNet
from orthotrace.models.vit import ViT
from orthotrace.protection import Guard
from orthotrace.subspace import SvdSubspace, WeightedSubspace

DOUBLE = torch.float64


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def test_without_levels_and_noise_a_weight_is_what_it_was():
    weight = drawn(5, 7)
    torch.testing.assert_close(Crossbar(weight)(weight), weight, rtol=0, atol=1e-12)
    # Beyond its reach it is clipped.
    top = float(weight.abs().amax())
    torch.testing.assert_close(Crossbar(weight, reach=0.5)(weight), weight.clamp(-top / 2, top / 2), rtol=0, atol=1e-12)


def test_a_weight_is_the_nearest_difference_of_two_devices():
    weight, levels, g_min = drawn(6, 5), 5, 0.1
    made = Crossbar(weight, levels=levels, g_min=g_min, reach=1.5)
    scale = 1.5 * float(weight.abs().amax()) / (1 - g_min)
    grid = torch.linspace(g_min, 1, levels, dtype=DOUBLE)
    for row in range(6):
        for column in range(5):
            w = float(weight[row, column])
            pair = [grid[(grid - (g_min + max(sign * w, 0) / scale)).abs().argmin()] for sign in (1, -1)]
            assert made.conductances[:, row, column].tolist() == pytest.approx([float(one) for one in pair])
            assert float(made.read()[row, column]) == pytest.approx(float(scale * (pair[0] - pair[1])))


def test_noise_and_drift_have_the_sizes_that_are_asked_for():
    torch.manual_seed(0)
    weight = drawn(200, 50).abs() + 1
    made = Crossbar(weight, write_noise=0.03, reach=3.0)
    ratio = made.conductances[0] / made.wanted[0]
    assert float(ratio.mean()) == pytest.approx(1, abs=1e-3) and float(ratio.std()) == pytest.approx(0.03, rel=0.03)
    # A device that is off cannot be set below what it has then.
    assert float(made.conductances.min()) == pytest.approx(made.g_min)
    noisy = Crossbar(weight, read_noise=0.02, g_min=0.0)
    ratio = noisy.read() / weight
    assert float(ratio.std()) == pytest.approx(0.02, rel=0.03)
    old = Crossbar(weight, drift=0.05, time=100.0)
    torch.testing.assert_close(old.read(), weight * 100**-0.05, rtol=0, atol=1e-12)


def test_gradients_go_straight_through():
    weight, slope = drawn(4, 3).requires_grad_(), drawn(4, 3, seed=1)
    (Crossbar(weight, levels=3, write_noise=0.1, read_noise=0.1)(weight) * slope).sum().backward()
    assert torch.equal(weight.grad, slope)


def test_only_devices_that_are_to_have_another_level_are_written():
    torch.manual_seed(0)
    weight = drawn(4, 6)
    made = Crossbar(weight, levels=9, write_noise=0.05)
    before, target = made.conductances.clone(), made.wanted.clone()
    made(weight)
    assert torch.equal(made.conductances, before) and int(made.writes) == 1
    weight[0] = -weight[0]
    made(weight)
    same = made.wanted == target
    assert 0 < int((~same).sum()) <= 12 and int(made.writes) == 2
    assert torch.equal(made.conductances[same], before[same])
    assert not (made.conductances[~same] == before[~same]).any()


def test_reading_is_drawn_anew_in_training_and_stays_in_evaluation():
    torch.manual_seed(0)
    weight = drawn(3, 3)
    made = Crossbar(weight, read_noise=0.1)
    assert not torch.equal(made(weight), made(weight))
    made.eval()
    assert torch.equal(made(weight), made(weight))


def test_draws_go_on_from_a_state_to_the_same_bits_and_differ_between_seeds():
    weight = drawn(3, 4)

    def start(seed: int) -> Crossbar:
        torch.manual_seed(seed)
        return Crossbar(weight, write_noise=0.1, read_noise=0.1)

    def go_on(made: Crossbar) -> list[torch.Tensor]:
        return [made(weight + step) for step in (0.1, 0.2)]

    first, second = start(0), start(1)
    assert not torch.equal(first.conductances, second.conductances)
    first(weight)
    second.load_state_dict(first.state_dict())
    # What else is drawn changes nothing.
    ends = [torch.stack(go_on(made)) for made in (first, second)]
    assert torch.equal(*ends)


def test_a_fisher_information_is_that_of_the_weights_that_are_held():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)).double().eval()
    plain = copy.deepcopy(model)
    memristor(model, levels=4)
    with torch.no_grad():
        plain[0].weight.copy_(model[0].weight)
        # What is trained has moved since, and the devices have not followed.
        model[0].parametrizations.weight.original.add_(0.3)
    part = Images(torch.rand(6, 4, dtype=DOUBLE), torch.tensor([0, 1] * 3))
    of = dict(zip((name for name, _ in model.named_parameters()), fisher_diagonal(model, part, range(2)), strict=True))
    right = dict(
        zip((name for name, _ in plain.named_parameters()), fisher_diagonal(plain, part, range(2)), strict=True)
    )
    torch.testing.assert_close(of["0.parametrizations.weight.original"], right["0.weight"], rtol=1e-6, atol=0)
    assert int(model[0].parametrizations.weight[0].writes) == 1


@pytest.mark.filterwarnings("ignore:.*its weights cannot move any more:UserWarning")
@pytest.mark.parametrize("make", [lambda: ConvNet((1, 8, 8), 3, channels=[4]), lambda: ViT((1, 8, 8), 3, features=8)])
def test_ideal_weights_are_held_exactly_and_outputs_are_where_nothing_is_rounded(make):
    torch.manual_seed(0)
    model, images = make(), torch.rand(12, 1, 8, 8)
    names = memristor(model, levels=None)
    head = [name for name, one in model.named_modules() if isinstance(one, nn.Linear)][-1]
    guard = Guard(model, SvdSubspace, energy=0.9999, head=head)
    assert {name.rpartition(".out_proj")[0] or name for name in names} <= {part.name for part in guard.parts}
    for task in range(2):
        guard.outputs = range(task, task + 1)
        steps = torch.optim.Adam(model.parameters(), lr=0.01)
        before = model.eval()(images)[:, 0].detach()
        model.train()
        with guard.protecting(steps):
            for _ in range(4):
                steps.zero_grad()
                (model(images + task) - 1).square().mean().backward()
                steps.step()
        if task:
            assert max(guard.leaks().values()) < 1e-5
            assert float((model.eval()(images)[:, 0] - before).detach().abs().max()) < 2e-2 * float(before.abs().max())
        guard.remember(model.eval(), images)
        model.train()


def test_a_soft_projection_and_a_readout_on_a_crossbar():
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).double(), drawn(9, 6)
    memristor(model, levels=16, write_noise=0.05, layers=["0", "2"])
    guard = Guard(model, WeightedSubspace, energy=0.9, head="2")
    for task in range(2):
        guard.outputs = range(2 * task, 2 * task + 2)
        steps = torch.optim.SGD(model.parameters(), lr=0.1)
        start = model[2].parametrizations.weight.original.detach().clone()
        with guard.protecting(steps):
            model(inputs).square().mean().backward()
            steps.step()
        moved = (model[2].parametrizations.weight.original.detach() != start).any(1)
        assert moved.tolist() == [task == 0, task == 0, task == 1, task == 1]
        guard.remember(model, inputs)


def test_a_copy_shares_nothing():
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 2)), torch.rand(3, 5)
    memristor(model, write_noise=0.1)
    other = copy.deepcopy(model)
    assert torch.equal(model(inputs), other(inputs))
    with torch.no_grad():
        other[0].parametrizations.weight.original.neg_()
    before = model(inputs)
    assert not torch.equal(other(inputs), before) and torch.equal(model(inputs), before)


BAD = {
    "levels": ({"levels": 1}, "^levels: .*greater than or equal to 2"),
    "noise": ({"write_noise": -0.1}, "^write_noise: .*greater than or equal to 0"),
    "off": ({"g_min": 1.0}, "^g_min: .*less than 1"),
    "time": ({"time": 0.5}, "^time: .*greater than or equal to 1"),
    "name": ({"layers": ["3"]}, "^layers: there is no Linear layer or convolution '3'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_one_line(case):
    options, message = BAD[case]
    with pytest.raises(UserError, match=message):
        memristor(nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 2)), **options)


def test_a_weight_of_zeros_is_refused_and_so_is_one_that_is_computed():
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 2))
    nn.init.zeros_(model[0].weight)
    with pytest.raises(UserError, match="the weight of layer '0' is zero"):
        memristor(model)
    with pytest.raises(UserError, match="no range of conductances"):
        Crossbar(torch.zeros(2, 2))
    nn.init.ones_(model[0].weight)
    memristor(model)
    with pytest.raises(UserError, match="the weight of layer '0' is parametrised already"):
        memristor(model)
