import matplotlib.pyplot as plt
import pytest

from orthotrace.analysis.figures.layers import over_layers, values_by_layer
from orthotrace.analysis.inference.ceilings import Ceiling

VALUES = {"gpm": {"a": [0.1, 0.3], "b": [0.5, 0.7]}, "hlop": {"a": [0.2], "b": [0.4]}}


@pytest.mark.parametrize("ceiling", [None, Ceiling(0.6, 0.8)])
def test_every_network_is_a_dot_and_the_line_is_the_mean(ceiling):
    figure, rows = values_by_layer(VALUES, "Index", ceiling)
    (axes,) = figure.axes
    dots = sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == ".")
    assert dots == 6 and axes.get_ylabel() == "Index"
    assert [row["mean"] for row in rows] == pytest.approx([0.2, 0.6, 0.2, 0.4])
    assert rows[0]["values"] == "0.100000 0.300000" and rows[2]["networks"] == 1
    assert [row["ceiling_high"] for row in rows] == [None if ceiling is None else 0.8] * 4
    assert len(axes.patches) == (ceiling is not None)
    plt.close(figure)


@pytest.mark.parametrize(("layers", "turned"), [(["relu1", "relu2"], False), (["layer1.0.conv1"] * 12, True)])
def test_long_names_are_turned(layers, turned):
    figure, (axes,) = over_layers(layers)
    assert (axes.get_xticklabels()[0].get_rotation() == 90) == turned
    plt.close(figure)


@pytest.mark.parametrize(("layers", "width", "lines"), [(2, 89, 1), (6, 183, 1), (30, 183, 2)])
def test_panels_stand_below_each_other_where_they_have_no_room(layers, width, lines):
    figure, panels = over_layers(["relu"] * layers, ["class", "task"], 4)
    assert figure.get_figwidth() * 25.4 == pytest.approx(width, abs=0.1)
    assert len({round(axes.get_position().y0, 3) for axes in panels}) == lines
    plt.close(figure)


def test_a_layer_that_a_method_lacks_is_blank():
    figure, rows = values_by_layer({"gpm": {"b": [0.5]}, "hlop": VALUES["hlop"]}, "Index")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]
    assert [(row["method"], row["layer"]) for row in rows] == [("gpm", "b"), ("hlop", "a"), ("hlop", "b")]
    plt.close(figure)
