"""Tasks that were not learned are told: of a run at its end, and of groups of runs."""

from __future__ import annotations

import pytest
from made_runs import written

from orthotrace.results.collapse import collapsed_tasks, group_lines, run_line
from orthotrace.results.groups import groups

GOOD = [[0.9, 0.1, 0.1], [0.8, 0.8, 0.1], [0.7, 0.7, 0.9]]
# Tasks with heads of their own, which are not tested before they are learned.
HEADS = [[0.9, None, None], [0.8, 0.12, None], [0.7, 0.1, 0.9]]
NEVER = [[0.1, 0.1, 0.1], [0.1, 0.1, 0.1], [0.1, 0.1, 0.1]]
LOST = [[0.9, 0.1, 0.1], [0.8, 0.12, 0.1], [0.7, 0.1, 0.1]]


def test_one_line_names_the_tasks():
    about = {"chance": [0.1] * 3, "test_images": [360] * 3}
    assert run_line({"accuracy": GOOD, **about}) == ""
    assert run_line({"accuracy": LOST, **about}).startswith("not learned: tasks 2, 3 (at chance just after")
    assert run_line({"accuracy": HEADS, **about}).startswith("not learned: task 2 (")
    assert collapsed_tasks({"accuracy": [*HEADS[:2], [None] * 3], **about}) == [2]
    assert run_line({"accuracy": NEVER, **about}) == "not learned: tasks 1, 2, 3 (at chance just after its training)"


@pytest.mark.parametrize("known", [{}, {"chance": None}, {"chance": [], "test_images": []}])
def test_runs_of_earlier_versions_say_nothing(known):
    assert collapsed_tasks({"accuracy": LOST, **known}) == []


def test_groups_say_in_how_many_runs(tmp_path):
    runs = [written(tmp_path, method="gpm", seed=seed, accuracy=LOST if seed else GOOD) for seed in range(3)]
    runs += [written(tmp_path, method="er", seed=seed, accuracy=GOOD) for seed in range(2)]
    assert group_lines(groups(runs)) == [
        "not learned: gpm: tasks 2, 3 (at chance just after training in 2 of 3 runs, though task 1 was learned)"
    ]
