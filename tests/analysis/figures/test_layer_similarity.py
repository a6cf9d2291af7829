import numpy as np
import pytest

from orthotrace.analysis.figures.layer_similarity import layer_by_layer
from orthotrace.core.errors import UserError

VALUES = np.array([[0.9, 0.2, -0.1], [0.1, np.nan, 0.7]])


def test_rows_are_layers_of_one_network_the_first_at_the_bottom():
    figure, rows = layer_by_layer({"a, b": (VALUES, ["x", "y"], ["p", "q", "r"])}, networks=("a", "b"))
    axes = figure.axes[0]
    assert axes.get_ylim() == (-0.5, 1.5) and axes.images[0].norm.vmin == -0.1
    assert [text.get_text() for text in axes.texts] == ["0.90", "0.20", "−0.10", "0.10", "0.70"]
    assert rows[5] == {"title": "a, b", "layer": "y", "other": "r", "value": 0.7}
    assert figure.get_supylabel() == "Layer of a"


def test_names_that_do_not_fit():
    with pytest.raises(UserError, match=r"one: \(2, 2\) similarities are needed, got \(2, 3\)"):
        layer_by_layer({"one": (VALUES, ["x", "y"], ["p", "q"])})


@pytest.mark.parametrize("most", [1.0, 0.0])
def test_colours_end_at_the_most_that_there_can_be(most):
    figure, _ = layer_by_layer({"a and b": ([[-2.0, -0.5]], ["one"], ["one", "two"])}, most=most)
    assert figure.axes[0].images[0].get_clim() == (-2.0, most)
