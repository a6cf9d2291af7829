"""orthotrace-runs: states and differences, in three forms, from folders alone."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import call, snapshot, surroundings

import orthotrace.cli.runs
from orthotrace.core.folders import held, is_held
from orthotrace.results.listed import Job, tell, write_list
from orthotrace.results.run_folder import Run
from orthotrace.results.states import STATES, differing, state_of_run


@pytest.fixture
def listed(monkeypatch, capsys):
    """The command in this process."""
    return lambda *words: call(orthotrace.cli.runs.main, [str(word) for word in words], monkeypatch, capsys)


def changed(folder, name, content):
    """A file that somebody changed, whose digest nobody knows."""
    (folder / name).write_text(content)
    (folder / name).with_name(".sha256").unlink(missing_ok=True)


@pytest.fixture
def every_state(study, tmp_path):
    """A folder with a run of each state that there is without a process.

    Seed 0 of gpm is finished, 1 failed, 2 damaged; of finetune 0 was stopped, 1 preempted, 2 pruned.
    """
    folder = tmp_path / "all"
    for run in study.glob("method=gpm*"):
        shutil.copytree(run, folder / run.name)
    for seed in range(3):
        one = next(study.glob(f"method=finetune*seed={seed}*"))
        shutil.copytree(one, folder / one.name)
    stopped, preempted, pruned, failed, damaged = (
        next(folder.glob(f"method={name}*"))
        for name in ("finetune*seed=0", "finetune*seed=1", "finetune*seed=2", "gpm*seed=1", "gpm*seed=2")
    )
    for run in (stopped, preempted, pruned, failed):
        told = json.loads((run / "scores.json").read_text())
        told["accuracy"][1], told["acc"], told["bwt"] = [None, None], None, None
        changed(run, "scores.json", json.dumps(told))
    (failed / "failed.txt").write_text("it broke\n\ntraceback")
    (preempted / "preempted.txt").write_text("by Slurm, job 12\n")
    (pruned / "pruning.json").write_text('{"val_acc": {"1": 0.5}, "pruned": "it was below"}')
    changed(damaged / ".hydra", "config.yaml", "{a: [")
    return folder


def test_states_and_differences_in_every_form(listed, every_state):
    before = snapshot(every_state)
    found = {(one["state"], one["done"]): one for one in json.loads(listed(every_state, "--json").out)}
    assert set(found) == {
        ("finished", 2), ("stopped", 1), ("preempted", 1), ("pruned", 1), ("failed", 1), ("damaged", 0)
    }  # fmt: skip
    whole = Run(next(every_state.glob("method=gpm*seed=0*"))).scores
    finished = found["finished", 2]
    assert (finished["acc"], finished["bwt"], finished["tasks"]) == (whole["acc"], whole["bwt"], 2)
    assert finished["differs"] == {"method": "gpm", "seed": 0}
    assert found["stopped", 1]["differs"] == {"method": "finetune", "seed": 0}
    assert found["preempted", 1]["reason"] == "by Slurm, job 12"
    assert found["pruned", 1]["reason"] == "it was below"
    assert found["stopped", 1]["bwt"] is None and 0 < found["stopped", 1]["acc"] <= 1
    assert found["failed", 1]["reason"] == "it broke" and "config.yaml is damaged" in found["damaged", 0]["reason"]
    rows = list(csv.DictReader(io.StringIO(listed(every_state, "--csv").out)))
    assert list(rows[0])[:3] == ["method", "seed", "run"]
    assert {(row["state"], row["seed"]) for row in rows} == {
        ("finished", "0"),
        ("stopped", "0"),
        ("preempted", "1"),
        ("pruned", "2"),
        ("failed", "1"),
        ("damaged", ""),
    }
    table = listed(every_state)
    assert table.code == 0 and "6 runs in" in table.out and "failed: " in table.out and "it broke" in table.out
    line = next(line for line in table.out.splitlines() if " finished " in line)
    assert [cell.strip() for cell in line.strip("│").split("│")][:4] == ["gpm", "0", "finished", "2/2"]
    assert snapshot(every_state) == before


@pytest.mark.parametrize(
    ("alive", "queued", "told", "state"),
    [
        (True, False, "", "waiting"),
        (False, True, "", "waiting"),
        (False, False, "", "not started"),
        (True, True, "failure", "not started"),
    ],
)
def test_jobs_that_have_not_begun(listed, every_state, monkeypatch, alive, queued, told, state):
    """By the list of a multirun, in which others are told that they have."""
    begun = [Job(path) for path in every_state.iterdir()]
    new = Job(every_state / "new", ("method=ewc", "+model.mine=1", "hydra.job.chdir=false", "name=x", "seed=7"))
    if not alive:
        monkeypatch.setattr(os, "getpid", lambda: ended.pid)
        ended = subprocess.Popen(["true"])
        ended.wait()
    path = write_list(every_state, [*begun, new], queued)
    monkeypatch.undo()
    if told:
        tell(path, told)
    found = {one["run"]: one for one in json.loads(listed(every_state, "--json").out)}
    assert len(found) == len(begun) + 1
    assert found["new"]["state"] == state and found["new"]["tasks"] is None
    assert found["new"]["differs"] == {"method": "ewc", "seed": "7"}
    # Of the others all keys are known, of this one those that were set.
    assert list(next(iter(csv.DictReader(io.StringIO(listed(every_state, "--csv").out)))))[:3] == [
        "method",
        "seed",
        "run",
    ]
    # Of a folder with nothing else.
    shutil.move(path.parent, every_state.parent / "other" / path.parent.name)
    assert json.loads(listed(every_state.parent / "other", "--json").out)[-1]["run"] == "new"


@pytest.mark.parametrize("list_is_there", [True, False])
def test_jobs_that_were_refused_have_failed(listed, every_state, list_is_there):
    before = json.loads(listed(every_state, "--json").out)
    refused, aside = every_state / "refused", every_state / ".removed" / "old"
    for folder in (refused, aside):
        folder.mkdir(parents=True)
        (folder / "failed.txt").write_text("method: it has no layer\n\ntraceback")
    if list_is_there:
        write_list(every_state, [Job(refused, ("method=ewc", "seed=7"))], False)
    *others, last = json.loads(listed(every_state, "--json").out)
    assert [one["state"] for one in others] == [one["state"] for one in before]
    assert (last["run"], last["state"], last["reason"]) == ("refused", "failed", "method: it has no layer")
    assert last["differs"] == ({"method": "ewc", "seed": "7"} if list_is_there else {})
    assert "failed: " in listed(every_state).out
    # Where all jobs were.
    shutil.move(refused, every_state.parent / "alone" / "refused")
    assert [one["state"] for one in json.loads(listed(every_state.parent / "alone", "--json").out)] == ["failed"]


def test_a_run_that_is_written_to_is_running_whatever_is_in_it(every_state):
    runs = [Run(path) for path in sorted(every_state.iterdir())]
    assert all(is_held(run.folder) is False for run in runs)
    program = "import sys\nfrom pathlib import Path\nfrom orthotrace.core.folders import held\n"
    program += "from contextlib import ExitStack\nwith ExitStack() as stack:\n"
    program += " for one in sys.argv[1:]: stack.enter_context(held(Path(one)))\n print('in', flush=True)\n input()"
    folders = [str(run.folder) for run in runs]
    with subprocess.Popen(
        [sys.executable, "-c", program, *folders],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=surroundings(),
    ) as process:
        assert process.stdout.readline() == "in\n"
        before = snapshot(every_state)
        assert {state_of_run(run).state for run in runs} == {"running"}
        assert snapshot(every_state) == before
        process.communicate("\n")
    assert len({state_of_run(run).state for run in runs}) == len(STATES) - 3
    with held(runs[0].folder):
        # By this process.
        assert is_held(runs[0].folder) and is_held(runs[0].folder)


def test_keys_of_another_option_are_no_difference(study):
    states = [state_of_run(Run(path.parents[1])) for path in sorted(study.glob("*/.hydra/config.yaml"))]
    # Only hlop has a number of rows, and all of its runs the same.
    assert differing(states) == ["method", "seed"]
    assert differing([one for one in states if one.values["method"] == "gpm"]) == ["seed"]
    assert differing(states[:1]) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "name a folder; write orthotrace-runs FOLDER"),
        (["nowhere"], "there is no folder nowhere"),
        (["."], ". holds no runs: give the folder that orthotrace-train wrote to"),
        ([".", "--csv", "--json"], "argument --json: not allowed with argument --csv; write"),
        ([".", "--tabel"], "unrecognized arguments: --tabel; write"),
        ([".", "x"], "unrecognized arguments: x; write"),
    ],
)
def test_a_mistake_is_one_line(listed, monkeypatch, tmp_path, words, line):
    monkeypatch.chdir(tmp_path)
    answer = listed(*words)
    assert answer.code == 2 and answer.err.startswith(f"error: {line}") and answer.err.count("\n") == 1


def test_it_imports_nothing_heavy(study):
    program = "import sys; from orthotrace.cli.runs import main; main(); print('|', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program, str(study)], capture_output=True, text=True, env=surroundings(), check=True
    )
    assert done.stdout.count(" finished ") == 8
    assert not {"torch", "pytorch_lightning", "hydra", "pandas"} & set(done.stdout.split("\n")[-2].split())
