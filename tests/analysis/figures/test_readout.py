import numpy as np
import pytest

from orthotrace.analysis.figures.readout import readout_diagnosis
from orthotrace.core.errors import UserError

FOUND = {"relu1": {"trained": [[0.9, 0.2], [0.8, 0.4]], "refitted": [[0.9, 0.8]]}, "head": {"refitted": [[0.7, 0.6]]}}


def test_a_line_for_each_readout_with_its_deviation():
    figure, rows = readout_diagnosis(FOUND, chance=0.1)
    first, second = figure.axes
    assert np.allclose(first.lines[1].get_ydata(), [0.85, 0.3]) and first.lines[0].get_ydata() == [0.1, 0.1]
    # A readout looks the same in every panel.
    assert first.lines[2].get_color() == second.lines[1].get_color() != first.lines[1].get_color()
    assert rows[1]["sd"] == pytest.approx(np.std([0.2, 0.4], ddof=1)) and rows[2]["sd"] is None
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["trained", "refitted", "chance"]


def test_tasks_are_counted_from_the_first_that_has_values():
    figure, rows = readout_diagnosis({"gpm": {"seen": [[0.2, 0.4]]}}, first=2)
    assert figure.axes[0].lines[0].get_xdata().tolist() == [2, 3] and [row["task"] for row in rows] == [2, 3]


def test_what_is_no_matrix_of_seeds_and_tasks():
    with pytest.raises(UserError, match=r"relu1, trained: a matrix of seeds and tasks is needed, got shape \(2,\)"):
        readout_diagnosis({"relu1": {"trained": [0.9, 0.2]}})
