"""The cases of `scripts/benchmark.py spiking`: a step of training of 784-800-800-10, batch 64, one thread.

Peers: snntorch (Leaky, one layer after the other within a step of time), spikingjelly (LIFNode in multi-step mode with
its torch backend, layers folded as ours are), with the same neurons and surrogate, and the ordinary network. Where
spikingjelly is importable (install it with --no-deps, and loguru, into a folder on PYTHONPATH) logits and gradients
must agree with it. Peak memory is that of one step in a process of its own:

    python scripts/benchmark_spiking.py CASE STEPS       prints MB
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch
from benchmark_networks import noise, stepper
from measuring import measured
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from orthotrace.layers import spiking
from orthotrace.layers.neurons import Learning
from orthotrace.methods.finetune import Finetune
from orthotrace.methods.hlop import HLOP
from orthotrace.models.mlp import MLP

BATCH, STEPS, LEAK, HIDDEN = 64, 20, 0.5, (800, 800)
# Seconds and memory of ours, then of the peer, for each round.
Times = list[Any]
# Of HLOP's paper, in its first task.
ROWS = [80, 200, 100]
# Largest ratio to each peer that is promised; to the ordinary network over the steps.
PROMISED = {"snntorch": 0.5, "spikingjelly": 0.7, "ordinary network": 0.75 * STEPS, "memory": 0.6, "ottt": 1.1}


def ordinary() -> nn.Module:
    """784-800-800-10 without biases."""
    torch.manual_seed(0)
    return MLP((1, 28, 28), 10, hidden=HIDDEN, bias=False)


def images() -> tuple[Tensor, Tensor]:
    """A batch."""
    draws = torch.Generator().manual_seed(1)
    return torch.randn(BATCH, 1, 28, 28, generator=draws), torch.randint(10, (BATCH,), generator=draws)


def trains(steps: int) -> Tensor:
    """Spikes of the input, (steps, n, 784)."""
    return (torch.rand(steps, BATCH, 784, generator=torch.Generator().manual_seed(2)) < 0.2).float()


class Stepwise(nn.Module):
    """The network in snntorch, as its tutorials write it."""

    def __init__(self) -> None:
        super().__init__()
        import snntorch
        from snntorch import surrogate

        self.fc1, self.fc2, self.head = (one for one in ordinary().children() if isinstance(one, nn.Linear))
        slope = surrogate.sigmoid(slope=4)
        self.lif1, self.lif2 = (snntorch.Leaky(beta=LEAK, spike_grad=slope) for _ in range(2))

    def forward(self, frames: Tensor) -> Tensor:
        """Mean logits of inputs (steps, n, 784)."""
        first, second, found = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        for frame in frames:
            spikes, first = self.lif1(self.fc1(frame), first)
            spikes, second = self.lif2(self.fc2(spikes), second)
            found.append(self.head(spikes))
        return torch.stack(found).mean(0)


class Multistep(nn.Module):
    """The network in spikingjelly, all steps of a layer at once."""

    def __init__(self) -> None:
        super().__init__()
        from spikingjelly.activation_based import neuron, surrogate  # pyright: ignore[reportMissingImports] (elsewhere)

        self.fc1, self.fc2, self.head = (one for one in ordinary().children() if isinstance(one, nn.Linear))
        self.lif1, self.lif2 = (
            neuron.LIFNode(
                tau=1 / (1 - LEAK), decay_input=False, v_reset=None, detach_reset=True, step_mode="m",
                surrogate_function=surrogate.Sigmoid(4.0),
            )
            for _ in range(2)
        )  # fmt: skip

    def forward(self, frames: Tensor) -> Tensor:
        """Mean logits of inputs (steps, n, 784)."""
        values = frames
        for layer, neurons in ((self.fc1, self.lif1), (self.fc2, self.lif2)):
            neurons.reset()
            values = neurons(layer(values.flatten(0, 1)).unflatten(0, frames.shape[:2]))
        return self.head(values.flatten(0, 1)).unflatten(0, frames.shape[:2]).mean(0)


def over_trains(model: Any, frames: Tensor) -> Tensor:
    """Mean logits of our network for inputs of every step, (steps, n, 784)."""
    return model.over_time(nn.Sequential.forward(model, frames.flatten(0, 1)))


def step_of(call: Callable[[], Tensor], model: nn.Module) -> Callable[[], Tensor]:
    """Forward and backward pass."""
    labels = images()[1]

    def step() -> Tensor:
        model.zero_grad()
        logits = call()
        loss = getattr(logits, "over_steps", None)
        if loss is None:
            cross_entropy(logits, labels).backward()
        else:
            cross_entropy(loss.flatten(0, 1), torch.cat([labels] * len(loss))).backward()
        return logits

    return step


def made(name: str, steps: int = STEPS) -> Callable[[], Tensor]:
    """A step of training of a case."""
    shown = images()[0]
    if name == "ordinary":
        model = ordinary()
        return step_of(lambda: model(shown), model)
    peers = {"snntorch": Stepwise, "spikingjelly": Multistep}
    kind: Any
    kind, _, shows = name.partition(" ")
    frames = trains(steps) if shows else shown.flatten(1).expand(steps, -1, -1)
    if kind in peers:
        peer = peers[kind]()
        return step_of(lambda: peer(frames), peer)
    # Spikes of the input are given, so no current repeats.
    ours: Any = spiking(ordinary(), steps, kind, encoding="rate" if shows else "constant", decay=LEAK)
    return step_of(lambda: over_trains(ours, frames) if shows else ours(shown), ours)


def speed(rounds: int) -> list[tuple[str, str, Times, float | None]]:
    """Steps of ours beside those of each peer: case, peer, times, and the largest ratio promised."""
    torch.set_num_threads(1)
    there = importlib.util.find_spec("spikingjelly") is not None
    if not there:
        print("spikingjelly is not installed: its cases are left out", file=sys.stderr)
    found = []
    for shows in ("", " trains"):
        names = ["bptt" + shows, "snntorch" + shows, *(["spikingjelly" + shows] if there else []), "ordinary"]
        steps = {name: made(name) for name in names}
        if there:
            _agree(steps["bptt" + shows], steps["spikingjelly" + shows], shows)
        times: dict[str, list[float]] = {name: [] for name in names}
        for number in range(rounds + 1):
            for name, step in steps.items():
                seconds = measured(step)[0]
                if number:
                    times[name].append(seconds)
        what = "spike trains" if shows else "constant current"
        for name in names[1:]:
            peer = "ordinary network" if name == "ordinary" else name.split()[0]
            pairs = zip(times[names[0]], times[name], strict=True)
            both = [(ours, None, theirs, None) for ours, theirs in pairs]
            # What is promised is of the image as a current, as HLOP's networks see it.
            found.append((f"step of bptt, {STEPS} steps, {what}", peer, both, None if shows else PROMISED[peer]))
    for kind in ("dsr", "ottt"):
        ours, theirs = made(kind), made("bptt")
        pairs = [(measured(ours)[0], None, measured(theirs)[0], None) for _ in range(rounds + 1)][1:]
        found.append((f"step of {kind}, {STEPS} steps, constant current", "bptt", pairs, None))
    # Of bptt HLOP sees the spikes of every step, of dsr, as in its paper, one rate for each image.
    kinds: tuple[Learning, ...] = ("dsr", "bptt")
    for kind in kinds:
        found.append((f"step of hlop in task 2, {kind}", "finetune", _methods(rounds, kind), 1.25))
    return found


def _agree(ours: Callable[[], Tensor], theirs: Callable[[], Tensor], case: str) -> None:
    if not torch.allclose(ours(), theirs(), atol=1e-4):
        raise RuntimeError(f"the logits differ from spikingjelly's{case}")


def _methods(rounds: int, learning: Learning) -> Times:
    """Ten steps in a second task, with HLOP and without."""
    stream = noise((1, 28, 28), 10 * BATCH)
    steppers = [
        stepper(spiking(ordinary(), STEPS, learning), method, stream, BATCH) for method in (HLOP(rows=ROWS), Finetune())
    ]
    pairs: Times = []
    for _ in range(rounds + 1):
        ours, theirs = (measured(stepper)[0] for stepper in steppers)
        pairs.append((ours, None, theirs, None))
    return pairs[1:]


def memory() -> list[tuple[str, str, float, float, float]]:
    """Peak memory in MB: case, peer, ours, theirs, and the largest ratio promised."""
    bptt = peak("bptt trains", STEPS), peak("snntorch trains", STEPS)
    ottt = peak("ottt", 100), peak("ottt", 10)
    return [
        (f"memory of bptt, {STEPS} steps", "snntorch", *bptt, PROMISED["memory"]),
        ("memory of ottt, 100 steps", "10 steps", *ottt, PROMISED["ottt"]),
    ]


def peak(case: str, steps: int) -> float:
    """What a step adds to a process at its peak, in MB."""
    command = [sys.executable, __file__, case, str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    torch.set_num_threads(1)
    chosen = made(sys.argv[1], int(sys.argv[2]))
    print(measured(chosen)[1])
