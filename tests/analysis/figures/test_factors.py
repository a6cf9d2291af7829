from orthotrace.analysis.figures.factors import drawings_of_shares, shares_by_layer
from orthotrace.analysis.studies.factors import FactorShare


def share(factor, layer, value, task=1, low=None, high=None):
    return FactorShare(task, layer, factor, 3, value, value, low, high, () if low is None else ("a",), 9, 0.95)


def test_a_line_for_each_factor_with_bars_within_the_range():
    found = {"a": {"fc1": share("a", "fc1", 0.8, 1, 0.5, 1.1)}, "residual": {"fc1": share("residual", "fc1", 0.2)}}
    figure, rows = shares_by_layer(found)
    (axes,) = figure.axes
    assert [
        float(line.get_ydata()[0]) for line in axes.lines if line.get_label() != "" and len(line.get_ydata()) == 1
    ] == [0.8, 0.2]
    (bar,) = axes.collections
    assert bar.get_segments()[0][:, 1].tolist() == [0.5, 1.0]
    assert rows[0] == {
        "factor": "a", "layer": "fc1", "levels": 3, "share": 0.8, "low": 0.5, "high": 1.1, "variance": 0.8, "networks": 9,
    }  # fmt: skip


def test_the_last_task_is_drawn():
    shares = [share("a", "fc1", 0.8, task) for task in (1, 2)]
    caption, make = drawings_of_shares(shares)["factors"]
    assert "9 networks after task 2" in caption and len(make()[1]) == 1
    assert drawings_of_shares([]) == {}
