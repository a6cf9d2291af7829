import matplotlib.pyplot as plt
import numpy as np
import pytest

from orthotrace.analysis.figures.accuracy import accuracy_over_tasks

ONE = np.array([[0.9, 0.1], [0.5, 0.7]])
TWO = np.array([[0.8, 0.1], [0.3, 0.9]])


def test_curves_are_means_and_deviations_over_seeds():
    figure, rows = accuracy_over_tasks({"a": [ONE, TWO], "b": [ONE]})
    found = {(row["panel"], row["method"], row["task"]): (row["mean"], row["sd"]) for row in rows}
    so_far, first = sorted({row["panel"] for row in rows}, reverse=True)
    # After the first task it is the only one: the accuracy on a task to come does not count.
    assert found[so_far, "a", 1] == pytest.approx((0.85, np.std([0.9, 0.8], ddof=1)))
    assert found[so_far, "a", 2] == pytest.approx((0.6, 0.0))
    assert found[first, "a", 2] == pytest.approx((0.4, np.std([0.5, 0.3], ddof=1)))
    assert found[first, "b", 1] == pytest.approx((0.9, 0.0))
    assert len(figure.axes) == 2 and len(figure.axes[0].lines) == 2
    plt.close(figure)
