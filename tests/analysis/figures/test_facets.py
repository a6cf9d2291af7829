"""Figures of 3, 8 and 12 groups, as they are drawn."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest
from figure_cases import DEEP, METHODS, drawings, facets_of, legend_share, look_alikes, overlapping
from matplotlib.lines import Line2D

from orthotrace.analysis.figures.facets import Facets, legend_above
from orthotrace.analysis.figures.style import CYCLES, styled

LINES = ("accuracy", "consistency", "reference", "mds", "inside", "sweep")
MAPS = ("matrices", "capacity", "correspondence", "rdms")
# Three groups are drawn by test_every_figure; eight are in two panels, and twelve in one, as three are: where the legend
# is the same the others are in make test-whole.
CROWDED = ("consistency", "mds", "capacity")
CASES = [
    *((name, 8) for name in (*LINES, *MAPS)),
    *(pytest.param(name, 12, marks=[] if name in CROWDED else pytest.mark.whole) for name in (*LINES, "capacity")),
]


@pytest.fixture
def drawn():
    """A figure in the style of all figures."""
    with styled():
        yield lambda name, facets, *options: drawings(facets, *options)[name]()[0]


@pytest.mark.parametrize(("name", "groups"), CASES)
def test_nothing_overlaps_or_looks_alike_and_the_width_is_a_column(drawn, name, groups):
    facets = facets_of(groups)
    figure = drawn(name, facets, ("relu1", "head"), 3)
    assert overlapping(figure) == []
    if name in LINES:
        assert look_alikes(figure, facets.labels if name == "sweep" else facets.names) == 0
    assert legend_share(figure) <= 0.25
    assert min(abs(figure.get_figwidth() * 25.4 - width) for width in (89, 183)) < 0.1
    assert figure.get_figheight() * 25.4 <= 180


def test_deep_networks_of_two_scenarios(drawn):
    figure = drawn("consistency", facets_of(8), DEEP)
    assert overlapping(figure) == [] and legend_share(figure) <= 0.25


def test_what_overlaps_is_found(drawn):
    """The measure itself."""
    figure = drawn("consistency", facets_of(3))
    axes = figure.axes[0]
    axes.set_xticks([0, 0.05], ["a long name", "another name"])
    assert ("a long name", "another name") in overlapping(figure)
    figure.text(0.99, 0.5, "beyond")
    assert ("beyond", "edge") in overlapping(figure)


@pytest.mark.parametrize("groups", [13, 24])
def test_more_groups_than_colours_do_not_look_alike(drawn, groups):
    facets = facets_of(groups)
    figure = drawn("consistency", facets, ("head",), 2)
    assert look_alikes(figure, facets.names) == 0 and legend_share(figure) <= 0.25


def test_more_than_twelve_are_told_in_the_caption():
    assert CYCLES in Facets.one(map(str, range(13))).caption and CYCLES not in Facets.one(METHODS).caption
    assert "panel" in facets_of(8).caption and "panel" not in facets_of(3).caption


def test_a_group_looks_the_same_in_every_panel_and_figure():
    facets = facets_of(8)
    assert facets.names == list(METHODS[:4])
    assert facets.within(["gpm, scenario=domain"]) == {"domain-incremental": {"gpm, scenario=domain": "gpm"}}
    assert facets.look("gpm") == Facets.one(METHODS).look("gpm")


def test_long_labels_are_broken_into_lines(drawn):
    figure = plt.figure(figsize=(3.5, 2), layout="constrained")
    legend_above(figure, [Line2D([], [], label=f"{number} " + "a long label " * 12) for number in range(3)])
    assert overlapping(figure) == [] and legend_share(figure) <= 0.25
