"""Every figure function: what is drawn, how wide, with which fonts, and the same bytes again."""

from __future__ import annotations

import io
from pathlib import Path

import figure_cases
import matplotlib.pyplot as plt
import numpy as np
import pytest
from figure_cases import drawings, facets_of, legend_share, look_alikes, other_drawings, overlapping, texts_of
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.cbook import is_math_text

from orthotrace.analysis import figures
from orthotrace.analysis.figures.facets import Facets
from orthotrace.analysis.figures.style import STYLES, styled

# A lone dollar, two that are no mathematics, and mathematics.
GROUPS = ("pay $5", "$a_$ of $", r"$\alpha$-gpm")
NAMES = ["$ thick", "slanted left", "two holes", "of a colour", "thin", "one hole", "seven", "very long name", "ninth"]
# What has a mark for each group.
GROUPED = ("accuracy", "consistency", "similarity", "reference", "mds", "inside", "sweep", "tradeoff", "agreement")


def cases():
    """All figures, with the same numbers at each call."""
    return {**drawings(Facets.one(GROUPS), ("relu1", "head"), 3), **other_drawings(NAMES)}


@pytest.fixture(scope="module")
def drawn():
    """Every figure and its rows, and all of them in one PDF, twice: fonts are embedded once."""
    with styled():
        found, files = {}, []
        for _ in range(2):
            file = io.BytesIO()
            with PdfPages(file, metadata={"CreationDate": None}) as pages:
                for name, make in cases().items():
                    figure, rows = make()
                    engine = figure.get_layout_engine()
                    # To lay it out takes longest, and is done once.
                    figure.set_layout_engine("none")
                    pages.savefig(figure)
                    figure.set_layout_engine(engine)
                    found.setdefault(name, (figure, rows, []))[2].append(rows)
                    plt.close(figure)
            files.append(file.getvalue())
    return found, files


def test_every_public_function_is_here():
    source = Path(figure_cases.__file__).read_text(encoding="utf-8")
    others = {"STYLES", "Facets", "panel", "save", "styled"}
    assert [name for name in set(figures.__all__) - others if f"figures.{name}(" not in source] == []


@pytest.mark.parametrize("name", cases())
def test_labels_marks_ranges_and_the_width(drawn, name):
    figure, rows, both = drawn[0][name]
    with styled():
        assert overlapping(figure) == []
        assert min(abs(figure.get_figwidth() * 25.4 - width) for width in (89, 183)) < 0.1
        assert legend_share(figure) <= 0.25 and figure.get_figheight() * 25.4 <= 180
        shown = texts_of(figure)
        if name in GROUPED:
            assert look_alikes(figure, GROUPS) == 0
    # Whatever is no mathematics is written as it is.
    for text in shown:
        for line in text.get_text().split("\n"):
            assert "$" not in line.replace("\\$", "") or (is_math_text(line) and "alpha" in line), line
    # Each axis says what it is of, or is one of names, images, or a plane.
    written = [text.get_text() for text in shown]
    assert any(not one.replace(".", "").replace("−", "").isdigit() for one in written)
    # Lines lie within their axes.
    for axes in figure.axes:
        low, high = sorted(axes.get_ylim())
        for line in axes.lines:
            if line.get_transform() == axes.transData and axes.get_visible():
                y = np.asarray(line.get_ydata(), dtype=float)
                assert not len(y) or (np.nanmin(y) >= low and np.nanmax(y) <= high) or not np.isfinite(y).any()
    # The numbers beside it, as columns of a table.
    assert rows and len({tuple(row) for row in rows}) == 1
    assert str(both[0]) == str(both[1])


def test_all_are_the_same_bytes_again_with_their_fonts_embedded(drawn):
    first, second = drawn[1]
    assert first == second
    # Type 42 is TrueType: text that can be edited.
    assert b"/FontFile2" in first and b"/Type3" not in first
    assert first.count(b"/Type /Page\n") + first.count(b"/Type /Page ") == len(cases())


def test_heat_maps_are_images_and_no_cells(drawn):
    for name in (
        "matrices",
        "capacity",
        "correspondence",
        "rdms",
        "layers",
        "second-level",
        "separability",
        "importance",
    ):
        panels = [axes for axes in drawn[0][name][0].axes if axes.get_visible() and axes.images]
        # A scale has cells of its own, few.
        assert panels and not any(axes.collections for axes in panels), name


@pytest.mark.parametrize("style", [name for name in STYLES if name != "nature"])
def test_other_styles_have_their_widths_and_sizes(style):
    with styled(style):
        every = drawings(facets_of(3), ("relu1", "head"), 3)
        for name in ("consistency", "correspondence"):
            figure, _ = every[name]()
            assert overlapping(figure) == []
            widths = (STYLES[style].column, STYLES[style].page)
            assert min(abs(figure.get_figwidth() - width) for width in widths) * 25.4 < 0.1
            assert {text.get_fontsize() for text in texts_of(figure)} <= {
                size * STYLES[style].scale for size in (5, 6, 7, 8)
            }
            plt.close(figure)


def test_out_of_a_block_a_figure_is_in_the_style_of_nature(tmp_path):
    make = drawings(facets_of(3), ("relu1",), 2)["tradeoff"]
    figure, rows = make()
    figures.save(figure, tmp_path, "one", rows, [])
    assert figure.get_figwidth() * 25.4 == pytest.approx(89) and texts_of(figure)[0].get_fontsize() <= 7
    before = plt.rcParams["font.size"]
    with styled():
        again, rows = make()
        figures.save(again, tmp_path, "two", rows, [])
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert plt.rcParams["font.size"] == before != 7
