"""estimate=true: what runs would cost, without training or leaving anything."""

from __future__ import annotations

import re
import tempfile

import pytest
from conftest import TINY, snapshot
from omegaconf import OmegaConf

from orthotrace.cli import estimate
from orthotrace.cli.estimate import Cost, together

SWEEP = ("--multirun", "method=finetune,gpm", "seed=0,1", "dataset.limit=20", *TINY)


def test_a_sweep_is_estimated_and_nothing_is_left(train, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    answer = train(*SWEEP, "estimate=true")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0] == "4 runs, 0 finished already"
    # The seeds of a method cost the same.
    assert [line.split(": ")[0] for line in lines[1:3]] == [f"{one} mlp permuted digits" for one in ("finetune", "gpm")]
    assert all(line.endswith(", 2 runs") for line in lines[1:3])
    # It may take minutes, and says what it is at.
    assert [line for line in answer.err.splitlines() if "short epochs" in line] == [
        f"{one} mlp permuted digits: training short epochs to measure them" for one in ("finetune", "gpm")
    ]
    found = re.fullmatch(r"estimate: about [\d.]+ s \(one run at a time\) and ([\d.]+) MB of disk", lines[3])
    assert found and "estimate" in lines[4]
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]
    # The same command without it finds nothing, and its folders have the names that they had.
    assert train(*SWEEP).code == 0
    folders = snapshot(tmp_path / "runs")
    disk = sum(path.stat().st_size for path in (tmp_path / "runs").rglob("task*.ckpt")) / 1e6
    assert float(found[1]) == pytest.approx(disk, rel=0.3)
    answer = train(*SWEEP, "estimate=true")
    assert (answer.code, answer.out) == (0, "4 runs, 4 finished already\n")
    answer = train("method=gpm", "seed=1", "dataset.limit=20", *TINY, "estimate=true")
    assert (answer.code, answer.out) == (0, "1 run, 1 finished already\n")
    assert snapshot(tmp_path / "runs") == folders


def test_a_single_run_is_scaled_to_its_images_epochs_and_tasks(train, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(estimate, "told", lambda seconds: told.append(seconds) or "a while")
    whole = []
    scaled = estimate.scaled
    monkeypatch.setattr(
        estimate, "scaled", lambda *given: whole.append(given[1]) or [100 * one for one in scaled(*given)]
    )
    monkeypatch.setattr(estimate, "BATCHES", 2)
    long = ("method=finetune", "model.hidden=[24]", "trainer.batch_size=8", "estimate=true")
    for overrides in (("stream.tasks=1", "trainer.max_epochs=100"), ("stream.tasks=3", "trainer.max_epochs=1000")):
        answer = train(*long, *overrides)
        assert answer.code == 0, answer.err
        assert "estimate: a while and " in answer.out
    # Of 1,437 images a tenth is for validation.
    assert whole == [[162], [162, 162, 162]]
    epoch = float(re.search(r": ([\d.]+) s an epoch", answer.out)[1])
    assert told[1] == told[0] and told[2] > 1000 * epoch
    assert told[2] > 10 * told[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (("stream.tasks=0",), "stream.tasks: "),
        (("--multirun", "seed=0,1", "estimate=maybe"), "estimate: "),
        (("method=gpm", "method.rows=[1,2,3,4,5,6,7]"), "method"),
    ],
)
def test_what_cannot_be_trained_is_one_line(train, tmp_path, overrides, line):
    answer = train(*TINY, "estimate=true", *overrides)
    assert answer.code == 2 and answer.err.splitlines()[-1].startswith(f"error: {line}")
    assert not list(tmp_path.iterdir())


def test_an_error_of_ours_does_not_train(train, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "measured", lambda job: 1 / 0)
    answer = train(*SWEEP, "estimate=true")
    assert answer.code == 1 and "ZeroDivisionError" in answer.err and not list(tmp_path.iterdir())


def test_several_runs_at_a_time_take_less_and_no_less_than_the_longest(capsys, monkeypatch):
    class Made:
        finished, setting, name = False, "s", "n"

    monkeypatch.setattr(estimate, "measured", lambda job: Cost(1, 60, 10**6))
    jobs: list = [Made() for _ in range(4)]
    for at_once, line in ((1, "about 4.0 min"), (2, "about 2.0 min"), (3, "about 1.3 min"), (None, "about 60 s")):
        estimate.tell_estimate(jobs, at_once, "how")
        minutes = "about 80 s" if at_once == 3 else line
        assert f"estimate: {minutes} (how) and 4.0 MB of disk" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("launcher", "number", "how"),
    [
        ({"_target_": "a.BasicLauncher"}, 1, "one run at a time"),
        ({"_target_": "a.JoblibLauncher", "n_jobs": 3}, 3, "3 runs at a time"),
        ({"_target_": "a.BoundedLocalLauncher", "jobs_at_once": 3}, 3, "3 runs at a time"),
        ({"_target_": "a.SlurmLauncher", "array_parallelism": 8}, 8, "8 runs at a time"),
        ({"_target_": "a.SlurmLauncher"}, None, "all runs at a time"),
        ({"_target_": "a.RayLauncher"}, 1, "one after another: how many run at a time RayLauncher decides"),
    ],
)
def test_how_many_run_at_a_time_is_of_the_launcher(launcher, number, how):
    assert together(OmegaConf.create(launcher)) == (number, how)
