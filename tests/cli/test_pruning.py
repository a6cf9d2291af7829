"""Runs of a multirun that are below the others are stopped after a task."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from orthotrace.cli import jobs
from orthotrace.cli.multirun import Multirun, conclude
from orthotrace.cli.pruning import PrunedError, Pruning, check_pruning, so_far, told_of_pruned
from orthotrace.core.errors import UserError
from orthotrace.core.files import write_json
from orthotrace.results.listed import Job
from orthotrace.results.run_folder import Run

TINY = ("method=gpm", "stream.tasks=3", "trainer.max_epochs=1", "dataset.limit=40", "model.hidden=[32]")


@pytest.fixture
def others(tmp_path, monkeypatch) -> list[Run]:
    """Five runs of a multirun that are past two tasks, and a sixth that is to be compared."""
    for name in (jobs.JOBS, jobs.SWEPT, jobs.LIST):
        monkeypatch.delenv(name, raising=False)
    found = [Run(tmp_path / str(number)) for number in range(6)]
    for number, run in enumerate(found[:5]):
        run.folder.mkdir()
        write_json(run.pruning_file, {"val_acc": {"1": 0.9, "2": 0.5 + number / 10}})
    found[5].folder.mkdir()
    jobs.begin(tmp_path, [Job(run.folder, (f"seed={number}",)) for number, run in enumerate(found)], queued=False)
    yield found
    jobs.end()


def after(task: int, *accuracy: float) -> Any:
    """An experiment that has just ended a task."""
    return SimpleNamespace(
        progress=SimpleNamespace(task=task), evaluator=SimpleNamespace(on_validation=lambda after: list(accuracy))
    )


CASES = {
    "below the median": (50, 2, (0.4, 0.9, 0.0), True),
    "at the median": (50, 2, (0.5, 0.9, 0.0), False),
    "above a lower percentile": (10, 2, (0.4, 0.9, 0.0), False),
    "below the best": (100, 2, (0.9, 0.8, 0.0), True),
    "nobody is past the task": (50, 3, (0.0, 0.0, 0.0), False),
}


@pytest.mark.parametrize(("percentile", "task", "accuracy", "pruned"), CASES.values(), ids=CASES)
def test_what_is_stopped(others, percentile, task, accuracy, pruned):
    run = others[5]
    if pruned:
        with pytest.raises(PrunedError, match=f"percentile {percentile} of 5 others"):
            Pruning(percentile, run)(after(task, *accuracy))
    else:
        Pruning(percentile, run)(after(task, *accuracy))
    assert (run.pruned is not None) == pruned
    assert so_far(run) == {str(task): pytest.approx(sum(accuracy[:task]) / task)}


@pytest.mark.parametrize("case", ["damaged", "not there", "no object", "not past the task", "other tasks"])
def test_with_fewer_than_five_others_nothing_is_stopped(others, case):
    file = others[0].pruning_file
    if case == "other tasks":
        jobs.end()
        given = [("seed=1", "stream.tasks=5" if run is others[0] else "stream.tasks=3") for run in others]
        folder = others[0].folder.parent
        jobs.begin(folder, [Job(run.folder, of) for run, of in zip(others, given, strict=True)], queued=False)
    elif case == "not there":
        file.unlink()
    else:
        file.write_text({"damaged": "{", "no object": "[]"}.get(case, '{"val_acc": {"1": 0.1}}'))
    Pruning(50, others[5])(after(2, 0.0, 0.0))
    assert others[5].pruned is None


def test_runs_that_are_to_be_replaced_are_not_compared(others):
    worse = after(2, 0.0, 0.0)
    Pruning(50, others[5], afresh=True)(worse)
    for run in others[:5]:
        Pruning(50, run, afresh=True)(after(2, 0.9, 0.9))
    with pytest.raises(PrunedError, match="of 5 others"):
        Pruning(50, others[5], afresh=True)(worse)


def test_a_sweeper_is_told_of_the_worst_run(others, study):
    assert told_of_pruned(others[5]) == 0.0
    write_json(others[5].pruning_file, {"val_acc": {"1": 0.9, "2": 0.99}, "pruned": "a reason"})
    assert told_of_pruned(others[5]) == 0.99
    finished = [Run(path) for path in study.glob("method=gpm*")]
    for run in finished:
        jobs.listed.add_job(jobs.job_list().path, Job(run.folder, ()))
    assert told_of_pruned(others[5]) == min(run.scores["val_acc"] for run in finished)


BAD = [
    ({"pruning": 50, "objective": "val_acc", "stream": {"validation": 0.1}}, False, "add --multirun"),
    ({"pruning": 50, "objective": "val_acc", "stream": {"validation": 0}}, True, "goes by val_acc"),
    ({"pruning": 50, "objective": ["val_acc"], "stream": {"validation": 0.1}}, True, "goes by val_acc"),
]


@pytest.mark.parametrize(("config", "multirun", "line"), BAD)
def test_where_there_is_nothing_to_go_by(config, multirun, line):
    with pytest.raises(UserError, match=line):
        check_pruning(OmegaConf.create(config), multirun)


def weights(folder: Path) -> dict[str, Any]:
    return torch.load(Run(folder).last, weights_only=True)["state_dict"]


def same(one: Path, other: Path) -> bool:
    left, right = weights(one), weights(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_a_multirun_stops_what_is_hopeless_and_goes_on_with_it_when_asked(train, tmp_path, monkeypatch):
    told: list[Any] = []
    monkeypatch.setattr(
        Multirun, "on_job_end", lambda self, config, job_return, **kwargs: told.append(job_return.return_value)
    )
    words = ("--multirun", *TINY, "hydra.sweep.subdir=${seed}-${optimizer.lr}")
    assert train(*words, "seed=0", "optimizer.lr=.1,.00001", "name=plain").code == 0
    runs = tmp_path / "runs"
    for said in (" pruned: val. ACC after task 1", " was pruned (val. ACC after task 1"):
        told.clear()
        answer = train(*words, "name=pruned", "pruning=50", "optimizer.lr=.1,.00001", "seed=0,1,2,3,4")
        assert answer.code == 0, answer.err
        assert said in answer.out and "\npruned: 0-1e-05: " in answer.out and "failed" not in answer.out
        assert (
            told[5] <= min(told[:5]) == min(Run(runs / "pruned" / f"{seed}-0.1").scores["val_acc"] for seed in range(5))
        )
    assert same(runs / "pruned" / "0-0.1", runs / "plain" / "0-0.1")
    assert train(*words, "name=pruned", "seed=0", "optimizer.lr=.00001").code == 0
    assert same(runs / "pruned" / "0-1e-05", runs / "plain" / "0-1e-05")
    assert json.loads((runs / "pruned" / "0-1e-05" / "pruning.json").read_text()).keys() == {"val_acc", "command"}


def test_the_last_job_reports_a_pruned_one_too(others, capsys, study):
    jobs.end()
    run = next(study.glob("method=gpm*seed=0*"))
    stopped = others[5].folder
    (stopped / ".hydra").mkdir()
    for name in ("config.yaml", "overrides.yaml"):
        (stopped / ".hydra" / name).write_text((run / ".hydra" / name).read_text())
    write_json(others[5].pruning_file, {"val_acc": {"1": 0.9}, "pruned": "a reason"})
    jobs.begin(stopped.parent, [Job(run, ()), Job(stopped, ())], queued=True)
    conclude()
    assert "pruned: 5: a reason" in capsys.readouterr().out


def test_a_reference_is_not_compared(train, tmp_path):
    assert train("--multirun", *TINY[1:], "method=joint,gpm", "pruning=50").code == 0
    (compared,) = tmp_path.rglob("pruning.json")
    assert "method=gpm" in compared.parent.name


def test_one_run_alone_cannot_be_pruned(train):
    answer = train(*TINY, "pruning=50")
    assert answer.code == 2 and "error: pruning: compares the runs of a multirun" in answer.err
