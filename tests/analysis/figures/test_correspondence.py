import matplotlib.pyplot as plt
import numpy as np
import pytest
from figure_cases import overlapping

from orthotrace.analysis.figures.correspondence import layer_correspondence
from orthotrace.analysis.figures.layer_similarity import layer_by_layer
from orthotrace.analysis.figures.style import styled
from orthotrace.analysis.studies.findings import Correspondence


def test_a_matrix_for_each_method_with_its_shares_written_in():
    one = Correspondence(("relu1", "head"), 0.75, ((0.5, 0.5), (0.0, 1.0)))
    figure, rows = layer_correspondence({"gpm": one, "hlop": one})
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["gpm\n75% the same layer", "hlop\n75% the same layer"]
    assert [text.get_text() for text in panels[0].texts] == ["0.50", "0.50", "0.00", "1.00"]
    assert rows[1] == {"method": "gpm", "layer": "relu1", "other": "head", "share": 0.5} and len(rows) == 8
    plt.close(figure)
    many = tuple(f"l{number}" for number in range(12))
    wide = Correspondence(many, 1.0, tuple(tuple(float(i == j) for j in range(12)) for i in range(12)))
    figure, _ = layer_correspondence(dict.fromkeys("abc", wide))
    assert not figure.axes[0].texts
    plt.close(figure)


@pytest.mark.parametrize("figure", ["correspondence", "layer-similarity"])
def test_names_of_layers_in_windows_beside_those_of_an_ordinary_network_do_not_run_into_each_other(figure):
    few, many = (
        ("relu1", "relu2", "head"),
        tuple(f"{name}@{step}" for name in ("relu1", "head") for step in range(1, 10)),
    )
    with styled():
        if figure == "correspondence":
            shares = {one: tuple(map(tuple, np.eye(len(one)).tolist())) for one in (few, many)}
            drawn, _ = layer_correspondence(
                {str(len(one)): Correspondence(one, 1.0, shares[one]) for one in (few, many)}
            )
        else:
            drawn, _ = layer_by_layer({str(len(one)): (np.eye(len(one)), one, one) for one in (few, many)})
        assert overlapping(drawn) == []
    plt.close(drawn)
