"""What spawned processes run: a module that they can import, as they cannot a test."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from conftest import PRELOADED
from torch import nn

from orthotrace.core.distributed import all_gather_rows, broadcast_from_first, differing
from orthotrace.data.batches import Batches
from orthotrace.data.concepts import measured
from orthotrace.data.images import Images
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted
from orthotrace.layers import ConceptWhitening
from orthotrace.protection.checks import same_everywhere
from orthotrace.subspace import (
    ComplementSubspace,
    HebbianSubspace,
    NullSpace,
    RecursiveSubspace,
    RegionSubspace,
    SvdSubspace,
    TwoSidedSubspace,
    WeightedSubspace,
)
from orthotrace.training.concept_alignment import Alignment

KINDS = {
    "svd": (SvdSubspace, {"energy": 0.9}),
    "complement": (ComplementSubspace, {"energy": 0.9}),
    "weighted": (WeightedSubspace, {"energy": 0.9}),
    "regions": (RegionSubspace, {"energy": 0.9}),
    "hebbian": (HebbianSubspace, {"rows": 3, "interval": 2}),
    "paper's rule": (HebbianSubspace, {"energy": 0.9, "step": 1.0, "momentum": 0.9}),
    "recursive": (RecursiveSubspace, {"alpha": 0.1}),
    "nullspace": (NullSpace, {"factor": 5.0}),
    "two-sided": (TwoSidedSubspace, {"alpha": 0.01}),
}


def batches() -> list[list[torch.Tensor]]:
    """Two tasks of some batches, an odd number of rows in one."""
    draws = torch.Generator().manual_seed(0)
    mixing = torch.randn(8, 8, generator=draws, dtype=torch.float64) * torch.logspace(0, -2, 8)[:, None]
    return [
        [torch.randn(n, 8, generator=draws, dtype=torch.float64) @ mixing.roll(task, 1) for n in (20, 20, 21, 20)]
        for task in range(2)
    ]


# Those that put their inputs together at the end of a task: a process may have had none.
AT_THE_END = ("svd", "complement", "weighted", "regions", "nullspace", "two-sided")


def learned(rank: int, world: int, kinds: Iterable[str] = KINDS, shared: bool = True) -> dict[str, torch.Tensor]:
    """What each subspace takes from an update, after two tasks of which a process sees its share, or the first all."""
    found = {}
    update = torch.randn(3, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for name in kinds:
        kind, options = KINDS[name]
        space = kind(8, dtype=torch.float64, **options)
        for task in batches():
            space.begin()
            for rows in task if shared or not rank else ():
                space.observe(rows[rank::world] if shared else rows)
            if isinstance(space, TwoSidedSubspace):
                space.see(update)
            space.consolidate()
            same_everywhere(name, space, len(update))
        found[name] = space.inside(update)
    return found


def served(rank: int, world: int) -> dict[str, torch.Tensor]:
    """What the subspaces learned, what collectives gave, and the batches that a process was served."""
    found = learned(rank, world)
    found |= {f"{name}, of one": value for name, value in learned(rank, world, AT_THE_END, shared=False).items()}
    found["rows"] = all_gather_rows(torch.full((rank + 1, 2), float(rank)))
    broadcast_from_first(value := torch.tensor([float(rank)]))
    found["same"] = value
    mine = {"same": torch.ones(2), "rows": torch.tensor([[1, 2]])[:rank], "shape": torch.zeros(1 + rank, 2 - rank)}
    (others,) = differing(mine | {"number": torch.tensor(rank)})
    found |= {f"other {name}": value for name, value in others.items()}
    part = Images(torch.zeros(21, 1, 2, 2), torch.arange(21))
    own = list(Batches(part, 4, seed=3, task=0))
    found["labels"] = torch.cat([batch.labels for batch in own])
    found["weights"] = torch.tensor([batch.weight for batch in own])
    return found


def turned(rank: int, world: int) -> dict[str, torch.Tensor]:
    """Some steps of a network of which a process sees its share of each batch."""
    torch.manual_seed(0)
    source = digits()
    found = {}
    sets = measured(source, classes=[0, 1, 7], limit=200)
    for norm in (nn.Identity(), nn.BatchNorm2d(5)):
        for rotation in ("aligned", "trained"):
            layer = ConceptWhitening(5, ["0", "1", "7"], rotation=rotation)
            model = nn.Sequential(nn.Conv2d(1, 5, 3), norm, layer)
            alignment = Alignment(sets, Permuted(source), every=1, batch_size=8)
            learner = SimpleNamespace(
                model=model,
                context=SimpleNamespace(number=0, epoch=0),
                method=SimpleNamespace(fresh=lambda number: True),
                step=0,
            )
            alignment.on_train_start(None, learner)
            for step in range(2):
                inputs = source.train.inputs(torch.arange(64 * step, 64 * step + 63))
                model(inputs[rank::world])
                learner.step = step + 1
                for value in layer.parameters():
                    value.grad = None
                alignment.before_step(None, learner)
                alignment.after_batch(None, learner, 1, 2)
                with torch.no_grad():
                    for value in layer.parameters():
                        value.sub_(value.grad)
            key = f"{type(norm).__name__} {rotation}"
            found |= {f"{key} {name}": getattr(layer, name).detach() for name in ("rotation", "mean", "covariance")}
    return found


def _work(rank: int, make: Callable[[int, int], dict[str, torch.Tensor]], port: int, folder: Path) -> None:
    # By this Lightning knows that it need not start the other process.
    os.environ["LOCAL_RANK"] = str(rank)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.save(make(rank, 2), folder / f"{rank}.pt")
    dist.destroy_process_group()


def in_two_processes(
    make: Callable[[int, int], dict[str, torch.Tensor]], folder: Path
) -> list[dict[str, torch.Tensor]]:
    """What a function that can be imported gives, called with (rank, world size), in each of two gloo processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Importing takes longer than most of what is tested.
    multiprocessing.set_forkserver_preload(PRELOADED)
    mp.start_processes(_work, (make, port, folder), nprocs=2, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]
