from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from orthotrace.analysis.figures.inside import accuracy_inside, course_of
from orthotrace.core.errors import UserError
from orthotrace.core.files import write_csv

ONE = {(1, 2): [0.5], (1, 4): [0.9], (2, 2): [0.3, 0.5], (2, 4): [0.1, 0.7]}
# A longer first task.
TWO = {(1, 2): [0.7], (1, 4): [0.8], (1, 5): [1.0], (2, 2): [0.5, 0.7], (2, 4): [0.3, 0.9]}


def run(folder, inside=True):
    write_csv(folder / "metrics.csv", [{"task": 1, "step": 2}, {"task": 1, "step": 4}, {"task": 2, "step": 9}])
    if inside:
        rows = [
            {"task": 1, "step": 3, "accuracy_task1": 0.5},
            {"task": 2, "step": 3, "accuracy_task1": 0.2, "accuracy_task2": 0.4},
        ]
        write_csv(folder / "inside.csv", rows)
    return SimpleNamespace(
        inside_file=folder / "inside.csv", metrics_file=folder / "metrics.csv",
        scores={"accuracy": [[0.9, 0.0], [0.6, 0.8]]},
    )  # fmt: skip


def test_what_was_measured_inside_and_at_the_ends_of_tasks(tmp_path):
    found = course_of(run(tmp_path))
    assert found == {(1, 3): [0.5], (1, 4): [0.9], (2, 3): [0.2, 0.4], (2, 5): [0.6, 0.8]}


def test_without_tests_inside_there_is_none(tmp_path):
    assert course_of(run(tmp_path, inside=False)) is None


def test_a_damaged_file_is_one_line(tmp_path):
    of = run(tmp_path)
    of.inside_file.write_text("task,step\nx,y\n")
    with pytest.raises(UserError, match=r"inside\.csv is damaged"):
        course_of(of)


def test_means_over_seeds_with_the_ends_of_tasks_at_one_place():
    figure, rows = accuracy_inside({"gpm": [ONE, TWO]})
    found = {(row["panel"].split()[0], row["task"], row["step"]): row for row in rows}
    # The end of the first task is its fifth step in both.
    assert found["Accuracy", 1, 5]["mean"] == pytest.approx(0.95) and found["Accuracy", 1, 5]["seeds"] == 2
    # At its fourth step one seed alone was tested inside it.
    assert ("Accuracy", 1, 4) not in found
    assert found["Mean", 2, 2]["mean"] == pytest.approx(0.5)
    assert found["Accuracy", 2, 4]["sd"] == pytest.approx(np.std([0.1, 0.3], ddof=1))
    line, ends = figure.axes[1].lines[:2]
    assert line.get_xdata().tolist() == [2, 5, 7, 9] and len(ends.get_xdata()) == 2
    plt.close(figure)


def test_a_damaged_row_is_named_too(tmp_path):
    of = run(tmp_path)
    write_csv(of.inside_file, [{"task": 2, "step": 3, "accuracy_task1": 0.2}])
    with pytest.raises(UserError, match=r"inside\.csv"):
        course_of(of)
