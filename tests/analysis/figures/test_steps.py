import numpy as np
import pytest

from orthotrace.analysis.figures.steps import drift_over_tasks, dropout_sampling, trajectory
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
