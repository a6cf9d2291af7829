import numpy as np
import pytest

from orthotrace.analysis.figures.steps import consistency_over_time, drift_over_tasks, dropout_sampling, trajectory
from orthotrace.core.errors import UserError
from orthotrace.results.statistics import Interval

STEPS = (1, 4, 32)
FOUND = {"gpm": {layer: {step: Interval(0.1 * step**0.5, 0.0, 1.4, 3) for step in STEPS} for layer in "xy"}}


@pytest.mark.parametrize(
    ("draw", "key", "scale", "along"),
    [
        (trajectory, "epoch", "linear", "Epoch"),
        (dropout_sampling, "samples", "log", "Samples averaged"),
        (drift_over_tasks, "task", "linear", "After task"),
    ],
)
def test_a_line_for_each_layer_along_the_steps(draw, key, scale, along):
    figure, rows = draw(FOUND)
    axes = figure.axes[0]
    assert (axes.get_xscale(), figure.get_supxlabel()) == (scale, along)
    assert (
        np.allclose(axes.lines[1].get_ydata(), [0.1, 0.2, 0.1 * 32**0.5])
        and axes.lines[0].get_color() != axes.lines[1].get_color()
    )
    # Ends of intervals are cut to where values can be.
    assert rows[4] == {"method": "gpm", "layer": "y", key: 4, "mean": 0.2, "low": 0.0, "high": 1.0}
    assert axes.get_ylim() == pytest.approx((-0.02, 1.02))


def test_bad_steps():
    with pytest.raises(UserError, match="numbers of samples are 1 or more"):
        dropout_sampling({"gpm": {"x": {0: Interval(0.1, None, None, 1)}}})
    with pytest.raises(UserError, match="nothing was found at any step"):
        trajectory({"gpm": {}})


def test_windows_of_time_stand_at_their_middles():
    one = Interval(0.4, 0.3, 1.2, 3)
    found = {"dsr": {"x": {(1, 2): one, (3, 3): Interval(0.5, None, None, 1)}, "y": {(3, 3): one}}}
    figure, rows = consistency_over_time(found)
    axes = figure.axes[0]
    assert axes.lines[0].get_xdata() == pytest.approx([1.5, 3], abs=0.1) and figure.get_supxlabel() == "Steps of time"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1–2", "3"]
    assert rows[0] == {"method": "dsr", "layer": "x", "first": 1, "last": 2, "mean": 0.4, "low": 0.3, "high": 1}
    assert [(row["layer"], row["first"], row["last"]) for row in rows[1:]] == [("x", 3, 3), ("y", 3, 3)]
