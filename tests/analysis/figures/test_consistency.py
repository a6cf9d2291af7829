import matplotlib.pyplot as plt
import numpy as np

from orthotrace.analysis.figures.consistency import consistency_by_layer
from orthotrace.analysis.studies.consistency import pair_mean


def result(n: int):
    values = np.random.default_rng(n).uniform(0.4, 0.8, (n, n))
    return pair_mean((values + values.T) / 2)


def test_every_pair_is_a_dot_and_the_legend_says_what_the_band_is():
    figure, rows = consistency_by_layer({"a": {"x": result(3), "y": result(3)}, "b": {"x": result(2), "y": result(2)}})
    (axes,) = figure.axes
    dots = sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == ".")
    assert dots == 2 * 3 + 2 * 1
    title = figure.legends[0].get_title().get_text()
    assert "jackknife" in title and "one pair: no interval" in title
    assert len(axes.collections) == 1
    assert [row["interval"] for row in rows] == ["jackknife", "jackknife", "none", "none"]
    assert len(rows[0]["pairs"].split()) == 3
    plt.close(figure)
