"""What a run prints: a line for each task, and one at its end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from conftest import TINY

from orthotrace.cli.task_lines import TaskLines, line_of
from orthotrace.results.scores import summarise
from orthotrace.training.progress import Progress
from orthotrace.training.tracking import Tracker

LINE = re.compile(
    r"\[(?P<job>\d)/2\] seed=(?P<seed>\d) task (?P<task>\d)/2: accuracy (?P<learned>[\d.]+), average (?P<average>[\d.]+)"
    r"(, BWT (?P<bwt>[-+.\d]+))? \(\d+ s\)"
)


def test_a_log_has_a_line_for_each_task_and_one_for_the_run(train):
    answer = train("--multirun", *TINY, "method=finetune", "seed=0,1", "hydra.sweep.dir=all")
    assert answer.code == 0, answer.err
    lines = [line for line in answer.out.splitlines() if line.startswith("[")]
    assert len(lines) == 2 * 3
    for seed in range(2):
        told = json.loads(next(Path("all").glob(f"*seed={seed}*/scores.json")).read_text())
        *tasks, last = lines[3 * seed : 3 * seed + 3]
        for number, line in enumerate(tasks, start=1):
            found = LINE.fullmatch(line)
            assert found and found["job"] == str(seed + 1) and found["seed"] == str(seed), line
            rows = [row[:number] for row in told["accuracy"][:number]]
            assert found["task"] == str(number) and found["learned"] == f"{rows[-1][-1]:.3f}"
            assert found["average"] == f"{sum(rows[-1]) / number:.3f}"
            assert found["bwt"] == (None if number == 1 else f"{summarise(rows).bwt:+.3f}")
        assert last.startswith(f"[{seed + 1}/2] seed={seed} ACC {told['acc']:.3f}, BWT {told['bwt']:+.3f} (")


def test_all_that_is_reported_is_handed_on(capsys):
    called = []

    class Other(Tracker):
        def __getattribute__(self, name):
            return lambda *given, **named: called.append(name)

    hooks = [name for name in vars(Tracker) if not name.startswith("_")]
    progress = Progress(2, task=1, accuracy=[[0.5, 0.1]], seconds=[61.4])
    given = {"start": (Path(), "", "", "", [], {}), "epoch": ({}, 1), "task": (progress, None), "figures": ({}, {})} | {
        "resumed": (progress, None),
        "analysis": (Path(), {}, []),
    }
    lines = TaskLines(Other(), "[1/2] ")
    for name in hooks:
        getattr(lines, name)(*given.get(name, ()))
    assert called == hooks and capsys.readouterr().out == "[1/2] task 1/2: accuracy 0.500, average 0.500 (61 s)\n"


@pytest.mark.parametrize("done", [1, 2, 3])
def test_the_scores_so_far_are_those_of_a_run_that_ended_here(done):
    accuracy = [[0.9, 0.2, 0.1], [0.6, 0.8, 0.1], [0.5, 0.7, 1.0]][:done]
    line = line_of(Progress(3, task=done, accuracy=accuracy, seconds=[1.0] * done))
    scores = summarise([row[:done] for row in accuracy])
    assert f"average {scores.acc:.3f}" in line and ("BWT" in line) == (done > 1)
