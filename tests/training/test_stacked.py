"""Networks trained together: each as it is alone, but for rounding."""

import csv

import pytest
import torch
from torch import nn

from orthotrace.core.seeds import Seeds, derived
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted, Split
from orthotrace.methods.ewc import EWC
from orthotrace.methods.finetune import Finetune
from orthotrace.methods.gpm import GPM
from orthotrace.methods.hlop import HLOP
from orthotrace.methods.memory import MemoryOptions
from orthotrace.methods.replay import ExperienceReplay
from orthotrace.models.convnet import ConvNet
from orthotrace.models.mlp import MLP
from orthotrace.results.run_folder import Run, read_checkpoint
from orthotrace.training.experiment import Experiment
from orthotrace.training.settings import Components, Optimization, Training
from orthotrace.training.stacked import StackedExperiment

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


CASES = [(method, "mlp") for method in METHODS] + [(method, "convnet") for method in ("gpm", "hlop", "er", "ewc")]


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
                assert abs(first - second) <= 1.01 / own["test_images"][index]
        for mine, theirs in zip(rows(one.run_folder), rows(alone.run_folder), strict=True):
            assert {key: mine[key] for key in ("task", "epoch", "step")} == {
                key: theirs[key] for key in ("task", "epoch", "step")
            }
            assert float(mine["train_loss"]) == pytest.approx(float(theirs["train_loss"]), abs=1e-3)
        # What is saved of a network is its own, not what it was a part of.
        sizes = [run.checkpoint(1).stat().st_size for run in (one.run_folder, alone.run_folder)]
        assert sizes[0] <= 1.3 * sizes[1]
