import ast
import csv
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import TINY, command
from wandb_server import KEY, WandbServer

import orthotrace
from orthotrace.core.errors import UserError
from orthotrace.results.run_folder import Run
from orthotrace.training import tracking
from orthotrace.training.reachable import no_answer
from orthotrace.training.tracking import Tracker, WandbTracker, log_artifact, title

# Tasks with heads of their own: some cells of the accuracy matrix are unknown.
HEADS = ("stream=split", "stream.scenario=task")


def test_two_files_alone_import_wandb():
    found = set()
    package = Path(orthotrace.__file__).parent
    for file in [*package.rglob("*.py"), *(package / "analysis").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "wandb" for name in names):
                found.add(file.name)
    assert found == {"tracking.py", "sync.py"}


@pytest.mark.parametrize("options", [{"mode": "sometimes"}, {"project": ""}, {"wrong": 1}])
def test_trackers_that_cannot_be(options):
    with pytest.raises(UserError):
        WandbTracker(**options)


def test_the_silent_tracker_has_every_hook():
    tracker = Tracker()
    tracker.start(Path(), "train", "g", "n", [], {})
    tracker.figures({}, {})
    tracker.analysis(Path(), {}, [])
    tracker.finish()
    WandbTracker(mode="offline").finish()


def test_an_id_that_is_in_use_for_a_moment_is_waited_for(monkeypatch):
    from orthotrace.training.tracking import opened

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    answers = [RuntimeError("run ID ec0d3ac8 is in use")] * 2 + ["run"]

    def init():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert opened(init) == "run" and not answers
    with pytest.raises(RuntimeError, match="is in use"):
        opened(lambda: (_ for _ in ()).throw(RuntimeError("run ID x is in use")), patience=-1)
    with pytest.raises(RuntimeError, match="other"):
        opened(lambda: (_ for _ in ()).throw(RuntimeError("other")))


def started(folder: Path, **options) -> WandbTracker:
    tracker = WandbTracker(**options)
    tracker.start(folder, "train", "g", "n", ["t"], {"a": {"b": 1}})
    return tracker


# What is wrong with a server, and what is told of it.
DEAD = [
    (("refuses",), "connection refused"),
    (("silent",), "no answer within 5 s"),
    ((500,), "HTTP 500"),
    ((503, 0, "UpsertBucket"), "HTTP 503"),
]
FAULT = pytest.mark.parametrize(("fault", "reason"), DEAD, ids=lambda value: str(value))


@FAULT
def test_a_server_that_does_not_answer_is_told_and_nothing_is_lost(served, tmp_path, capsys, fault, reason):
    with served(*fault) as server:
        line = f"W&B at {server.url} does not answer: {reason}; "
        if fault == ("refuses",):
            with pytest.raises(UserError) as stop:
                started(tmp_path / "stop", unreachable="stop")
            assert str(stop.value).startswith(f"logger: {line}take logger=wandb_offline")
        with pytest.warns(UserWarning, match="W&B") as told:
            tracker = started(tmp_path / "run")
        assert [str(one.message) for one in told] == [f"{line}logging goes on offline"]
        tracker.epoch({"x": 1}, 1)
        tracker.finish()
    assert len(list((tmp_path / "run" / "wandb").glob("offline-run-*"))) == 1
    assert capsys.readouterr().out.endswith(f"orthotrace-runs sync {tmp_path / 'run'}\n")


@pytest.mark.parametrize(("status", "line"), [(401, "refuses the login (HTTP 401)"), (404, "returned error 404")])
def test_what_is_wrong_with_the_user_is_told_as_such(served, tmp_path, status, line):
    with served(status), pytest.raises(UserError) as stop:
        started(tmp_path)
    assert line in str(stop.value) and "wandb login" in str(stop.value)


def test_no_login_is_told_as_such(served, tmp_path, monkeypatch):
    with served():
        monkeypatch.delenv("WANDB_API_KEY")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        monkeypatch.setenv("HOME", str(tmp_path))
        with pytest.raises(UserError, match="No API key configured.*wandb login"):
            started(tmp_path / "run")


@pytest.mark.parametrize("fault", ["refuses", "silent", 401])
def test_a_server_that_dies_loses_nothing_and_holds_the_end_back_no_longer_than_it_may(served, tmp_path, capsys, fault):
    with served() as server:
        tracker = started(tmp_path)
        tracker.epoch({"x": 1}, 1)
        server.after, server.fault = len(server.requests), fault
        tracker.epoch({"x": 2}, 2)
        start = time.monotonic()
        tracker.finish()
        assert time.monotonic() - start < 5
    (folder,) = (tmp_path / "wandb").glob("run-*")
    assert capsys.readouterr().out.endswith(f"orthotrace-runs sync {tmp_path}\n")
    assert (folder / "not_uploaded").is_file()
    if fault != "refuses":
        return
    with WandbServer() as again:
        done = command("orthotrace-runs", "sync", ".", cwd=tmp_path, forked=False, **again.environment)
        assert done.returncode == 0, done.stderr
        (run,) = [one for one in again.runs.values() if one.complete]
        assert [row["x"] for row in run.history] == [1, 2]


def test_a_whole_run_arrives(served, train):
    with served() as server:
        assert train(*TINY, *HEADS, "method=gpm", "logger=wandb", "hydra.run.dir=run", "name=mine").code == 0
    (run,) = [one for one in server.runs.values() if one.complete]
    compare(run)
    # The key is in no file, and in nothing that is logged.
    written = [path for path in Path("run").rglob("*") if path.is_file()]
    assert any("wandb" in path.parts for path in written)
    assert not [path for path in written if KEY.encode() in path.read_bytes()]
    assert KEY not in str(server.runs)


def test_an_analysis_arrives_with_its_tables_rdms_and_the_runs_that_it_is_of(served, tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "FINISH", 30)
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))
    out, rdms = tmp_path / "out", {"a.safetensors": b"of a", "a.json": b"{}"}
    for name, content in {
        **{f"rdms/{name}": of for name, of in rdms.items()},
        "results.json": b"{}",
        "stimuli.csv": b"s",
    }.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    (tmp_path / "one" / "wandb").mkdir(parents=True)
    (tmp_path / "one" / "wandb" / "run_id").write_text("0123abcd")
    rows = {"factors": [{"layer": "fc1", "share": 0.5, "resampled": ["a", "b"]}, {"layer": "fc2", "networks": 3}]}
    with served() as server:
        tracker = started(out)
        tracker.analysis(out, rows, [("gpm", tmp_path / "one"), ("gpm", tmp_path / "two")])
        tracker.finish()
    (run,) = [one for one in server.runs.values() if one.complete]
    assert run.config["runs_analysed"] == ["0123abcd"]
    (found,) = [one for one in server.artifacts.values() if one["about"]["artifactTypeName"] == "rdms"]
    assert found["committed"] and "rdms-" in json.dumps(found["about"])
    assert json.loads(found["about"]["metadata"]) == {"runs": {"one": "0123abcd", "two": None}}
    assert {b"of a", b"{}", b"s"} <= set(found["files"].values())
    tables = {
        name.split("/")[-1].split("_")[0]: json.loads(of)
        for name, of in run.files.items()
        if name.endswith(".table.json")
    }
    assert tables["factors"]["columns"] == ["layer", "share", "resampled", "networks"]
    assert tables["factors"]["data"] == [["fc1", 0.5, '["a", "b"]', None], ["fc2", None, None, 3]]
    (first, second) = tables["runs"]["data"]
    assert (
        first[:3] == ["gpm", "one", "0123abcd"] and first[3].endswith("/runs/0123abcd") and second[2:] == [None, None]
    )


@pytest.mark.parametrize("wanted", [True, False])
def test_networks_of_a_run_are_an_artifact_where_they_are_asked_for(served, tmp_path, monkeypatch, wanted):
    monkeypatch.setattr(tracking, "FINISH", 30)
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    for name in ("task1.ckpt", "task2.ckpt", "last.ckpt"):
        (tmp_path / "checkpoints" / name).write_bytes(name.encode())
    with served() as server:
        tracker = WandbTracker(checkpoints=wanted)
        tracker.start(tmp_path, "train", "g", "n", [], {})
        tracker.finish()
    found = [one for one in server.artifacts.values() if one["about"]["artifactTypeName"] == "model"]
    assert len(found) == wanted and all(one["committed"] for one in found)
    assert {b"task1.ckpt", b"task2.ckpt"} <= set(found[0]["files"].values()) if wanted else True
    assert not any(b"last.ckpt" in one["files"].values() for one in found)


def test_an_artifact_that_cannot_be_logged_is_told(capsys):
    import wandb

    def refused(artifact):
        raise wandb.Error("Failed to verify credentials\nof nobody")

    run: Any = SimpleNamespace(log_artifact=refused)
    log_artifact(run, SimpleNamespace(name="rdms-1"))
    assert capsys.readouterr().out == "W&B: the artifact rdms-1 is not logged: Failed to verify credentials\n"


def compare(run) -> None:
    """What the server was sent, with what the run wrote."""
    rows, scores = list(csv.DictReader(Path("run/metrics.csv").read_text().splitlines())), Run("run").scores
    logged = [row for row in run.history if "train_loss" in row]
    assert [float(row["train_loss"]) for row in rows] == [row["train_loss"] for row in logged]
    assert [row["_step"] for row in run.history] == list(range(len(rows) + 2))
    assert run.history[-1]["cl/val_acc"] == scores["val_acc"]
    after = [row for row in run.history if "cl/accuracy" in row]
    for row, found in zip(after, scores["accuracy"], strict=True):
        known = {f"cl/accuracy_task{j}": value for j, value in enumerate(found, start=1) if value is not None}
        assert {key: value for key, value in row.items() if key.startswith("cl/accuracy_task")} == known
    assert run.history[-1]["cl/acc"] == run.summary["cl/acc"] == scores["acc"]
    assert run.about["groupName"] == "mine" and run.config["stream"]["tasks"] == 2
    image = run.history[-1]["cl/accuracy_matrix"]["path"]
    assert run.files[image].startswith(b"\x89PNG")


def test_a_run_without_its_server_syncs_whole_afterwards(served, train):
    with served("refuses") as server:
        assert no_answer(server.url) == "connection refused"
        with pytest.warns(UserWarning, match="goes on offline"):
            assert train(*TINY, "method=gpm", "logger=wandb", "hydra.run.dir=run", "name=mine").code == 0
    (folder,) = Path("run/wandb").glob("offline-run-*")
    with WandbServer() as again:
        done = command("wandb", "sync", str(folder), cwd=Path(), **again.environment)
        assert done.returncode == 0, done.stderr
        (run,) = [one for one in again.runs.values() if one.complete]
    compare(run)


SWEPT = {
    "method and seed": (["method=gpm", "seed=3", "stream.tasks=3"], ["method", "seed"], ""),
    "a key": (["method=gpm", "method.rows=4", "seed=3"], ["method.rows", "seed"], " method.rows=4"),
    "a group": (["stream=split", "method=gpm"], ["method", "stream"], " stream=split"),
    "two, as typed": (["a.b=1", "c=2"], ["c", "a.b"], " c=2 a.b=1"),
    "added": (["+model.extra=1", "++model.width=2"], ["model.extra", "model.width"], " model.extra=1 model.width=2"),
    "a seed of its own": (["seed=3", "seeds.init=5"], ["seeds.init"], " seeds.init=5"),
    "long": (["x=" + 200 * "x"], ["x"], " x=" + 115 * "x"),
    "a single run": (["method=gpm", "stream.tasks=3"], [], ""),
}


@pytest.mark.parametrize(("overrides", "swept", "told"), SWEPT.values(), ids=SWEPT)
def test_a_name_tells_what_is_swept(overrides, swept, told):
    assert title("gpm", 3, overrides, swept) == f"gpm seed 3{told}"


def test_runs_of_a_sweep_have_names_of_their_own(train, monkeypatch):
    names = []

    def start(self, folder, job_type, group, name, tags, config):
        names.append(name)

    monkeypatch.setattr(WandbTracker, "start", start)
    for hook in ("epoch", "task", "finish"):
        monkeypatch.setattr(WandbTracker, hook, lambda *given: None)
    logged = ["logger=wandb_offline", "dataset.limit=20", *TINY]
    sweep = ["method=finetune", "seed=0,1", "optimizer.lr=.1,.2", "++trainer.max_epochs=1"]
    assert train("--multirun", "hydra.sweep.dir=swept", *sweep, *logged).code == 0
    assert names == [f"finetune seed {seed} optimizer.lr={rate}" for seed in (0, 1) for rate in (0.1, 0.2)]
    names.clear()
    # What was swept before is nothing to a single run.
    assert train("optimizer.lr=.1", "hydra.run.dir=single", *logged).code == 0
    assert names == ["hlop seed 0"]
