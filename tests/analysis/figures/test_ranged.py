from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest

from orthotrace.analysis.figures.ranged import loss_over_rates, range_test_of
from orthotrace.core.errors import UserError
from orthotrace.core.files import write_json

TEST = {
    "schema": 1,
    "rate": [0.01, 0.1, 1.0],
    "smoothed": [2.0, 1.0, 9.0],
    "accuracy": [0.1, 0.5, 0.2],
    "lower": 0.01,
    "upper": 0.1,
}


def test_lines_are_those_of_the_file_and_bounds_are_marked():
    figure, rows = loss_over_rates({"gpm": [TEST, {**TEST, "lower": None, "upper": None}]})
    assert [(row["seed"], row["rate"], row["loss"], row["accuracy"]) for row in rows[:3]] == [
        (0, 0.01, 2.0, 0.1), (0, 0.1, 1.0, 0.5), (0, 1.0, 9.0, 0.2)
    ]  # fmt: skip
    loss, score = figure.axes
    assert [len(axes.lines) for axes in (loss, score)] == [4, 4] and loss.get_xscale() == "log"
    # What diverged does not hide the rest.
    assert loss.lines[0].get_ydata().tolist() == pytest.approx([2.0, 1.0, 2.2]) and loss.get_ylim()[1] < 2.5
    assert score.lines[0].get_ydata().tolist() == TEST["accuracy"]
    plt.close(figure)


def test_a_run_s_file_is_read_and_a_damaged_one_is_one_line(tmp_path):
    run = SimpleNamespace(range_file=tmp_path / "range_test.json")
    assert range_test_of(run) is None
    write_json(run.range_file, TEST)
    assert range_test_of(run) == TEST
    run.range_file.write_text("{")
    with pytest.raises(UserError, match=r"range_test\.json is damaged"):
        range_test_of(run)
