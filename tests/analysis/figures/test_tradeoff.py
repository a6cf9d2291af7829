import numpy as np
import pytest

from orthotrace.analysis.figures.facets import Facets
from orthotrace.analysis.figures.tradeoff import SPAN, stability_against_plasticity
from orthotrace.core.errors import UserError


def test_seeds_are_small_and_means_large():
    figure, rows = stability_against_plasticity({"gpm": [0.8, 0.9], "er": [0.7]}, {"gpm": [1.0, 0.8], "er": [0.5]})
    seeds, mean, *_ = figure.axes[0].lines
    assert seeds.get_xydata().tolist() == [[0.8, 1.0], [0.9, 0.8]]
    assert np.allclose(mean.get_xydata(), [[0.85, 0.9]]) and mean.get_markersize() > seeds.get_markersize()
    # Bars of the deviation, along and up; of one seed none.
    assert len(figure.axes[0].collections) == 2
    assert rows[1] == {"facet": "", "method": "gpm", "seed": 1, "plasticity": 0.9, "stability": 0.8}


def test_equal_runs_do_not_look_different():
    figure, _ = stability_against_plasticity({"gpm": [0.8, 0.8001]}, {"gpm": [0.9, 0.9001]})
    assert np.ptp(figure.axes[0].get_xlim()) == pytest.approx(SPAN)


def test_a_panel_for_each_facet():
    facets = Facets({"class": {"gpm, class": "gpm"}, "task": {"gpm, task": "gpm"}})
    values = {key: [0.5, 0.6] for key in facets.labels}
    figure, _ = stability_against_plasticity(values, values, facets)
    assert [axes.get_title() for axes in figure.axes] == ["class", "task"]


def test_a_path_joins_the_means_of_its_groups_in_its_order():
    values = {"c": [0.3, 0.5], "a": [0.1, 0.3], "b": [0.9, 0.9], "alone": [0.5, 0.5]}
    plain, _ = stability_against_plasticity(values, values)
    figure, _ = stability_against_plasticity(values, values, paths=[["a", "b", "c"]])
    assert len(figure.axes[0].lines) == len(plain.axes[0].lines) + 1
    assert np.allclose(figure.axes[0].lines[-1].get_xydata(), [[0.2, 0.2], [0.9, 0.9], [0.4, 0.4]])
    with pytest.raises(UserError, match="no group is called d"):
        stability_against_plasticity(values, values, paths=[["a", "d"]])


def test_other_seeds_in_one_than_in_the_other():
    with pytest.raises(UserError, match="gpm: plasticity and stability of the same seeds are needed"):
        stability_against_plasticity({"gpm": [0.8]}, {"gpm": [0.9, 0.8]})
