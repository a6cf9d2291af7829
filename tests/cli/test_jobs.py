"""The jobs of a multirun: they stop together, and save what they have; after a failure no further one starts."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import TINY, surroundings

from orthotrace.cli import jobs

# Two workers of joblib, as a multirun starts them, with jobs that take no training: each holds its folder and is long.
SWEEP = """
import functools, time
from pathlib import Path
from joblib import Parallel, delayed
from orthotrace.cli import jobs
from orthotrace.core.folders import held, is_held
from orthotrace.core.interrupt import interruptible, waiting_for

FOLDERS = [Path(f"job{number}") for number in range(6)]

def job(folder):
    if not jobs.may_start(folder):
        return
    with jobs.worker(), held(folder):
        (folder / "begun").touch()
        try:
            for _ in range(1200):
                time.sleep(0.05)
        finally:
            time.sleep(0.5)
            (folder / "saved").touch()

if __name__ == "__main__":
    with interruptible():
        jobs.begin(Path("."), [], False)
        try:
            with waiting_for(functools.partial(jobs.tell, jobs.SIGNAL), lambda: not any(map(is_held, FOLDERS))):
                Parallel(n_jobs=2, backend="loky")(delayed(job)(folder) for folder in FOLDERS)
        finally:
            jobs.end()
"""


def children(process: int) -> list[int]:
    """The processes that another one has started, and that still live."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parts = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(parts[1]) == process and parts[0] != "Z":
            found.append(int(path.parent.name))
    return found


def ended(processes: list[int], patience: float = 20) -> bool:
    """Whether processes come to their end."""
    deadline = time.monotonic() + patience
    while any(Path(f"/proc/{one}").exists() for one in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(Path(f"/proc/{one}").exists() for one in processes)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("stop", ["terminal", signal.SIGTERM, signal.SIGKILL], ids=str)
def test_the_workers_of_joblib_end_with_the_command_and_save(tmp_path, stop):
    (tmp_path / "sweep.py").write_text(SWEEP)
    environment = {**surroundings(), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "sweep.py"], cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 100
    while len(list(tmp_path.glob("job*/begun"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = children(process.pid)
    # Of a terminal a signal comes to all of its processes.
    os.killpg(process.pid, signal.SIGINT) if stop == "terminal" else process.send_signal(stop)
    _, said = process.communicate(timeout=60)
    assert ended(workers)
    begun, saved = (sorted(path.parent.name for path in tmp_path.glob(f"job*/{name}")) for name in ("begun", "saved"))
    assert begun == ["job0", "job1"]
    if stop == signal.SIGKILL:
        return
    assert process.returncode == {"terminal": 130, signal.SIGTERM: 143}[stop]
    assert saved == begun and said == "interrupted; the same command continues\n"
    assert not (tmp_path / ".multirun").exists()


@pytest.mark.whole
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_multirun_by_joblib_saves_and_ends(tmp_path, stop):
    """As above, with runs that train."""
    program = str(Path(sys.executable).with_name("orthotrace-train"))
    long = ("method=gpm", "seed=0,1,2", "stream.tasks=2", "trainer.max_epochs=4000", "model.hidden=[24]", "name=x")
    process = subprocess.Popen(
        [program, "--multirun", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *long], cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=surroundings(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        metrics = [len(path.read_text().splitlines()) for path in tmp_path.glob("runs/x/*/metrics.csv")]
        if len(metrics) == 2 and min(metrics) > 2:
            break
        time.sleep(0.05)
    workers = children(process.pid)
    process.send_signal(stop)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + stop and said == "interrupted: runs/x; the same command continues\n"
    assert ended(workers) and len(list(tmp_path.glob("runs/x/*/checkpoints/last.ckpt"))) == 2


@pytest.mark.parametrize(("choice", "started"), [("stop", 1), pytest.param("continue", 3, marks=pytest.mark.whole)])
def test_a_sweep_stops_at_its_first_failure_where_it_is_to(train, study, tmp_path, choice, started):
    # Runs that are finished need no training.
    for run in study.glob("method=gpm*"):
        shutil.copytree(run, tmp_path / "all" / run.name)
    shutil.rmtree(next((tmp_path / "all").glob("*seed=0*")) / "checkpoints")
    broken = next((tmp_path / "all").glob("*seed=0*")) / ".hydra" / "config.yaml"
    broken.write_text("{a: [")
    given = ("method=gpm", "seed=0,1,2", "hydra.sweep.dir=all", f"on_failure={choice}")
    answer = train("--multirun", *TINY, *given)
    assert answer.code == 1, answer.err
    assert answer.out.count("[1/3] seed=0 failed: ") == 1 and answer.out.count("is finished") == started - 1
    # What is finished already is no job that was not started.
    assert "not started: " not in answer.out
    (next((tmp_path / "all").glob("*seed=1*")) / "scores.json").unlink()
    if choice == "stop":
        answer = train("--multirun", *TINY, *given)
        lines = [line for line in answer.out.splitlines() if line.startswith("not started: ")]
        assert answer.code == 1 and len(lines) == 1 and "seed=1" in lines[0]


def test_what_is_told_to_jobs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert jobs.told() == [] and jobs.may_start(Path("a")) and jobs.end() == []
    jobs.begin(tmp_path, [], False)
    try:
        assert jobs.may_start(Path("a"))
        jobs.tell(jobs.FAILURE)
        assert not jobs.may_start(Path("b")) and not jobs.may_start(Path("c"))
        jobs.tell(jobs.SIGNAL)
        assert not jobs.may_start(Path("d"))
    finally:
        assert jobs.end() == ["b", "c"]
    assert jobs.may_start(Path("a")) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "failing", [(), pytest.param(("optimizer.lr=1e30",), marks=pytest.mark.whole)], ids=["runs", "failures"]
)
def test_a_job_leaves_no_network_and_no_images_behind(train, failing):
    """Python looks for what refers to each other when many objects are made, and these are few and large."""

    def left():
        return [one for one in gc.get_objects() if type(one).__name__ in ("Learner", "Images", "Trainer")]

    gc.collect()
    before = len(left())
    gc.disable()
    try:
        train("--multirun", "dataset.limit=20", *TINY, *failing, "method=gpm", "seed=0,1", "hydra.sweep.dir=all")
        assert len(left()) <= before
    finally:
        gc.enable()
