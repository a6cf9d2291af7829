import matplotlib.pyplot as plt
import numpy as np
import pytest

from orthotrace.analysis.figures.swept import score_by_value
from orthotrace.results.statistics import mean_interval

SEEDS = [0.5, 0.6, 0.8]


def lines(*values, bwt=(-0.1, -0.2, -0.3)):
    return {name: {value: {"acc": SEEDS, "bwt": list(bwt)} for value in values} for name in ("gpm", "sgp")}


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ((1e-4, 1e-2, 1.0), "log"),
        ((0.9, 0.95, 0.99), "linear"),
        ((0.0, 0.1, 100.0), "linear"),
        ((1, 10, 100), "linear"),
    ],
)
def test_the_axis_is_logarithmic_where_values_span_more_than_two_decades(values, scale):
    figure, rows = score_by_value(lines(*values), "optimizer.lr")
    assert [axes.get_xscale() for axes in figure.axes] == [scale] * 2
    assert [axes.get_ylabel() for axes in figure.axes] == ["ACC", "BWT"]
    assert figure.axes[0].get_xlabel() == "optimizer.lr" and len(rows) == 2 * 2 * 3
    plt.close(figure)


@pytest.mark.parametrize("level", [0.5, 0.8])
def test_bars_are_intervals_over_seeds_of_the_level(level):
    figure, rows = score_by_value(lines(1, 2, 3), "stream.tasks", level)
    expected = mean_interval(SEEDS, level)
    assert (rows[0]["mean"], rows[0]["low"], rows[0]["high"]) == (expected.mean, expected.low, expected.high)
    (_, low), (_, high) = figure.axes[0].collections[0].get_segments()[0]
    assert (low, high) == pytest.approx((expected.low, expected.high))
    # Numbers that are whole have no half between them.
    assert all(float(tick).is_integer() for tick in figure.axes[0].get_xticks())
    plt.close(figure)


def test_one_task_has_no_backward_transfer_and_one_seed_no_bar():
    figure, rows = score_by_value({"gpm": {value: {"acc": [0.5], "bwt": []} for value in (1.0, 2.0, 3.0)}}, "x")
    assert len(figure.axes) == 1 and not figure.axes[0].collections and rows[0]["low"] is None
    plt.close(figure)


def test_bars_end_where_scores_do():
    _, rows = score_by_value({"gpm": {value: {"acc": [0.1, 0.9], "bwt": [0.9, -0.9]} for value in (1, 2, 3)}}, "x")
    assert np.array([[row["low"], row["high"]] for row in rows]).tolist() == [[0, 1]] * 3 + [[-1, 1]] * 3
    plt.close("all")
