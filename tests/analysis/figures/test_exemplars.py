import numpy as np

from orthotrace.analysis.figures.exemplars import exemplar_against_centroid
from orthotrace.analysis.studies.consistency import pair_mean


def found(value):
    return pair_mean(np.full((3, 3), value) + 0.1 * np.eye(3)[[1, 0, 2]] * (1 - np.eye(3)))


def test_both_stand_beside_each_other_in_the_panel_of_their_group():
    images = {"gpm": {"x": found(0.5), "y": found(0.4)}, "er": {"x": found(0.3)}}
    means = {"gpm": {"x": found(0.9)}}
    figure, rows = exemplar_against_centroid(images, means)
    assert [axes.get_title() for axes in figure.axes] == ["gpm", "er"]
    lines = [
        line.get_ydata()
        for line in figure.axes[0].lines
        if line.get_label().startswith("_") and len(line.get_xdata()) == 2
    ]
    assert any(np.allclose(y, [images["gpm"][layer].mean for layer in "xy"]) for y in lines)
    assert [(row["method"], row["of"], row["layer"]) for row in rows] == [
        ("gpm", "exemplars", "x"), ("gpm", "exemplars", "y"), ("gpm", "centroids", "x"), ("er", "exemplars", "x"),
    ]  # fmt: skip
    assert rows[2]["mean"] == means["gpm"]["x"].mean
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["all images", "means of classes"]
