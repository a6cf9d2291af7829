"""Firing rates and operations, by layer and task."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest

from orthotrace.analysis.figures.activity import activity_by_layer


def seed(size: float = 1.0, tasks: int = 2):
    rates = [0.1 * size * task for task in range(1, tasks + 1)]
    costs = {"synaptic_operations": [2e4 * size] * tasks, "multiply_adds": [3e4] * tasks}
    return {"fc1": costs, "relu1": {"firing_rate": rates}, "head": {**costs, "multiply_adds": [500.0] * tasks}}


def test_means_over_seeds_beside_the_ordinary_network():
    figure, rows = activity_by_layer({"bptt": [seed(0.5), seed(1.5)]})
    rates, costs = figure.axes
    assert [line.get_ydata()[0] for line in rates.lines[:2]] == pytest.approx([0.1, 0.2])
    ordinary, first = costs.lines[:2]
    assert list(ordinary.get_ydata()) == [3e4, 500] and first.get_ydata() == pytest.approx([2e4, 2e4])
    assert costs.get_yscale() == "log" and costs.get_ylim() == pytest.approx((100, 1e5))
    assert [label.get_text() for label in costs.get_xticklabels()] == ["fc1", "head"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["after task 1", "after task 2", "multiply-adds of an ordinary network"]
    assert rows[1] == {
        "method": "bptt", "layer": "relu1", "task": 2, "quantity": "firing_rate", "mean": pytest.approx(0.2),
        "sd": pytest.approx(0.2 * 0.5**0.5), "seeds": 2, "multiply_adds": None,
    }  # fmt: skip
    assert [row["multiply_adds"] for row in rows[2:]] == [3e4, 3e4, 500, 500]


@pytest.mark.parametrize(("tasks", "drawn"), [(1, 1), (3, 3), (20, 5)])
def test_of_many_tasks_some_are_drawn_and_all_written(tasks, drawn):
    figure, rows = activity_by_layer({"bptt": [seed(tasks=tasks)]})
    assert len(figure.axes[0].lines) == drawn and len(rows) == 3 * tasks
    assert rows[0]["sd"] == 0 and (f"after task {tasks}" if tasks > 1 else "spiking") in [
        text.get_text() for text in figure.legends[0].get_texts()
    ]


@pytest.mark.parametrize(("groups", "shape"), [(1, (1, 2)), (2, (1, 4)), (3, (2, 4)), (14, (7, 4))])
def test_the_panels_of_a_group_stand_beside_each_other(groups, shape):
    figure, _ = activity_by_layer({str(group): [seed()] for group in range(groups)})
    assert figure.axes[0].get_gridspec().get_geometry() == shape
    assert sum(axes.get_visible() for axes in figure.axes) == 2 * groups
    plt.close(figure)
