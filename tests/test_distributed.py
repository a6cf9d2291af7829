"""Two processes: every one holds the same subspaces, and what is told is that of one process."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from composed import built
from conftest import command, started
from paired import differences, served_and_trained, told
from pairs import CASES, SMALL, chosen, places_of
from processes import AT_THE_END, KINDS, in_two_processes, learned

from orthotrace.results.run_folder import Run

# Of all cases, which make chaos runs: rows that wait, and statistics with their average.
CUT = ["hlop", "gpm, convolutions"]
OLDER = CUT[:1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def two(folder) -> list[dict[str, torch.Tensor]]:
    return in_two_processes(partial(served_and_trained, folder=folder, **chosen(CUT, 1), older=OLDER), folder)


@pytest.mark.parametrize("name", KINDS)
def test_every_process_holds_the_same_subspace_as_one_would(two, name):
    assert torch.equal(two[0][name], two[1][name])
    assert torch.allclose(two[0][name], learned(0, 1)[name], atol=1e-9)
    assert float(two[0][name].norm()) > 0.1


@pytest.mark.parametrize("name", AT_THE_END)
def test_a_process_that_saw_nothing_holds_what_the_others_hold(two, name):
    assert torch.equal(two[0][f"{name}, of one"], two[1][f"{name}, of one"])
    assert torch.allclose(two[0][f"{name}, of one"], learned(0, 1)[name], atol=1e-9)


def test_rows_and_values_of_processes(two):
    for found in two:
        assert found["rows"].tolist() == [[0, 0], [1, 1], [1, 1]]
        assert found["same"].tolist() == [0]


def test_every_image_is_served_once_and_weighs_the_same(two):
    assert sorted(torch.cat([found["labels"] for found in two]).tolist()) == list(range(21))
    # 4 x 4, and the last one joins the one before: 5 images, 3 and 2 of them in a process.
    assert two[0]["weights"].tolist() == pytest.approx([1, 1, 1, 1, 6 / 5])
    assert two[1]["weights"].tolist() == pytest.approx([1, 1, 1, 1, 4 / 5])


@pytest.mark.whole
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_what_make_chaos_cuts_can_be_trained(tmp_path, name):
    built(Run(tmp_path / "run"), *SMALL, *CASES[name], "trainer.devices=1").run()


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


@pytest.mark.parametrize("name", CUT)
def test_a_run_of_two_processes_that_was_cut_ends_with_the_same_bits(two, folder, name):
    (place,) = places_of(name, 1)
    assert not differences(folder, name, told(place))


@pytest.mark.parametrize("name", OLDER)
def test_a_run_goes_on_from_a_checkpoint_in_which_no_process_has_its_own_state(two, folder, name):
    """As older versions wrote: the others take that of the first, which may change the bits, and nothing else."""
    wrong = differences(folder, name, "older")
    assert wrong and not [line for line in wrong if line.startswith("cut 0, cut 1")]
    assert Run(folder / name / "older").finished


def test_every_case_is_cut_at_two_places():
    places = [places_of(name, 2, seed) for name in CASES for seed in range(5)]
    assert all(len(set(some)) == 2 for some in places) and len({some[1] for some in places}) == 5


def test_what_differs_between_processes_is_found(two):
    """The first has no row, the second one; what is the same is not sent."""
    for found in two:
        others = {name: value.tolist() for name, value in found.items() if name.startswith("other ")}
        assert others == {"other rows": [[1, 2]], "other shape": [[0], [0]], "other number": 1}


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def launcher(by: str, rank: int, port: str) -> dict[str, str]:
    """What a process of two finds in its environment: on two nodes of srun, or on one of torchrun."""
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if by == "torchrun":
        own = {"TORCHELASTIC_RUN_ID": "none", "RANK": str(rank), "WORLD_SIZE": "2", "GROUP_RANK": "0"}
        return common | own | {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"}
    node = {"SLURM_PROCID": str(rank), "SLURM_NODEID": str(rank), "SLURM_LOCALID": "0"}
    step = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "2", "SLURM_NTASKS": "2"}
    return common | node | step | {"SLURM_NNODES": "2", "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "study"}


@dataclass(frozen=True)
class Pair:
    """What two processes of a launcher came to, which lie in folders of their own and name the run's."""

    codes: list[int]
    out: list[str]
    err: list[str]


def by_launcher(by: str, folder: Path, *overrides: str, stop: bool = False, apart: bool = False) -> Pair:
    """A command in two processes; stop: both get SIGTERM when the first task has ended."""
    port = free_port()
    places = [folder / str(rank) if apart else folder for rank in range(2)]
    for place in places:
        place.mkdir(exist_ok=True)
    files = [[folder / f"{rank}.{name}" for name in ("out", "err")] for rank in range(2)]
    processes = [
        started(
            "orthotrace-train", *overrides, cwd=place, out=out, err=err,
            **launcher(by, rank, port),
        )
        for rank, (place, (out, err)) in enumerate(zip(places, files, strict=True))
    ]  # fmt: skip
    deadline = time.monotonic() + 90
    # Written when the first task is safe; its line is printed a moment before.
    saved = folder / "run" / "checkpoints" / "task1.ckpt"
    while stop and not saved.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    for process in processes:
        if stop and process.pid is not None:
            os.kill(process.pid, signal.SIGTERM)
    for process in processes:
        process.join(max(deadline - time.monotonic(), 1))
        process.kill()
    text = [[file.read_text() for file in of] for of in zip(*files, strict=True)]
    return Pair([process.exitcode for process in processes], *text)


TWO_NODES = ("method=gpm", *TINY[:-1], "trainer.max_epochs=25", "trainer.num_nodes=2", "hydra.run.dir=run")


def test_two_nodes_of_srun_stop_together_and_come_to_the_bits_of_two_devices(tmp_path, monkeypatch):
    """Slurm sends its signal to both; the same command goes on."""
    # As in a user's shell: Lightning gives each node all cores then.
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    devices = command("orthotrace-train", *TWO_NODES[:-2], "trainer.devices=2", "hydra.run.dir=devices", cwd=tmp_path)
    assert devices.returncode == 0, devices.stderr
    stopped = by_launcher("srun", tmp_path, *TWO_NODES, stop=True)
    assert stopped.codes == [143, 143], stopped
    assert stopped.err[0].splitlines()[-1].startswith("interrupted: ") and stopped.err[1] == "", stopped
    assert not Run(tmp_path / "run").finished
    whole = by_launcher("srun", tmp_path, *TWO_NODES)
    assert whole.codes == [0, 0] and "continued" in whole.out[0], whole
    assert whole.out[0].count("ACC") == 1 and whole.out[1] == ""
    one, two = (Run(tmp_path / name) for name in ("devices", "run"))
    assert one.scores["accuracy"] == two.scores["accuracy"]
    a, b = (torch.load(run.last, weights_only=True)["state_dict"] for run in (one, two))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    # Both know that nothing is left to do, instead of one waiting for the other.
    again = by_launcher("srun", tmp_path, *TWO_NODES)
    assert again.codes == [0, 0] and "is finished" in again.out[0] and again.out[1] == ""


def test_two_nodes_need_one_folder(tmp_path):
    found = by_launcher("srun", tmp_path, *TWO_NODES, apart=True)
    assert found.codes == [2, 2], found
    assert "process 2 of 2, on " in found.err[1] and "does not see" in found.err[1]
    assert "another process of the run has ended" in found.err[0]
    assert [text.count("\n") for text in found.err] == [1, 1]


@pytest.mark.whole
def test_torchrun_comes_to_the_same_scores(tmp_path):
    found = by_launcher("torchrun", tmp_path, "method=gpm", *TINY[:-1], "trainer.devices=2", "hydra.run.dir=run")
    assert found.codes == [0, 0], found
    assert Run(tmp_path / "run").finished


@pytest.mark.parametrize("by", ["srun", "torchrun"])
def test_other_processes_than_a_run_is_to_have_are_refused(train, monkeypatch, by):
    for name, value in launcher(by, 0, "1").items():
        monkeypatch.setenv(name, value)
    answer = train("trainer.accelerator=cpu", "hydra.run.dir=run")
    nodes = "2 nodes, not 1 on 1: set trainer.devices=1 trainer.num_nodes=2"
    node = "1 node, not 1 on 1: set trainer.devices=2 trainer.num_nodes=1"
    assert answer.code == 2 and answer.err.count("\n") == 1
    line = f"{by} started 2 processes on {nodes if by == 'srun' else node}, or start one process"
    assert answer.err == f"error: trainer.devices: {line}\n"
    assert not Path("run").exists()


BAD = [
    (["trainer.num_nodes=2"], "trainer.num_nodes: start the command on every node by srun or torchrun"),
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
