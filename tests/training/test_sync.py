"""Runs that were logged offline come to one history, however often they were stopped, and their upload too."""

from __future__ import annotations

import csv
import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import TINY, call
from wandb_server import WandbServer

import orthotrace.cli.runs
from orthotrace.core.errors import UserError
from orthotrace.core.folders import FolderInUseError, held
from orthotrace.training import sync as syncing
from orthotrace.training.progress import Progress
from orthotrace.training.tracking import WandbTracker

RUN = (*TINY, "trainer.max_epochs=2", "dataset.limit=20", "method=gpm", "logger=wandb_offline", "hydra.run.dir=run")


@pytest.fixture
def runs(monkeypatch, capsys):
    """orthotrace-runs in this process."""
    return lambda *words: call(orthotrace.cli.runs.main, [str(word) for word in words], monkeypatch, capsys)


@pytest.fixture
def trained(train, monkeypatch):
    """Train, and stop when so many epochs were logged."""

    def until(epochs: int) -> None:
        log = WandbTracker.epoch

        def epoch(self, row, number):
            log(self, row, number)
            if number == epochs and self.next > self.run.starting_step and row["task"] == 2:
                raise UserError("stopped")

        with monkeypatch.context() as patch:
            patch.setattr(WandbTracker, "epoch", epoch)
            assert train(*RUN).code == (2 if epochs < 5 else 0)

    return until


def whole(server: WandbServer) -> None:
    """The history of the only run is that of metrics.csv, each row once and in order, with an end of each task."""
    (run,) = [one for one in server.runs.values() if one.history]
    rows = list(csv.DictReader(Path("run/metrics.csv").read_text().splitlines()))
    history = run.history
    assert [row["_step"] for row in history] == list(range(len(rows) + 2))
    assert [row["trained_epochs"] for row in history] == [1, 2, 2, 3, 4, 4]
    assert [row["train_loss"] for row in history if "train_loss" in row] == [float(row["train_loss"]) for row in rows]
    assert [row["task"] for row in history if "cl/accuracy" in row] == [1, 2]
    assert run.files[history[-1]["cl/accuracy_matrix"]["path"]].startswith(b"\x89PNG")
    assert run.summary["cl/acc"] == history[-1]["cl/acc"] and run.config["stream"]["tasks"] == 2 and run.complete
    assert run.about["groupName"] == "study" and run.about["displayName"] == "gpm seed 0"


def about_runs(server) -> list[str]:
    """What a server was asked for; W&B's service sends metrics of itself some time after a command has ended."""
    return [one for one in server.requests if not one.startswith("/sdk/otel/")]


def test_a_run_that_was_stopped_and_synced_at_any_time_has_one_history(trained, runs, served):
    trained(3)
    first = sorted(Path("run/wandb").glob("offline-run-*"))
    with served() as server:
        answer = runs("sync", ".")
        assert answer.code == 0 and "synced: run: 4 of 4 rows sent" in answer.out, answer
        # In the first epoch of the second task again, from the checkpoint.
        trained(4)
        trained(5)
        segments = sorted(Path("run/wandb").glob("offline-run-*"))
        assert len(segments) == 3 and segments[:1] == first
        # Any of them holds the history from its beginning.
        assert [min(syncing.read([one]).rows) for one in segments] == [0, 0, 0]
        (copies,) = syncing.copies_below(Path())
        # A sync that is killed has sent a part.
        kept = syncing.read(copies.segments)
        assert syncing._upload(copies, replace(kept, rows={place: kept.rows[place] for place in range(5)})) == 1
        answer = runs("sync", "run/wandb")
        assert answer.code == 0 and "synced: run: 1 of 6 rows sent, the others were there; 3 segments" in answer.out
        whole(server)
        before = about_runs(server)
        answer = runs("sync", ".")
        assert answer.code == 0 and answer.out == "0 runs synced, 1 were already\n" and about_runs(server) == before
    # Elsewhere it comes at once to the same.
    for one in segments:
        syncing.mark_of(one).unlink()
    with served() as other:
        assert runs("sync", ".").code == 0
        whole(other)


def test_what_a_server_lost_is_logged_when_the_run_goes_on(served, tmp_path, monkeypatch):
    monkeypatch.setattr("orthotrace.training.tracking.FINISH", 30)
    epochs = [{"task": 1 + number // 2, "epoch": 1 + number % 2, "loss": float(number)} for number in range(3)]
    progress = Progress(2, task=1, epoch=1, accuracy=[[0.5, 0.1]], leak=[None], epochs=epochs)

    def started() -> WandbTracker:
        tracker = WandbTracker()
        tracker.start(tmp_path, "train", "g", "n", [], {})
        return tracker

    with served() as server:
        tracker = started()
        tracker.epoch(epochs[0], 1)
        tracker.finish(failed=True)
        tracker = started()
        tracker.resumed(progress, None)
        tracker.resumed(progress, None)
        tracker.epoch(epochs[2], 3)
        tracker.epoch({"task": 2, "epoch": 2, "loss": math.nan}, 4)
        tracker.finish()
    (run,) = [one for one in server.runs.values() if one.history]
    assert [(row["_step"], row["trained_epochs"], row.get("loss")) for row in run.history[:4]] == [
        (0, 1, 0.0),
        (1, 2, 1.0),
        (2, 2, None),
        (3, 3, 2.0),
    ]
    assert len(run.history) == 5 and math.isnan(run.history[4]["loss"]) and run.history[2]["cl/accuracy"] == 0.5


def test_what_is_there_is_not_even_given_to_wandb():
    steps, tracker = [], WandbTracker()
    tracker.run = SimpleNamespace(log=lambda row, step: steps.append(step), define_metric=lambda *given, **more: None)
    tracker.next, tracker.drawn = 2, set()
    for number in (1, 2, 3, 3, 4):
        tracker.epoch({"task": 1, "loss": 0.0}, number)
    assert steps == [2, 3]


@pytest.fixture
def copy(tmp_path, monkeypatch) -> Path:
    """A short run that was logged offline."""
    import wandb

    monkeypatch.chdir(tmp_path)
    wandb.teardown()
    tracker = WandbTracker(mode="offline")
    tracker.start(tmp_path / "all" / "run", "train", "g", "n", [], {})
    tracker.epoch({"task": 1, "loss": math.inf, "text": "NaN", "none": None}, 1)
    tracker.finish()
    return tmp_path / "all" / "run"


def test_a_mistake_is_one_line_at_once(runs, served, tmp_path, copy, monkeypatch):
    (tmp_path / "empty").mkdir()
    for words, line in {
        ("sync",): "name a folder; write orthotrace-runs sync FOLDER",
        ("sync", "nowhere"): "there is no folder nowhere",
        ("sync", "empty"): "empty holds no runs that were logged offline: train with logger=wandb_offline",
        ("sync", "all", "more"): "unrecognized arguments: more; write orthotrace-runs sync FOLDER",
    }.items():
        answer = runs(*words)
        assert (answer.code, answer.err) == (2, f"error: {line}\n")
    assert "orthotrace-runs sync FOLDER" in runs("sync", "--help").out
    with served("refuses") as server:
        answer = runs("sync", "all")
        line = f"error: W&B at {server.url} does not answer: connection refused; nothing was synced\n"
        assert (answer.code, answer.err) == (2, line)
    with served(401):
        answer = runs("sync", "all")
        assert answer.code == 2 and "refuses the login (HTTP 401); log in with 'wandb login'\n" in answer.err
    with served():
        monkeypatch.delenv("WANDB_API_KEY")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        monkeypatch.setenv("HOME", str(tmp_path))
        answer = runs("sync", "all")
        assert answer.code == 2 and answer.err.endswith("log in with 'wandb login'\n") and answer.err.count("\n") == 1
    assert not list(copy.rglob("*.synced"))
    # A folder of that name is listed as ever.
    (tmp_path / "sync").mkdir()
    assert "sync holds no runs" in runs("sync").err


def test_what_cannot_be_whole_is_told_and_the_others_are_synced(runs, served, copy, monkeypatch):
    lost, running, dying = (copy.with_name(name) for name in ("lost", "running", "dying"))
    for other in (lost, running):
        shutil.copytree(copy, other)

    def refused():
        raise FolderInUseError("in use by another process")

    # So W&B leaves the copy of a process that was killed.
    next(lost.rglob("*.wandb")).write_bytes(b"")
    with served() as server:
        with monkeypatch.context() as patch:
            patch.setattr(syncing, "held", lambda folder: refused() if folder.name == "running" else held(folder))
            answer = runs("sync", "all")
        assert answer.code == 1
        assert "not synced: all/lost: nothing was kept of it, since it was killed; the command" in answer.out
        assert "not synced: all/running: " in answer.out and "another process" in answer.out
        assert "synced: all/run: 1 of 1 rows sent" in answer.out and "1 runs synced, 0 were already" in answer.out
        (run,) = [one for one in server.runs.values() if one.history]
        assert run.history[0]["loss"] == math.inf and run.history[0]["_step"] == 0
    shutil.rmtree(running)
    shutil.rmtree(lost)
    shutil.copytree(copy, dying)
    next(dying.glob("wandb/offline-run-*/*.synced")).unlink()
    monkeypatch.setattr(syncing, "FINISH", 0.5)
    with served() as server:
        server.fault, server.only = "refuses", "file_stream"
        answer = runs("sync", "all")
        assert answer.code == 1
        assert "not synced: all/dying: the server stopped to answer; the same command goes on" in answer.out
    assert not list(dying.glob("wandb/offline-run-*/*.synced"))


def test_an_analysis_is_synced_with_its_tables(served, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    (out / "rdms").mkdir(parents=True)
    for name in ("rdms/a.json", "results.json", "stimuli.csv"):
        (out / name).write_text("{}")
    tracker = WandbTracker(mode="offline")
    tracker.start(out, "analyse", "g", "n", [], {})
    tracker.analysis(out, {"factors": [{"layer": "fc1"}]}, [])
    tracker.finish()
    with served() as server:
        answer = runs("sync", "out")
        assert answer.code == 0 and "synced: out: an analysis" in answer.out
        assert [one["committed"] for one in server.artifacts.values() if "rdms-" in str(one["about"])] == [True]
