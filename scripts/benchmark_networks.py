"""The cases of `scripts/benchmark.py networks`: what protection adds to a step of a transformer and of an LSTM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from measuring import measured
from torch import nn

from orthotrace.core.seeds import Seeds
from orthotrace.data.batches import Batches
from orthotrace.data.images import Images
from orthotrace.data.sources.base import Source
from orthotrace.data.streams import Permuted
from orthotrace.methods import Method, TaskContext
from orthotrace.methods.finetune import Finetune
from orthotrace.methods.gpm import GPM
from orthotrace.methods.hlop import HLOP
from orthotrace.models.recurrent import Recurrent
from orthotrace.models.vit import ViT

BATCH, BATCHES = 64, 4
# Shape of the images, the network as conf/ has it, and the largest ratio of gpm to finetune that is promised.
NETWORKS: dict[str, tuple[tuple[int, int, int], Callable[[tuple[int, int, int]], nn.Module], float]] = {
    "small ViT, 32 x 32": ((3, 32, 32), lambda shape: ViT(shape, 10), 1.25),
    "LSTM 128, 28 steps": ((1, 28, 28), lambda shape: Recurrent(shape, 10, "lstm", reading="rows"), 1.3),
}


def cases(rounds: int) -> list[tuple[str, str, list[Any], float | None]]:
    """Name, peer, times, and the ratio that is promised: so many steps in a second task, with a method and without."""
    found = []
    for name, (shape, make, promised) in NETWORKS.items():
        stream = noise(shape, BATCHES * BATCH)
        makers = {"gpm": lambda: GPM(energy=0.97, samples=100), "hlop": lambda: HLOP(rows=8)}
        for method, made in makers.items():
            ours, theirs = (stepper(make(shape), one, stream, BATCH) for one in (made(), Finetune()))
            times = [(measured(ours)[0], None, measured(theirs)[0], None) for _ in range(rounds + 1)][1:]
            most = promised if method == "gpm" else None
            found.append((f"step of {method} in task 2, {name}", "finetune", times, most))
    return found


def noise(shape: tuple[int, int, int], count: int) -> Permuted:
    """Two tasks of so many images without any meaning."""
    draws = torch.Generator().manual_seed(3)
    store = torch.randint(256, (count, *shape), generator=draws, dtype=torch.uint8)
    part = Images(store, torch.arange(len(store)) % 10)
    return Permuted(Source("noise", part, part, tuple("0123456789")), tasks=2, validation=0)


def stepper(model: Any, method: Method, stream: Permuted, size: int) -> Callable[[], None]:
    """Makes the steps of an epoch of batches of a size in the second task, after a first one that had none."""
    method.setup(model, Seeds(), stream)
    served = [Batches(stream.task(number).train, size, 0, number) for number in range(2)]
    contexts = [
        TaskContext(number, one.part, one.prepare, stream.active, Seeds(), size) for number, one in enumerate(served)
    ]
    optimizer = torch.optim.SGD(model.parameters(), 0.01)

    def steps() -> None:
        for batch in served[1]:
            optimizer.zero_grad()
            method.loss(model, batch, contexts[1])[0].backward()
            optimizer.step()

    method.begin_task(contexts[0])
    method.loss(model, next(iter(served[0])), contexts[0])
    method.end_task(contexts[0])
    method.begin_task(contexts[1])
    method.attach([optimizer])
    return steps
