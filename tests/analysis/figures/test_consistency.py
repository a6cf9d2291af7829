import matplotlib.pyplot as plt
import numpy as np

from orthotrace.analysis.figures.consistency import consistency_by_layer, marks
from orthotrace.analysis.studies.consistency import pair_mean


def result(n: int, level: float = 0.95):
    values = np.random.default_rng(n).uniform(0.4, 0.8, (n, n))
    return pair_mean((values + values.T) / 2, level=level)


RESULTS = {"a": {"x": result(3), "y": result(3)}, "b": {"x": result(2), "y": result(2)}}


def test_every_pair_is_a_dot_and_every_interval_a_bar():
    figure, rows = consistency_by_layer(RESULTS)
    (axes,) = figure.axes
    dots = sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == ".")
    assert dots == 2 * 3 + 2 * 1
    (bars,) = axes.collections
    ends = [(round(low, 6), round(high, 6)) for (_, low), (_, high) in bars.get_segments()]
    found = RESULTS["a"]
    # Cut to the range of the values.
    assert ends == [(max(0, round(one.low, 6)), min(1, round(one.high, 6))) for one in found.values()]
    assert [row["interval"] for row in rows] == ["jackknife", "jackknife", "none", "none"]
    assert len(rows[0]["pairs"].split()) == 3
    plt.close(figure)


def test_groups_stand_beside_each_other_within_their_layer():
    figure, _ = consistency_by_layer({str(number): RESULTS["a"] for number in range(12)})
    places = [
        line.get_xdata() for line in figure.axes[0].lines if line.get_marker() != "." and len(line.get_xdata()) == 2
    ]
    places = [place for place in places if list(place) != [0.5, 0.5]]
    assert len({round(float(x[0]), 6) for x in places}) == 12
    assert all(abs(x - layer) < 0.5 for place in places for layer, x in enumerate(place))
    plt.close(figure)


def test_words_for_the_marks():
    said = marks(RESULTS)
    assert "95 % intervals by a jackknife over networks" in said and "With two there is one pair, no interval" in said
    assert "Networks: a 3, b 2" in said
    assert "80 % intervals" in marks({"a": {"x": result(3, 0.8)}})


def test_a_layer_that_fewer_networks_have_and_one_that_none_has():
    by = {"a": {"x": result(4), "y": result(2)}, "b": {"y": result(3), "z": result(3)}}
    figure, rows = consistency_by_layer(by)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y", "z"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    assert "Networks: a 2–4 by layer, b 3." in marks(by)
    assert [(row["method"], row["layer"], row["interval"]) for row in rows] == [
        ("a", "x", "jackknife"), ("a", "y", "none"), ("b", "y", "jackknife"), ("b", "z", "jackknife")
    ]  # fmt: skip
    plt.close(figure)
