"""Launchers and sweepers of other packages, as users choose them."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import TINY, command, surroundings
from omegaconf import OmegaConf

import orthotrace.cli.plugins
from orthotrace.cli.plugins import FOLDER, OPTIONS, of_launcher, prepare_ray
from orthotrace.cli.submitit_local import BoundedLocalLauncher
from orthotrace.core.folders import is_held
from orthotrace.results.run_folder import Run, find

GIVEN = ("method=gpm", *TINY, "name=x")
NEEDED = {
    "hydra/launcher=submitit_slurm": "hydra-submitit-launcher: pip install 'orthotrace[slurm]'",
    "hydra/launcher=submitit_local": "hydra-submitit-launcher: pip install 'orthotrace[slurm]'",
    "hydra/launcher=ray": "hydra-ray-launcher: pip install 'orthotrace[ray]'",
    "hydra/sweeper=optuna": "hydra-optuna-sweeper: pip install 'orthotrace[optuna]'",
}


@pytest.mark.parametrize("choice", NEEDED)
def test_a_package_that_is_not_installed(train, monkeypatch, choice):
    monkeypatch.setattr(orthotrace.cli.plugins, "find_spec", lambda name: None)
    answer = train("--multirun", choice, "seed=0,1", *GIVEN)
    assert answer.code == 2 and answer.err.startswith(f"error: {choice}: needs {NEEDED[choice]} (in the job ")
    assert answer.err.count("\n") == 1 and not Path("runs").exists()


def test_every_option_has_a_case():
    assert sorted(NEEDED) == sorted(f"hydra/{file.parent.name}={file.stem}" for file in OPTIONS.glob("*/*.yaml"))


OPTUNA = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "method.energy=interval(.5,.99)")
optuna = pytest.mark.skipif(find_spec("optuna") is None, reason="needs orthotrace[optuna]")
# optuna 2.10 on SQLAlchemy 2.0, and what it says of itself.
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
submitit = pytest.mark.skipif(find_spec("submitit") is None, reason="needs orthotrace[slurm]")


@optuna
@quiet
def test_a_search_ends_in_a_table_and_a_file_that_gives_its_score_again(train):
    answer = train("--multirun", *OPTUNA, *GIVEN)
    assert answer.code == 0, answer.err
    assert "study" not in answer.err
    assert "[2/2] method.energy=" in answer.out and "best by val_acc of 2 settings (" in answer.out
    runs = find(Path("runs/x"))
    best = max(run.scores["val_acc"] for run in runs)
    assert len(runs) == 2 and f"{best:.4g}" in answer.out
    told = OmegaConf.load("runs/x/optimization_results.yaml")
    assert told.best_value == best
    assert train("--config-dir", "runs/x", "experiment=best", "hydra.run.dir=again").code == 0
    assert Run("again").scores["val_acc"] == best
    assert Run("again").config.method.energy == told.best_params["method.energy"]


SEARCHES = {
    "objective: val_acc needs images held out": ("stream.validation=0",),
    "hydra.sweeper.direction: one for each objective (acc, seconds)": (
        "objective=[acc,seconds]", "hydra.sweeper.direction=maximize",
    ),
    # The upper bound, which no trial may come to.
    "method.energy: input should be less than or equal to 1": ("method.energy=interval(.5,1.5)",),
}  # fmt: skip


@optuna
@quiet
@pytest.mark.parametrize("line", SEARCHES)
def test_a_search_is_refused_before_its_first_trial(train, line):
    answer = train("--multirun", *OPTUNA[:2], *GIVEN, "seed=0", OPTUNA[2], *SEARCHES[line])
    assert answer.code == 2 and answer.err.startswith(f"error: {line}") and answer.err.count("\n") == 1
    assert not Path("runs").exists()


@optuna
@quiet
def test_a_search_whose_trials_all_fail(train, monkeypatch):
    """Without a value from any of them Optuna has nothing to say."""
    monkeypatch.setattr("orthotrace.cli.train.assemble", lambda *_: 1 / 0)
    answer = train("--multirun", *OPTUNA, *GIVEN)
    assert answer.code == 1 and answer.out.count("failed: ") >= 2
    assert answer.err == "error: no trial of the search has an objective: the lines above say why\n"


@submitit
def test_a_job_of_submitit_that_hears_a_signal_is_started_again_and_comes_to_the_same_bits(tmp_path):
    given = ("method=gpm", "stream.tasks=2", "model.hidden=[24]", "trainer.max_epochs=100", "seed=0")
    words = ("--multirun", "hydra/launcher=submitit_local", "hydra.launcher.jobs_at_once=1", *given, "name=x")
    program = str(Path(sys.executable).with_name("orthotrace-train"))
    with subprocess.Popen(
        [program, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=surroundings()
    ) as process:
        job, deadline = None, time.monotonic() + 90
        while time.monotonic() < deadline:
            logs = list(tmp_path.glob("runs/x/.submitit/*/*_0_log.out"))
            # The first task is safe; its line is printed a moment before.
            if len(logs) == 1 and list(tmp_path.glob("runs/x/*/checkpoints/task1.ckpt")):
                job = int(logs[0].parent.name)
                break
            time.sleep(0.02)
        assert job is not None
        os.kill(child_of(job), signal.SIGUSR2)
        out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    assert "ACC" in out and not (tmp_path / "runs" / "x" / ".multirun").exists()
    text = logs[0].read_text()
    assert "Requeued job" in text and "continued" in text and text.count("task 1/2") == 1
    whole = command("orthotrace-train", *given, "hydra.run.dir=whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    (run,) = find(tmp_path / "runs" / "x")
    assert run.scores["accuracy"] == Run(tmp_path / "whole").scores["accuracy"]
    assert not run.preempted_file.exists()


@submitit
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.whole)])
def test_jobs_of_submitit_on_this_machine_save_and_end_with_the_command(tmp_path, number):
    given = ("method=gpm", "stream.tasks=2", "model.hidden=[24]", "trainer.max_epochs=300", "seed=0,1")
    words = ("--multirun", "hydra/launcher=submitit_local", "hydra.launcher.jobs_at_once=1", *given, "name=x")
    program = str(Path(sys.executable).with_name("orthotrace-train"))
    place = tmp_path / "runs" / "x"
    with subprocess.Popen(
        [program, *words], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=surroundings()
    ) as process:
        deadline = time.monotonic() + 90
        while not list(place.glob("*/checkpoints/task1.ckpt")) and time.monotonic() < deadline:
            time.sleep(0.02)
        (run,) = find(place)
        process.send_signal(number)
        process.wait(30)
        # Told to stop, it waits for them; killed, they see it.
        deadline = time.monotonic() + (15 if number == signal.SIGKILL else 0)
        while is_held(run.folder) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert process.returncode == (143 if number == signal.SIGTERM else -number)
    # Saved, and no other one has begun.
    assert not is_held(run.folder) and not run.finished and run.preempted_file.exists()
    assert [one.folder for one in find(place)] == [run.folder]


@submitit
def test_so_many_jobs_run_at_once(tmp_path):
    launcher = BoundedLocalLauncher(jobs_at_once=2, submitit_folder=str(tmp_path))
    running, most = [], []

    def launch(overrides, number):
        running.append(number)
        most.append(len(running))
        time.sleep(0.05)
        running.remove(number)
        if number == 3:
            raise ValueError("of one")
        return [overrides[0]]

    launcher.all_at_once.launch = launch
    assert launcher.launch([["a"], ["b"], ["c"]], 0) == [["a"], ["b"], ["c"]]
    assert max(most) == 2
    most.clear()
    with pytest.raises(ValueError, match="of one"):
        launcher.launch([["a"]] * 4, 2)
    # All others have ended.
    assert len(most) == 4


@submitit
def test_a_bound_of_none_is_refused(train):
    answer = train("--multirun", "hydra/launcher=submitit_local", "hydra.launcher.jobs_at_once=0", "seed=0,1", *GIVEN)
    assert answer.code == 2 and answer.err.startswith(
        "error: hydra.launcher.jobs_at_once: a whole number of at least 1"
    )


def child_of(process: int) -> int:
    """The process of a job, which its controller has started."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == process:
                return int(path.parent.name)
        except OSError:
            continue
    raise AssertionError(f"{process} has no child")


def test_what_a_launcher_raises_is_one_line():
    class FailedJobError(Exception):
        __module__ = "submitit.core.utils"

    line = of_launcher(FailedJobError("job 3\nno output"))
    assert line == "a job ended without a result, maybe for want of memory or time: job 3 no output"
    assert of_launcher(ValueError("other")) is None


def test_workers_of_ray_know_the_other_jobs_and_the_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_DEDUP_LOGS", raising=False)
    launcher = {"_target_": "a.RayLauncher", "ray": {"init": {"runtime_env": {"env_vars": {"MINE": "1"}}}}}
    config = OmegaConf.create({"hydra": {"launcher": launcher}})
    prepare_ray(config, {"ORTHOTRACE_JOBS": "2"})
    given = config.hydra.launcher.ray.init.runtime_env.env_vars
    assert (
        given == {"ORTHOTRACE_JOBS": "2", "MINE": "1", FOLDER: str(Path.cwd())} and os.environ["RAY_DEDUP_LOGS"] == "0"
    )
    # A worker of a cluster that runs starts elsewhere.
    module, _, name = config.hydra.launcher.ray.init.runtime_env.worker_process_setup_hook.rpartition(".")
    before = Path.cwd()
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.chdir("/")
    getattr(importlib.import_module(module), name)()
    assert Path.cwd() == tmp_path != before


@pytest.mark.parametrize(("address", "variable"), [("auto", None), (None, "127.0.0.1:6379"), (None, None)])
def test_a_cluster_of_ray_that_runs_is_asked_for_no_memory(monkeypatch, address, variable):
    """The plugin sets some where the key is not there."""
    monkeypatch.setenv("RAY_DEDUP_LOGS", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    launcher = {"_target_": "a.RayLauncher", "ray": {"init": {"address": address}}}
    config = OmegaConf.create({"hydra": {"launcher": launcher}})
    prepare_ray(config, {})
    init = config.hydra.launcher.ray.init
    assert init.setdefault("object_store_memory", 1) == (1 if address is variable is None else None)
