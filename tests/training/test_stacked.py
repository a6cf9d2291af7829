"""Networks trained together: each as it is alone, but for rounding."""

import csv

import pytest
import torch
from composed import StopError
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds, derived
from orthotrace.data.augment import Augmentation
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted, Split
from orthotrace.layers.stack import Stack
from orthotrace.methods.ewc import EWC
from orthotrace.methods.finetune import Finetune
from orthotrace.methods.gpm import GPM
from orthotrace.methods.hlop import HLOP
from orthotrace.methods.memory import MemoryOptions
from orthotrace.methods.replay import ExperienceReplay
from orthotrace.methods.sgp import SGP
from orthotrace.models.convnet import ConvNet
from orthotrace.models.mlp import MLP
from orthotrace.protection.guard import Projector
from orthotrace.protection.stacked import StackedProjector
from orthotrace.results.run_folder import Run, read_checkpoint
from orthotrace.subspace import SvdSubspace
from orthotrace.training.experiment import Experiment
from orthotrace.training.regularizer import Regularizer
from orthotrace.training.schedules import Plateau, Step
from orthotrace.training.settings import Components, Optimization, Training
from orthotrace.training.stacked import StackedExperiment
from orthotrace.training.tracking import Tracker

SEEDS = 4
METHODS = {
    "finetune": Finetune,
    "gpm": lambda: GPM(energy=0.9, samples=60),
    "hlop": lambda: HLOP(rows=3, patches=50),
    "er": lambda: ExperienceReplay(MemoryOptions(size=40)),
    "ewc": lambda: EWC(samples=40),
}
# float32 rounds to 6e-8; products are summed in another order, and some 40 steps at momentum .9 pass the difference on,
# most of all through batch normalisation, whose statistics divide by small numbers.
CLOSE = 2e-4


def model_of(kind, stream) -> nn.Module:
    if kind == "mlp":
        return MLP(stream.shape, len(stream.classes), hidden=[16, 12])
    return ConvNet(stream.shape, len(stream.classes), channels=[3, 4])


def made(folder, seed, method="finetune", kind="mlp", training=None, tracker=None, make=None, model=None, **options):
    small = digits(limit=30)
    stream = Split(small, tasks=2, classes_per_task=2, scenario="task", seed=seed, validation=0.2)
    if kind == "mlp":
        stream = Permuted(small, tasks=3, seed=seed, validation=0.2)
    torch.manual_seed(derived(seed))
    parts = Components(
        stream,
        model or model_of(kind, stream),
        (make or METHODS[method])(),
        Seeds(*[seed] * 6),
        {"method": method, "stream": kind},
    )
    given = {"optimizer": lambda parameters: torch.optim.SGD(parameters, 0.05, 0.9), **options}
    return Experiment(
        Run(folder / f"seed{seed}"), parts, Optimization(**given), training or Training.of(2, 32),
        {"accelerator": "cpu", "devices": 1}, tracker,
    )  # fmt: skip


def state(path) -> dict[str, torch.Tensor]:
    return read_checkpoint(path)["state_dict"]


def same(alone: Run, together: Run, tasks: int) -> None:
    for task in range(1, tasks + 1):
        one, other = state(alone.checkpoint(task)), state(together.checkpoint(task))
        assert one.keys() == other.keys()
        for name, value in one.items():
            if name.startswith("model.") or "importance" in name:
                size = max(1.0, float(value.abs().max()))
                assert (value.double() - other[name]).abs().max() <= CLOSE * size, (task, name)
            elif "basis" not in name and "memory" not in name:
                assert value.shape == other[name].shape, (task, name)
            elif "basis" in name:
                assert (value.T @ value - other[name].T @ other[name]).abs().max() < 2e-3, (task, name)
            else:
                # What a memory keeps is the same to the bit.
                assert torch.equal(value, other[name]), (task, name)


def rows(run: Run) -> list[dict[str, str]]:
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


CASES = [(method, "mlp") for method in METHODS] + [(method, "convnet") for method in ("hlop", "er", "ewc")]


@pytest.mark.parametrize(("method", "kind"), CASES)
def test_each_network_is_as_it_is_alone(tmp_path, method, kind):
    together = [made(tmp_path / "together", seed, method, kind) for seed in range(SEEDS)]
    before = [{name: value.clone() for name, value in one.learner.model.state_dict().items()} for one in together]
    assert StackedExperiment(together).run() == {}
    assert any(not torch.equal(before[0][name], before[1][name]) for name in before[0])
    for seed, one in enumerate(together):
        alone = made(tmp_path / "alone", seed, method, kind)
        alone.run()
        same(alone.run_folder, one.run_folder, alone.stream.tasks)
        scores, own = alone.run_folder.scores, one.run_folder.scores
        assert own.pop("stacked") == SEEDS and own.keys() == scores.keys()
        for mine, theirs in zip(own["accuracy"], scores["accuracy"], strict=True):
            for index, (first, second) in enumerate(zip(mine, theirs, strict=True)):
                # A head that is untrained is not tested.
                unknown = first is second is None
                assert unknown or abs(first - second) <= 1.01 / own["test_images"][index]
        for mine, theirs in zip(rows(one.run_folder), rows(alone.run_folder), strict=True):
            assert {key: mine[key] for key in ("task", "epoch", "step")} == {
                key: theirs[key] for key in ("task", "epoch", "step")
            }
            assert float(mine["train_loss"]) == pytest.approx(float(theirs["train_loss"]), abs=1e-3)
        # What is saved of a network is its own, not what it was a part of.
        sizes = [run.checkpoint(1).stat().st_size for run in (one.run_folder, alone.run_folder)]
        assert sizes[0] <= 1.3 * sizes[1]


def test_augmentation_schedule_and_adam_are_those_of_each_network(tmp_path):
    options = {
        "optimizer": lambda parameters: torch.optim.AdamW(parameters, 0.01),
        "schedule": Step(every=1, gamma=0.3),
        "augmentation": Augmentation(shift=1),
        "rates": {"head": 0.003},
    }
    together = [made(tmp_path / "together", seed, "er", **options) for seed in range(2)]
    StackedExperiment(together).run()
    for seed, one in enumerate(together):
        alone = made(tmp_path / "alone", seed, "er", **options)
        alone.run()
        same(alone.run_folder, one.run_folder, 3)


class Ends(Tracker):
    """A process that ends when a row of a task is reported."""

    def __init__(self, task: int):
        self.number = task

    def epoch(self, row, number):
        if row["task"] == self.number:
            raise StopError


def test_a_group_that_was_killed_goes_on_from_the_last_task_of_all(tmp_path):
    whole = [made(tmp_path / "whole", seed, "gpm") for seed in range(2)]
    StackedExperiment(whole).run()
    cut = [made(tmp_path / "cut", seed, "gpm", tracker=Ends(3)) for seed in range(2)]
    with pytest.raises(StopError):
        StackedExperiment(cut).run()
    # One of them has not ended its second task.
    for name in ("task2.ckpt", "last.ckpt"):
        (cut[1].run_folder.checkpoints / name).unlink()
    again = [made(tmp_path / "cut", seed, "gpm") for seed in range(2)]
    assert StackedExperiment(again).run() == {} and [one.learner.step for one in again] == [
        one.learner.step for one in whole
    ]
    for one, other in zip(whole, again, strict=True):
        first, second = state(one.run_folder.checkpoint(3)), state(other.run_folder.checkpoint(3))
        assert all(torch.equal(value, second[name]) for name, value in first.items())
        assert one.run_folder.metrics_file.read_bytes() == other.run_folder.metrics_file.read_bytes()
        assert not other.run_folder.previous.exists()


def test_a_network_that_diverges_fails_by_itself(tmp_path):
    together = [made(tmp_path, seed, "hlop") for seed in range(3)]
    group = StackedExperiment(together)
    with torch.no_grad():
        next(together[1].learner.model.parameters()).fill_(torch.nan)
    failed = group.run()
    assert list(failed) == [together[1]] and "not finite" in str(failed[together[1]])
    assert [one.progress.finished for one in together] == [True, False, True]
    alone = made(tmp_path / "alone", 2, "hlop")
    alone.run()
    same(alone.run_folder, together[2].run_folder, 3)


def test_a_network_with_a_matrix_that_has_no_decomposition_fails_by_itself(tmp_path, monkeypatch):
    together = [made(tmp_path, seed, "gpm") for seed in range(2)]
    monkeypatch.setattr(together[1], "end_task", lambda: torch.linalg.svd(torch.full((2, 2), torch.nan)))
    failed = StackedExperiment(together).run()
    assert list(failed) == [together[1]] and "cannot be decomposed in task 1" in str(failed[together[1]])
    assert [one.progress.finished for one in together] == [True, False]


class Drawing(nn.Sequential):
    def forward(self, inputs):
        return super().forward(nn.functional.dropout(inputs, 0.1, self.training))


LINEAR = (nn.Flatten(), nn.Linear(64, 10))
REFUSED = {
    "method: SGP trains one network": {"make": lambda: SGP(energy=0.9)},
    "method.rule: ": {"make": lambda: GPM(rule="gradient")},
    "method.hold: a soft": {"make": lambda: GPM(hold=0.5)},
    "method: ComplementSubspace": {"make": lambda: GPM(complement=True)},
    r"model: module '1' \(Dropout\) draws": {"model": nn.Sequential(LINEAR[0], nn.Dropout(0.5), LINEAR[1])},
    "model: Drawing cannot be mapped": {"model": Drawing(*LINEAR)},
    "optimizer: LBFGS may look": {"optimizer": torch.optim.LBFGS},
    "regularizer.l2: ": {"regularizer": Regularizer(l2=0.1)},
    "regularizer.average: ": {"regularizer": Regularizer(average=0.5)},
    "regularizer.restore_best: ": {"regularizer": Regularizer(restore_best=True)},
    "scheduler: ": {"schedule": Plateau()},
    "trainer.evaluate_inside: ": {"training": Training.of(2, 32, evaluate_inside=3)},
    "trainer.checkpoints: ": {"training": Training.of(2, 32, checkpoints=(1,))},
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_not_trained_together_is_refused_by_name(tmp_path, line):
    with pytest.raises(UserError, match=f"^{line}"):
        StackedExperiment([made(tmp_path, seed, **REFUSED[line]) for seed in range(2)])
    assert not list(tmp_path.iterdir())


def test_networks_of_other_widths_are_refused(tmp_path):
    two = [made(tmp_path, width, model=MLP((1, 8, 8), 10, hidden=[width])) for width in (3, 4)]
    with pytest.raises(UserError, match="^model: networks that are trained together have the same layers"):
        StackedExperiment(two)


@pytest.mark.parametrize("ranks", [(1, 3), (0, 2), (5, 7)])
def test_the_projection_is_that_of_each_guard(ranks):
    """In float64: thin products, one product, and a network that holds nothing yet."""
    torch.manual_seed(0)
    models = [nn.Sequential(nn.Conv2d(4, 4, 2, groups=2), nn.Flatten(), nn.Linear(4, 3)).double() for _ in ranks]
    guards = [Projector(model, SvdSubspace, head="2", rows=rank) for model, rank in zip(models, ranks, strict=True)]
    for guard, model in zip(guards, models, strict=True):
        with guard.watching() as inputs:
            model(torch.randn(30, 4, 2, 2, dtype=torch.float64))
        guard.begin()
        guard.observe(inputs)
        guard.consolidate()
        guard.begin()
        guard.enter(1, range(1, 2))
    parameters = {
        name: torch.stack([model.get_parameter(name).detach() for model in models])
        for name, _ in models[0].named_parameters()
    }
    stacked = StackedProjector(guards, parameters)
    for _ in range(2):
        for name, value in parameters.items():
            value += (step := torch.randn_like(value))
            for number, model in enumerate(models):
                model.get_parameter(name).data += step[number]
        stacked.enforce()
        for guard in guards:
            guard.enforce()
        for name, value in parameters.items():
            alone = torch.stack([model.get_parameter(name).detach() for model in models])
            torch.testing.assert_close(value, alone, rtol=0, atol=1e-13)


def test_weights_in_another_order_in_memory_are_projected_too():
    """The matrices of the guards are views into the stack, whatever order the weights had."""
    models = [nn.Conv2d(4, 3, 3).to(memory_format=torch.channels_last) for _ in range(2)]
    images = torch.rand(5, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    guards = [Projector(model, SvdSubspace, rows=5) for model in models]
    for model, guard in zip(models, guards, strict=True):
        with guard.watching() as inputs:
            model(images)
        guard.observe(inputs)
        guard.consolidate()
        guard.begin()
    stack = Stack(models)
    projector = StackedProjector(guards, stack.parameters)
    with stack.shared(), torch.no_grad():
        for value in stack.parameters.values():
            value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(1)))
        projector.enforce()
        assert all(max(guard.leaks().values()) < 1e-6 for guard in guards)
