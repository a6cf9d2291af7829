"""Sizes, colours and files of figures."""

import re
import string
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthotrace.core.digests import remove
from orthotrace.core.files import whole, write_csv

# A figure, and rows of the numbers in it.
Drawn = tuple[Figure, list[dict[str, Any]]]

# What of each format is not written, so that the same figure is the same bytes.
FORMATS = {"pdf": "CreationDate", "svg": "Date", "png": "Software"}

# Widths of Nature's columns, in inches.
SINGLE, DOUBLE = 89 / 25.4, 183 / 25.4
TALLEST = 170 / 25.4

# Wong, Nature Methods 8 (2011) 441: distinct for colour-blind readers; black and yellow left for other uses.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Arial", "Helvetica", "Liberation Sans", "DejaVu Sans"],
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "legend.fontsize": 6,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.0,
    "lines.markersize": 3,
    "savefig.dpi": 300,
    # Text stays text: editable, and embedded as Type 42.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    # The ids in an SVG are drawn from this, not from the clock.
    "svg.hashsalt": "orthotrace",
}


@contextmanager
def styled() -> Iterator[None]:
    """The style of all figures, within a block, without a display."""
    before = mpl.get_backend()
    mpl.use("agg")
    try:
        with mpl.rc_context(STYLE):
            yield
    finally:
        mpl.use(before)


def save(
    figure: Figure, folder: Path, name: str, rows: Sequence[Mapping[str, Any]], formats: Collection[str] = FORMATS
) -> Path:
    """Write a figure, and the numbers that it plots as CSV; the same bytes for the same figure.

    Args:
        figure: drawn in the style of all figures.
        folder: where; files that an earlier figure of the name has there in other formats are removed.
        name: of the files.
        rows: the numbers.
        formats: of FORMATS; the PNG is written in any case.

    Returns:
        The PNG.
    """
    # Laid out once: each format would do it again, which takes longer than to draw.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for kind, clock in FORMATS.items():
        if kind in formats or kind == "png":
            with whole(folder / f"{name}.{kind}") as temporary:
                figure.savefig(temporary, metadata={clock: None})
        else:
            remove(folder / f"{name}.{kind}")
    write_csv(folder / f"{name}.csv", rows)
    return folder / f"{name}.png"


def grid(
    number: int, most: int, size: Callable[[int, int], tuple[float, float]], layout: Any = "constrained", **options: Any
) -> tuple[Figure, Any]:
    """A figure of some panels, at most so many beside each other; its size in inches is that for the lines and columns.

    Returns:
        The figure, and its panels (lines, columns); those that are left over are hidden.
    """
    columns = min(number, most)
    lines = -(-number // columns)
    figure, panels = plt.subplots(lines, columns, figsize=size(lines, columns), layout=layout, squeeze=False, **options)
    for axes in panels.flat[number:]:
        axes.set_visible(False)
    return figure, panels


def letter(axes: Axes, number: int) -> None:
    """Mark a panel with its letter."""
    axes.annotate(
        string.ascii_lowercase[number], (0, 1), (-18, 8), "axes fraction", "offset points", weight="bold", size=8
    )


def wrapped(name: str, width: int) -> str:
    """A name in lines of at most width letters, broken at spaces and behind slashes, never within a word.

    Example:
        >>> wrapped("texture/very striped", 8).splitlines(), wrapped("texture/striped", 15).splitlines()
        (['texture/', 'very', 'striped'], ['texture/striped'])
    """
    found: list[str] = []
    for piece in re.split(r"(?<=/)| ", name):
        joint = "" if not found or found[-1].endswith("/") else " "
        if found and len(found[-1] + joint + piece) <= width:
            found[-1] += joint + piece
        else:
            found.append(piece)
    return "\n".join(found)
