from types import SimpleNamespace

import numpy as np
import pytest

from orthotrace.analysis.figures.agreement import SPAN, consistency_against_accuracy
from orthotrace.core.errors import UserError


def mean(value, low=None, high=None):
    return SimpleNamespace(mean=value, low=low, high=high)


def test_a_family_is_a_line_and_its_groups_are_marks_that_grow():
    of = {"0.1": (mean(0.9, 0.8, 0.95), mean(0.7)), "0.5": (mean(0.8), mean(0.6, 0.5, 0.7))}
    figure, rows = consistency_against_accuracy({"dropout": of, "none": {"": (mean(0.85), mean(0.65))}})
    line, weak, strong, *_ = figure.axes[0].lines
    assert line.get_xydata().tolist() == [[0.9, 0.7], [0.8, 0.6]] and line.get_marker() == ""
    assert weak.get_xydata().tolist() == [[0.9, 0.7]] and strong.get_xydata().tolist() == [[0.8, 0.6]]
    assert strong.get_markersize() > weak.get_markersize()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["dropout", "none"]
    assert rows[0] == {
        "family": "dropout", "group": "0.1", "accuracy": 0.9, "accuracy_low": 0.8, "accuracy_high": 0.95,
        "consistency": 0.7, "consistency_low": None, "consistency_high": None,
    }  # fmt: skip


def test_bars_lie_along_their_axes():
    figure, _ = consistency_against_accuracy({"l2": {"1": (mean(0.9, 0.8, 0.95), mean(0.7, 0.6, 0.75))}})
    along, up = (bars.get_segments()[0].tolist() for bars in figure.axes[0].collections)
    assert np.allclose(along, [[0.8, 0.7], [0.95, 0.7]]) and np.allclose(up, [[0.9, 0.6], [0.9, 0.75]])


def test_what_lies_beyond_the_range_is_cut():
    _, rows = consistency_against_accuracy({"l2": {"1": (mean(0.99, 0.95, 1.03), mean(0.02, -0.1, 0.1))}})
    assert (rows[0]["accuracy_high"], rows[0]["consistency_low"]) == (1.0, 0.0)


def test_equal_groups_do_not_look_different():
    figure, _ = consistency_against_accuracy({"l2": {"1": (mean(0.9), mean(0.7)), "2": (mean(0.9001), mean(0.7001))}})
    assert np.ptp(figure.axes[0].get_xlim()) == pytest.approx(SPAN)


def test_no_group():
    with pytest.raises(UserError, match="there is no group of networks"):
        consistency_against_accuracy({"l2": {}})
