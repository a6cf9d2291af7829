"""Concept axes of a network that several processes train: every process turns them alike."""

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from orthotrace.data.concepts import measured
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted
from orthotrace.layers import ConceptWhitening
from orthotrace.training.concept_alignment import Alignment

# Runs of a few steps: statistics lag behind, all concepts look the same.
pytestmark = pytest.mark.filterwarnings("ignore:.*the mean features of")


def work(rank: int, world: int, port: int, folder: str) -> None:
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    torch.save(turned(rank, world), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


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
            )
            trainer = SimpleNamespace(global_step=0)
            alignment.on_train_start(trainer, learner)
            for step in range(2):
                inputs = source.train.inputs(torch.arange(64 * step, 64 * step + 63))
                model(inputs[rank::world])
                trainer.global_step = step + 1
                for value in layer.parameters():
                    value.grad = None
                alignment.on_before_optimizer_step(trainer, learner, None)
                alignment.on_train_batch_end(trainer, learner, None, None, 0)
                with torch.no_grad():
                    for value in layer.parameters():
                        value.sub_(value.grad)
            key = f"{type(norm).__name__} {rotation}"
            found |= {f"{key} {name}": getattr(layer, name).detach() for name in ("rotation", "mean", "covariance")}
    return found


def test_every_process_turns_its_axes_alike(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(work, (2, port, str(tmp_path)), nprocs=2)
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    alone = turned(0, 1)
    for key, value in alone.items():
        if "BatchNorm" not in key:
            # Shares of 32 and 31 images: the statistics are those of the whole batch.
            assert torch.allclose(one[key], value, atol=1e-4), key
            assert torch.equal(one[key], two[key]), key
        elif "rotation" in key:
            assert torch.equal(one[key], two[key]), key
        assert float(value.abs().max()) > 0
