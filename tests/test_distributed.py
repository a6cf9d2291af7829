"""Two processes: every one holds the same subspaces, and what is told is that of one process."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from conftest import command

from orthotrace.core.distributed import all_gather_rows, broadcast_from_first
from orthotrace.data.batches import Batches
from orthotrace.data.images import Images
from orthotrace.results.run_folder import Run
from orthotrace.subspace import (
    ComplementSubspace,
    HebbianSubspace,
    NullSpace,
    RecursiveSubspace,
    RegionSubspace,
    SvdSubspace,
    WeightedSubspace,
)

KINDS = {
    "svd": (SvdSubspace, {"energy": 0.9}),
    "complement": (ComplementSubspace, {"energy": 0.9}),
    "weighted": (WeightedSubspace, {"energy": 0.9}),
    "regions": (RegionSubspace, {"energy": 0.9}),
    "hebbian": (HebbianSubspace, {"rows": 3, "interval": 2}),
    "paper's rule": (HebbianSubspace, {"energy": 0.9, "step": 1.0, "momentum": 0.9}),
    "recursive": (RecursiveSubspace, {"alpha": 0.1}),
    "nullspace": (NullSpace, {"factor": 5.0}),
}


def batches() -> list[list[torch.Tensor]]:
    """Two tasks of some batches, an odd number of rows in one."""
    draws = torch.Generator().manual_seed(0)
    mixing = torch.randn(8, 8, generator=draws, dtype=torch.float64) * torch.logspace(0, -2, 8)[:, None]
    return [
        [torch.randn(n, 8, generator=draws, dtype=torch.float64) @ mixing.roll(task, 1) for n in (20, 20, 21, 20)]
        for task in range(2)
    ]


def learned(rank: int, world: int) -> dict[str, torch.Tensor]:
    """What each subspace takes from an update, after two tasks of which a process sees its share."""
    found = {}
    update = torch.randn(3, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for name, (kind, options) in KINDS.items():
        space = kind(8, dtype=torch.float64, **options)
        for task in batches():
            space.begin()
            for rows in task:
                space.observe(rows[rank::world])
            space.consolidate()
        found[name] = space.inside(update)
    return found


def work(rank: int, world: int, port: int, folder: str) -> None:
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    found = learned(rank, world)
    found["rows"] = all_gather_rows(torch.full((rank + 1, 2), float(rank)))
    broadcast_from_first(value := torch.tensor([float(rank)]))
    found["same"] = value
    part = Images(torch.zeros(21, 1, 2, 2), torch.arange(21))
    served = list(Batches(part, 4, seed=3, task=0))
    found["labels"] = torch.cat([batch.labels for batch in served])
    found["weights"] = torch.tensor([batch.weight for batch in served])
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict[str, torch.Tensor]]:
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(work, (2, port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", KINDS)
def test_every_process_holds_the_same_subspace_as_one_would(two, name):
    assert torch.equal(two[0][name], two[1][name])
    assert torch.allclose(two[0][name], learned(0, 1)[name], atol=1e-9)
    assert float(two[0][name].norm()) > 0.1


def test_rows_and_values_of_processes(two):
    for found in two:
        assert found["rows"].tolist() == [[0, 0], [1, 1], [1, 1]]
        assert found["same"].tolist() == [0]


def test_every_image_is_served_once_and_weighs_the_same(two):
    assert sorted(torch.cat([found["labels"] for found in two]).tolist()) == list(range(21))
    # 4 x 4, and the last one joins the one before: 5 images, 3 and 2 of them in a process.
    assert two[0]["weights"].tolist() == pytest.approx([1, 1, 1, 1, 6 / 5])
    assert two[1]["weights"].tolist() == pytest.approx([1, 1, 1, 1, 4 / 5])


TINY = ("stream.tasks=2", "trainer.max_epochs=2", "model.hidden=[24]", "trainer.accelerator=cpu", "method.rows=5")


def test_a_run_of_two_processes_is_that_of_one(tmp_path):
    for name, devices in (("one", "1"), ("two", "2")):
        done = command(
            "orthotrace-train", "method=hlop", *TINY, f"trainer.devices={devices}", f"hydra.run.dir={name}",
            cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("ACC") == 1
    one, two = Run(tmp_path / "one"), Run(tmp_path / "two")
    # Every test image counts once; only the order of the sums differs.
    for a, b in zip(one.scores["accuracy"], two.scores["accuracy"], strict=True):
        assert a == pytest.approx(b, abs=0.006)
    assert one.scores["capacity"]["fc1"]["captured"] == pytest.approx(
        two.scores["capacity"]["fc1"]["captured"], abs=1e-4
    )
    assert max(two.scores["leak"]) <= 1e-6
    assert two.network().head.weight.shape == (10, 24)


BAD = [
    (["trainer.devices=2", "method=er"], "trainer.devices: images are replayed in one process only"),
    (["trainer.devices=2", "+trainer.strategy=ddp_spawn"], "trainer.strategy: several devices work together by ddp"),
    (["trainer.devices=2", "+trainer.sync_batchnorm=true"], "trainer.sync_batchnorm: replaces layers"),
]


@pytest.mark.parametrize(("overrides", "line"), BAD, ids=[line for _, line in BAD])
def test_what_several_processes_cannot_do(train, overrides, line):
    answer = train("trainer.accelerator=cpu", *overrides)
    assert answer.code == 2 and answer.err.startswith(f"error: {line}")
    assert answer.err.count("\n") == 1


def test_a_multirun_is_of_single_devices(train):
    answer = train("--multirun", "trainer.accelerator=cpu", "trainer.devices=2", "seed=0,1", *TINY)
    assert answer.code == 1 and "trainer.devices: several devices and a multirun do not go together" in answer.out
