"""Whole runs over a plain loop, and the cases of `scripts/benchmark.py convolutions`, `tasks` and `wide`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from measuring import measured
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from orthotrace.core.seeds import Seeds
from orthotrace.data.batches import Batches
from orthotrace.data.images import Batch, Images
from orthotrace.data.sources import Source, digits
from orthotrace.data.streams import Permuted, Stream
from orthotrace.methods import Method, TaskContext
from orthotrace.methods.ewc import EWC, OnlineEWC
from orthotrace.methods.finetune import Finetune
from orthotrace.methods.gpm import GPM
from orthotrace.methods.hlop import HLOP
from orthotrace.models.convnet import ConvNet, LeNet
from orthotrace.models.mlp import MLP
from orthotrace.results.run_folder import Run
from orthotrace.training.experiment import Experiment
from orthotrace.training.settings import Components, Optimization, Training

BATCH, RATE, MOMENTUM = 64, 0.05, 0.9
Times = list[tuple[float, float | None, float, float | None]]


def coloured(images: int = 1024) -> Source:
    """Generated images of 3 x 32 x 32, of ten classes."""
    draws = torch.Generator().manual_seed(0)

    def part(count: int) -> Images:
        labels = torch.arange(count) % 10
        pixels = torch.randint(256, (count, 3, 32, 32), generator=draws, dtype=torch.uint8)
        return Images(pixels, labels)

    return Source("generated", part(images), part(images // 10), tuple(str(number) for number in range(10)))


def plain(stream: Stream, model: nn.Module, epochs: int) -> None:
    """The peer: TensorDataset and DataLoader, the same net, nothing but training."""
    for index in range(stream.tasks):
        train = stream.task(index).train
        loader = DataLoader(TensorDataset(train.inputs(), train.labels), BATCH, shuffle=True)
        optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM)
        for _ in range(epochs):
            for images, labels in loader:
                optimizer.zero_grad()
                cross_entropy(model(images), labels).backward()
                optimizer.step()


def ours(stream: Stream, model: nn.Module, method: Method, epochs: int) -> dict[str, Any]:
    """A whole run with validation, scores, checkpoints and CSV."""
    with tempfile.TemporaryDirectory() as folder:
        experiment = Experiment(
            Run(folder),
            Components(stream, model, method),
            Optimization(lambda parameters: torch.optim.SGD(parameters, RATE, MOMENTUM)),
            Training.of(epochs, BATCH),
            {"accelerator": "cpu", "devices": 1, "deterministic": True},
        )
        experiment.run()
        return experiment.report()


def convolutions(
    rounds: int, images: int = 1024, epochs: int = 5, width: float = 1.0
) -> list[tuple[str, str, Times, float]]:
    """A run of a convolutional net over a plain loop: two tasks of five epochs."""
    stream = Permuted(coloured(images), tasks=2)

    def model() -> nn.Module:
        torch.manual_seed(0)
        return ConvNet(stream.shape, len(stream.classes), width=width)

    cases: dict[str, tuple[Callable[[], Method], float]] = {
        "finetune": (Finetune, 1.03),
        "gpm": (lambda: GPM(energy=0.97, samples=125), 1.08),
        "hlop": (lambda: HLOP(rows={"conv1": 10, "conv2": 40, "conv3": 40, "head": 40}), 1.2),
    }
    plain(stream, model(), epochs)
    found: dict[str, Times] = {name: [] for name in cases}
    for _ in range(rounds):
        peer_s, peer_mb, _ = measured(lambda: plain(stream, model(), epochs))
        for name, (make, _) in cases.items():
            ours_s, ours_mb, _ = measured(lambda make=make: ours(stream, model(), make(), epochs))
            found[name].append((ours_s, ours_mb, peer_s, peer_mb))
    peer = "TensorDataset + DataLoader loop"
    return [(f"{name}, convolutions 64-128-256 at 32 x 32", peer, found[name], cases[name][1]) for name in cases]


# Methods whose step is to cost the same in every later task: those that hold hold the same number of rows in each.
ROWS = {name: [40, 0] for name in ("fc1", "fc2", "head")}
STEADY: dict[str, Callable[[], Method]] = {
    "finetune": Finetune,
    "ewc": lambda: EWC(strength=1.0, samples=50),
    "ewc_online": lambda: OnlineEWC(strength=1.0, samples=50),
    "gpm": lambda: GPM(rows=ROWS, audit=False),
    "hlop": lambda: HLOP(rows=ROWS, audit=False),
}


def tasks(rounds: int, last: int = 50) -> list[tuple[str, str, Times, float]]:
    """An epoch of steps in the last of so many tasks over one in the second: digits, MLP 64-256-256-10."""
    stream = Permuted(digits(), tasks=last)
    records = []
    for name, make in STEADY.items():
        late, early = (stepper(make(), stream, number) for number in (last, 2))
        times: Times = []
        for _ in range(rounds * 3):
            late_s, _, _ = measured(late)
            early_s, _, _ = measured(early)
            times.append((late_s, None, early_s, None))
        records.append((f"{name}, task {last}", f"{name}, task 2", times, 1.1))
    return records


# Rows asked of each layer of LeNet, of 3,200 inputs in its widest, where the images give 922: GPM holds 991 there, and
# 46, 429 and 576 of the others, after the twenty superclasses of CIFAR-100.
LENET_ROWS = {"conv1": [30, 0], "conv2": [200, 0], "fc1": [1000, 0], "fc2": [200, 0], "head": [100, 0]}


def wide(
    rounds: int, images: int = 1024, rows: Mapping[str, list[int]] = LENET_ROWS
) -> list[tuple[str, str, Times, float | None]]:
    """An epoch of steps of LeNet in the second task, by projected inputs and by projected steps, over a plain loop."""
    stream, slow = Permuted(coloured(images), tasks=2), (0.01, 0.0)

    def model() -> nn.Module:
        torch.manual_seed(0)
        return LeNet(stream.shape, len(stream.classes))

    peer = plain_stepper(model(), list(Batches(stream.task(1).train, BATCH, 0, 1)), *slow)
    found: dict[str, Times] = {}
    for name, inputs in (("projected inputs", True), ("projected steps", False)):
        method = GPM(rows=dict(rows), samples=images, audit=False)
        steps = stepper(method, stream, 2, model=model(), inputs=inputs, optimization=slow)
        steps()
        for _ in range(rounds):
            peer_s, _, _ = measured(peer)
            ours_s, _, _ = measured(steps)
            found.setdefault(name, []).append((ours_s, None, peer_s, None))
    return [(f"gpm by {name}, LeNet", "plain loop's steps", times, None) for name, times in found.items()]


def plain_stepper(
    model: nn.Module, batches: Sequence[Batch], rate: float = RATE, momentum: float = MOMENTUM
) -> Callable[[], None]:
    """An epoch of steps of a loop that only trains, on the same batches."""
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum)

    def steps() -> None:
        for batch in batches:
            optimizer.zero_grad()
            cross_entropy(model(batch.inputs), batch.labels).backward()
            optimizer.step()

    return steps


def stepper(
    method: Method,
    stream: Permuted,
    last: int,
    hidden: Sequence[int] = (256, 256),
    model: nn.Module | None = None,
    inputs: bool = True,
    optimization: tuple[float, float] = (RATE, MOMENTUM),
) -> Callable[[], None]:
    """An epoch of steps in the last of so many tasks, by an MLP or a model; in those before nothing is trained."""
    if model is None:
        torch.manual_seed(0)
        model = MLP(stream.shape, len(stream.classes), hidden)
    method.setup(model, Seeds(), stream)

    def begun(number: int) -> tuple[list[Batch], TaskContext]:
        served = Batches(stream.task(number).train, BATCH, 0, number)
        context = TaskContext(number, served.part, served.prepare, stream.active, Seeds(), BATCH)
        method.enter(context)
        method.begin_task(context)
        return list(served), context

    for number in range(last - 1):
        earlier, context = begun(number)
        for batch in earlier[:8]:
            method.loss(model, batch, context)
        method.end_task(context)
    batches, context = begun(last - 1)
    optimizer = torch.optim.SGD(model.parameters(), *optimization)
    method.attach([optimizer])
    if inputs:
        # As the learner does, for steps that are linear in the gradients.
        method.project_inputs()

    def steps() -> None:
        for batch in batches:
            optimizer.zero_grad()
            loss, _ = method.loss(model, batch, context)
            loss.backward()
            method.on_gradients(context)
            optimizer.step()

    return steps
