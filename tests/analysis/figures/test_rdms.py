import matplotlib.pyplot as plt
import numpy as np
import pytest
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
