import matplotlib.pyplot as plt
import numpy as np
import pytest
from figure_cases import overlapping
from scipy.spatial.distance import pdist, squareform

from orthotrace.analysis.figures.rdms import rdm_maps


def test_a_map_for_each_method_and_layer_and_means_between_classes():
    values = np.random.default_rng(0).standard_normal((6, 4))
    rdm = pdist(values, "correlation")
    figure, rows = rdm_maps({"a": {"x": rdm, "y": rdm}, "b": {"x": rdm, "y": rdm}}, ["p", "q"], 3)
    assert len([axes for axes in figure.axes if axes.images]) == 4
    found = {(row["class"], row["other"]): row["mean"] for row in rows if (row["method"], row["layer"]) == ("a", "x")}
    matrix = squareform(rdm)
    assert found["p", "q"] == pytest.approx(matrix[:3, 3:].mean())
    assert found["p", "p"] == pytest.approx(pdist(values[:3], "correlation").mean())
    plt.close(figure)


def test_one_stimulus_of_a_class_has_no_mean_within_it():
    figure, rows = rdm_maps({"a": {"x": np.array([1.0, 2.0, 3.0])}}, ["p", "q", "r"], 1)
    assert [(row["class"], row["other"], row["mean"]) for row in rows] == [
        ("p", "q", 1.0),
        ("p", "r", 2.0),
        ("q", "r", 3.0),
    ]
    plt.close(figure)


def test_what_is_undefined_is_grey_and_a_layer_that_a_method_lacks_is_blank():
    rdm = pdist(np.random.default_rng(0).standard_normal((6, 4)), "correlation")
    partial = np.where(np.triu_indices(6, 1)[0] == 0, np.nan, rdm)
    figure, rows = rdm_maps({"a": {"x": partial}, "b": {"x": rdm, "y": rdm}}, ["p", "q"], 3)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 3 and np.isnan(shown[0].images[0].get_array().filled(np.nan)).sum() == 11
    assert {(row["method"], row["layer"]) for row in rows} == {("a", "x"), ("b", "x"), ("b", "y")}
    found = {(row["class"], row["other"]): row["mean"] for row in rows if row["method"] == "a"}
    # Of the class of stimulus 0 the other two are left.
    assert found["p", "q"] == pytest.approx(squareform(rdm)[1:3, 3:].mean())
    assert found["p", "p"] == pytest.approx(squareform(rdm)[1, 2])
    plt.close(figure)


@pytest.mark.parametrize(("layers", "methods"), [(9, 1), (20, 2)])
def test_titles_of_many_layers_do_not_run_together(layers, methods):
    rdm = pdist(np.random.default_rng(0).standard_normal((6, 4)), "correlation")
    names = [f"layers.{number // 5}.block{number % 5}.relu1" for number in range(layers)]
    figure, _ = rdm_maps({f"method {number}": dict.fromkeys(names, rdm) for number in range(methods)}, ["p", "q"], 3)
    maps = [axes for axes in figure.axes[:-1] if axes.images]
    assert overlapping(figure) == [] and len(maps) == layers * methods
    # Each layer has its title, and every map is large enough.
    assert [axes.get_title().replace("\n", "") for axes in maps if axes.get_title()] == names
    assert min(axes.get_position().width for axes in maps) * figure.get_figwidth() > 0.4
    plt.close(figure)
