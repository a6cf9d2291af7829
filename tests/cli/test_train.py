"""Runs from end to end: folders, resume, protection, W&B."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from composed import check_scores, inspect
from conftest import TINY, command, snapshot, started
from wandb_server import WandbServer

import orthotrace
from orthotrace.cli.multirun import Multirun
from orthotrace.config.build import build
from orthotrace.results.run_folder import Run
from orthotrace.training.evaluation import evaluate


def scores(folder: Path) -> dict:
    return json.loads((folder / "scores.json").read_text())


def test_a_folder_holds_what_is_promised(study):
    for run in study.glob("method*"):
        found = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
        checkpoints = {f"checkpoints/{name}.ckpt" for name in ("task1", "task2", "last")}
        hydra = {f".hydra/{name}.yaml" for name in ("config", "hydra", "overrides")}
        digests = {".sha256", "checkpoints/.sha256", ".hydra/.sha256"}
        assert found == {"scores.json", "metrics.csv"} | checkpoints | hydra | digests
        told = scores(run)
        check_scores(told)
        total = len(told["accuracy"])
        assert total == 2 and all(len(row) == total for row in told["accuracy"])
        assert (told["leak"] is None) == (told["method"] == "finetune") == (told["capacity"] is None)
        with (run / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [(row["task"], row["epoch"]) for row in rows] == [("1", "1"), ("2", "1")]


@pytest.mark.filterwarnings("ignore:layer .* all of its")
def test_learning_that_collapsed_is_told_at_the_end(train):
    """All directions are held after the first task: the classes of the second cannot be learned."""
    options = ("stream=split", "stream.scenario=class", "stream.tasks=2", "trainer.max_epochs=1", "model.hidden=[8]")
    answer = train(*options, "method=gpm", "method.energy=1", "hydra.run.dir=run")
    (line,) = [one for one in answer.out.splitlines() if "not learned" in one]
    assert line.startswith("not learned: task 2 (at chance just after its training") and line.endswith("run")
    told = scores(Path("run"))
    assert told["val_acc"] is not None and told["test_images"] and told["machine"]["device"] == "cpu"
    check_scores(told)


def test_accuracies_are_those_of_the_networks(study):
    """Averaged over samples: the test part has 360 images, the batch of 128 does not divide it."""
    from orthotrace.data.sources import digits
    from orthotrace.data.streams import Permuted

    run = next(study.glob("method=gpm*seed=1*"))
    stream = Permuted(digits(), tasks=2, seed=1)
    for task in (1, 2):
        model = orthotrace.load(run, task)
        assert not model.training
        for index in range(2):
            test = stream.test(index)
            with torch.no_grad():
                right = (model(test.inputs()).argmax(1) == test.labels).double().mean()
            assert scores(run)["accuracy"][task - 1][index] == pytest.approx(float(right), abs=1e-12)


def test_same_configuration_same_bits(train, study):
    assert train(*TINY, "method=hlop", "method.rows=4", "seed=1", "hydra.run.dir=again").code == 0
    first = next(run for run in study.glob("*method=hlop*") if "seed=1" in run.name)
    one, two = (torch.load(run / "checkpoints/task2.ckpt", weights_only=True) for run in (first, Path("again")))
    assert all(torch.equal(one["state_dict"][key], two["state_dict"][key]) for key in one["state_dict"])


def test_seeds_can_be_set_alone(train):
    runs = {"base": [], "init": ["seeds.init=5"], "order": ["seeds.order=5"]}
    for name, extra in runs.items():
        assert train(*TINY, "method=finetune", f"hydra.run.dir={name}", *extra).code == 0
    states = {name: torch.load(f"{name}/checkpoints/task1.ckpt", weights_only=True)["state_dict"] for name in runs}
    assert not torch.equal(states["base"]["model.fc1.weight"], states["order"]["model.fc1.weight"])
    assert not torch.equal(states["base"]["model.fc1.weight"], states["init"]["model.fc1.weight"])
    assert scores(Path("init"))["seeds"] == {
        "init": 5,
        "order": 0,
        "stream": 0,
        "method": 0,
        "dropout": 0,
        "augmentation": 0,
    }
    assert scores(Path("base"))["untrained"] == scores(Path("order"))["untrained"] != scores(Path("init"))["untrained"]


def test_a_finished_run_is_left_alone_and_overwrite_starts_afresh(train, tmp_path):
    first = train(*TINY)
    assert first.code == 0
    (run,) = (tmp_path / "runs" / "study").iterdir()
    before, changed = snapshot(tmp_path), run.stat().st_mtime_ns
    again = train(*TINY)
    assert again.code == 0 and "is finished; overwrite=true starts it afresh" in again.out
    assert snapshot(tmp_path) == before and run.stat().st_mtime_ns == changed
    (run / "notes.txt").write_text("mine")
    os.utime(run / "scores.json", (0, 0))
    assert train(*TINY, "overwrite=true").code == 0
    assert (run / "notes.txt").read_text() == "mine" and (run / "scores.json").stat().st_mtime > 0


SGD, ADAMW = ["optimizer=sgd", "optimizer.weight_decay=.01"], ["optimizer=adamw"]
# Every pair; all three together in test-whole.
PAIRS = [("hlop", SGD, "32-true"), ("hlop", ADAMW, "64-true"), ("gpm", SGD, "64-true"), ("gpm", ADAMW, "32-true")]
ALL = [("hlop", SGD, "64-true"), ("hlop", ADAMW, "32-true"), ("gpm", SGD, "32-true"), ("gpm", ADAMW, "64-true")]


@pytest.mark.parametrize(
    ("method", "optimizer", "precision"), [*PAIRS, *(pytest.param(*one, marks=pytest.mark.whole) for one in ALL)]
)
def test_nothing_leaks(train, method, optimizer, precision):
    answer = train(
        "stream.tasks=3", "trainer.max_epochs=3", "model.hidden=[64,64]", f"method={method}", "dataset.limit=70",
        f"trainer.precision={precision}", "hydra.run.dir=run", *optimizer,
    )  # fmt: skip
    assert answer.code == 0
    told = scores(Path("run"))
    bound = 1e-6 if precision == "32-true" else 1e-12
    assert told["leak"][0] == 0 and max(told["leak"]) <= bound
    for entry in told["capacity"].values():
        assert entry["rank"] == sorted(entry["rank"]) and entry["rank"][-1] <= entry["features"]
        assert min(a / b for a, b in zip(entry["captured"], entry["exact"], strict=True)) >= 0.98


@pytest.mark.parametrize(
    "extra", ["trainer.accumulate_grad_batches=2", "trainer.precision=bf16-mixed", "trainer.gradient_clip_val=.01"]
)
def test_nothing_leaks_under_what_lightning_does_to_a_step(train, extra):
    assert train(*TINY, "method=gpm", "hydra.run.dir=run", extra).code == 0
    assert scores(Path("run"))["leak"][1] <= 1e-6


# Rates that fit the scale of the input: large inputs want small steps; small ones large steps of the first weights.
SCALED = {
    "1.0": ["optimizer.lr=.05"],
    "20.0": ["optimizer.lr=.005"],
    "0.05": ["optimizer.lr=.005", "rates={fc1.weight:800,fc1.bias:.0005}"],
}


@pytest.mark.parametrize("seeds", ["0", pytest.param("0,1,2", marks=pytest.mark.whole)])
def test_the_scale_of_the_input_takes_nothing_from_the_protection(train, seeds):
    means = {}
    for scale, rates in SCALED.items():
        answer = train(
            "--multirun", f"dataset.scale={scale}", *rates, "method=hlop", "method.energy=[.97,.99,.99]",
            "method.max_rows=150", "stream.tasks=3", f"seed={seeds}", f"hydra.sweep.dir={scale}", "trainer.max_epochs=3",
        )  # fmt: skip
        assert answer.code == 0, answer.err
        runs = [scores(path.parent) for path in Path(scale).glob("*/scores.json")]
        means[scale] = sum(told["acc"] for told in runs) / len(runs)
        for entry in [entry for told in runs for entry in told["capacity"].values()]:
            assert min(a / b for a, b in zip(entry["captured"], entry["exact"], strict=True)) >= 0.98
    assert abs(means["20.0"] - means["1.0"]) <= 0.05
    assert abs(means["0.05"] - means["1.0"]) <= 0.05


LONG = ("stream.tasks=4", "trainer.max_epochs=8", "trainer.batch_size=64", "trainer.save_every=0", "model.hidden=[24]",
        "dataset.limit=60")  # fmt: skip


def killed(folder: Path, overrides: list[str], when) -> None:
    """Start a run and kill it when the time has come."""
    process = started("orthotrace-train", *overrides, cwd=folder)
    deadline = time.monotonic() + 100
    while not when() and time.monotonic() < deadline:
        assert process.exitcode is None, "the run ended before it could be killed"
        time.sleep(0.002)
    process.kill()
    process.join()


@pytest.mark.parametrize(
    ("stop", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.whole)]
)
def test_a_signal_is_told_and_is_no_success(tmp_path, stop, code):
    process = started(
        "orthotrace-train", "method=finetune", *LONG, "hydra.run.dir=run", cwd=tmp_path, err=tmp_path / "err"
    )
    metrics = tmp_path / "run" / "metrics.csv"
    deadline = time.monotonic() + 100
    while not (metrics.is_file() and "\n1,2," in metrics.read_text()) and time.monotonic() < deadline:
        time.sleep(0.002)
    assert process.pid is not None
    os.kill(process.pid, stop)
    process.join(60)
    said = (tmp_path / "err").read_text()
    assert process.exitcode == code
    assert said.startswith("interrupted: ") and said.endswith("run; the same command continues\n")
    assert said.count("\n") == 1


def within_task_3(run: Path) -> bool:
    return (run / "metrics.csv").is_file() and "\n3,5," in (run / "metrics.csv").read_text()


def between_tasks(run: Path) -> bool:
    return (run / "checkpoints" / "task3.ckpt").is_file()


# Every method, stopped everywhere, is in test_continuing; here processes are killed.
@pytest.mark.parametrize(
    ("method", "when"), [("hlop", within_task_3), pytest.param("gpm", between_tasks, marks=pytest.mark.whole)]
)
def test_a_killed_run_ends_as_if_it_had_not_been(train, tmp_path, method, when):
    overrides = [f"method={method}", *LONG]
    assert train(*overrides, "hydra.run.dir=whole").code == 0
    metrics = tmp_path / "cut" / "metrics.csv"
    killed(tmp_path, [*overrides, "hydra.run.dir=cut"], lambda: when(tmp_path / "cut"))
    assert scores(tmp_path / "cut")["acc"] is None
    done = command("orthotrace-train", *overrides, "hydra.run.dir=cut", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "continued" in done.stdout
    one, two = scores(tmp_path / "whole"), scores(tmp_path / "cut")
    assert len(one.pop("seconds")) == len(two.pop("seconds")) == 4
    assert one == two
    for task in range(1, 5):
        a, b = (
            torch.load(tmp_path / name / "checkpoints" / f"task{task}.ckpt", weights_only=True)["state_dict"]
            for name in ("whole", "cut")
        )
        assert list(a) == list(b) and all(torch.equal(a[key], b[key]) for key in a)
    assert metrics.read_text() == (tmp_path / "whole" / "metrics.csv").read_text()


def test_interrupted_folders_without_a_checkpoint_start_again(train):
    assert train(*TINY, "hydra.run.dir=run").code == 0
    first = scores(Path("run"))
    (Path("run") / "scores.json").unlink()
    for checkpoint in Path("run").glob("checkpoints/*"):
        checkpoint.unlink()
    assert train(*TINY, "hydra.run.dir=run").code == 0
    second = scores(Path("run"))
    first.pop("seconds"), second.pop("seconds")
    assert first == second


def test_rows_from_takes_the_ranks_of_the_run_with_the_same_seed(train, study):
    # Of the runs with this seed only gpm's has rows.
    gpm = next(study.glob("method=gpm*seed=2*"))
    assert train(*TINY, "method=hlop", "seed=2", f"method.rows_from={study}", "hydra.run.dir=run").code == 0
    ours, theirs = scores(Path("run"))["capacity"], scores(gpm)["capacity"]
    assert {name: entry["rank"] for name, entry in ours.items()} == {name: e["rank"] for name, e in theirs.items()}


def test_load_gives_networks_by_task(study):
    run = next(study.glob("method=finetune*seed=0*"))
    last, same, before = (orthotrace.load(run, task).fc1.weight for task in (-1, 2, -2))
    assert torch.equal(last, same) and not torch.equal(last, before)
    for task, line in (
        (3, "no checkpoint of task 3; there are: 1, 2"),
        (-3, "no checkpoint of task -3"),
        (0, "task 0"),
    ):
        with pytest.raises(orthotrace.core.errors.UserError, match=line):
            orthotrace.load(run, task)
    with pytest.raises(orthotrace.core.errors.UserError, match="not a run's folder"):
        orthotrace.load(study)


@pytest.mark.parametrize("method", ["finetune", "gpm", "hlop"])
def test_training_that_diverges_is_told(train, method):
    answer = train(*TINY, f"method={method}", "optimizer.lr=1e18", "hydra.run.dir=run")
    assert answer.code == 2 and "not finite" in answer.err and "learning rate" in answer.err
    assert len(answer.err.strip().split("\n")) == 1


NET = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, shape, classes, width=4):
        super().__init__(nn.Conv2d(1, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36 * width, classes))
"""


def test_a_net_of_ones_own(train, analyze, tmp_path, monkeypatch):
    (tmp_path / "mynet.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    own = ["model=custom", "model._target_=mynet.Net", "+model.width=6", "stream.tasks=2", "trainer.max_epochs=1"]
    assert train(*own, "method=finetune", "hydra.run.dir=run").code == 0
    assert orthotrace.load("run", trust="mynet")[0].weight.shape == (6, 1, 3, 3)
    assert analyze("runs=run", "trust=[mynet]").code == 0
    assert train(*own, "method=gpm", "method.rows=3", "hydra.run.dir=held").code == 0
    assert scores(Path("held"))["capacity"]["0"]["features"] == 9


# Processes side by side share an id least of all, and take longest to start.
@pytest.mark.parametrize(
    ("seeds", "launcher"),
    [("0", ()), pytest.param("0,1,2", ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"), marks=pytest.mark.whole)],
)
def test_each_job_is_a_run_in_wandb(tmp_path, seeds, launcher):
    done = command(
        "orthotrace-train", "--multirun", f"seed={seeds}", "method=finetune,hlop", *launcher, "logger=wandb_offline",
        "name=six", "trainer.max_epochs=2", *TINY[:1], *TINY[2:], cwd=tmp_path, timeout=300, forked=not launcher,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folders = [path for path in (tmp_path / "runs" / "six").iterdir() if path.is_dir()]
    assert len(folders) == 2 * len(seeds.split(","))
    ids = set()
    for folder in folders:
        (file,) = folder.glob("wandb/offline-run-*/*.wandb")
        ids.add(file.stem)
        told = scores(folder)
        if told["seeds"]["init"]:
            continue
        content = inspect(file)
        assert content["group"] == "six" and content["job_type"] == "train"
        assert {told["method"], "permuted", "digits", "mlp"} == set(content["tags"])
        assert content["name"] == f"{told['method']} seed {told['seeds']['init']}"
        assert content["config"]["stream"]["tasks"] == 2
        history = content["history"]
        assert [row["epoch"] for row in history if "train_loss" in row] == [1, 2, 1, 2]
        by_task = {row["task"]: row for row in history if "cl/accuracy" in row}
        assert by_task[2]["cl/acc"] == pytest.approx(told["acc"])
        assert by_task[1]["cl/accuracy_task1"] == pytest.approx(told["accuracy"][0][0])
        assert by_task[2]["cl/accuracy_matrix._type"] == "image-file"
        assert content["id"] == file.stem.removeprefix("run-")
    assert len(ids) == len(folders)


def test_a_continued_run_is_the_same_run_in_wandb(tmp_path):
    overrides = ["method=finetune", "logger=wandb_offline", "hydra.run.dir=run", *LONG, "trainer.max_epochs=4"]
    killed(tmp_path, overrides, lambda: (tmp_path / "run/checkpoints/task2.ckpt").is_file())
    done = command("orthotrace-train", *overrides, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = list((tmp_path / "run").glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 2
    assert len({file.stem for file in files}) == 1
    with WandbServer() as server:
        done = command("orthotrace-runs", "sync", "run", cwd=tmp_path, **server.environment)
        assert done.returncode == 0, done.stderr
    (run,) = [one for one in server.runs.values() if one.history]
    with (tmp_path / "run" / "metrics.csv").open() as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file)]
    assert [row["train_loss"] for row in run.history if "train_loss" in row] == losses
    assert [row["_step"] for row in run.history] == list(range(len(losses) + 4))


@pytest.mark.parametrize(
    "own", [["method=trgp", "method.threshold=0", "method.energy=.8"], ["method=gpm", "method.rows=2", "model=convnet",
            "model.channels=[4]", "method.normalisation=task"]]
)  # fmt: skip
def test_the_network_that_is_loaded_is_the_one_that_was_tested(train, own):
    hidden = [] if "model=convnet" in own else ["model.hidden=[24]"]
    small = ["stream=split", "stream.tasks=2", "stream.scenario=task", "trainer.max_epochs=2", *hidden]
    answer = train(*own, *small, "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    run = Run("run")
    stream = build(run.config, "stream", source=build(run.config, "dataset"), seed=0)
    for task in (1, 2):
        found = evaluate(run.network(task), stream.test(task - 1), stream.active.by_task[task - 1])
        assert found.accuracy == run.scores["accuracy"][task - 1][task - 1]


class NoOptimizer:
    """Looks like one, and nobody could see its steps."""

    def __init__(self, params, lr):
        self.params = params


def test_an_optimizer_that_is_none_of_torchs_is_one_line(train, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    answer = train("~optimizer", "+optimizer={_target_:test_train.NoOptimizer,_partial_:true,lr:0.1}", *TINY)
    assert answer.code == 2 and "optimizer: NoOptimizer is no torch.optim.Optimizer" in answer.err
    assert "Traceback" not in answer.err


def test_a_sweeper_gets_the_validation_accuracy_and_no_test_accuracy(train, tmp_path, monkeypatch):
    noted: list[Any] = []
    # What Hydra's launcher hands to its sweeper.
    monkeypatch.setattr(
        Multirun, "on_job_end", lambda self, config, job_return, **kwargs: noted.append(job_return.return_value)
    )
    command = ("--multirun", "method=finetune", "dataset.limit=20", *TINY)
    swept = ("stream.validation=.1,0", "hydra.sweep.subdir=v${stream.validation}")
    # Trained, and then found finished.
    for _ in range(2):
        answer = train(*command, *swept)
        assert answer.code == 0, answer.err
        expected = json.loads(next(tmp_path.rglob("v0.1/scores.json")).read_text())
        assert noted[-2:] == [expected["val_acc"], None] and expected["val_acc"] is not None
    answer = train(*command, "optimizer.lr=1e30", "hydra.sweep.subdir=failing")
    assert answer.code == 1 and noted[4:] == [None]
