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
from matplotlib.path import Path as Outline
from matplotlib.transforms import Affine2D

from orthotrace.core.digests import remove
from orthotrace.core.files import whole, write_csv

# A figure, and rows of the numbers in it.
Drawn = tuple[Figure, list[dict[str, Any]]]

# What of each format is not written, so that the same figure is the same bytes.
FORMATS = {"pdf": "CreationDate", "svg": "Date", "png": "Software"}

# Widths of Nature's columns, in inches.
SINGLE, DOUBLE = 89 / 25.4, 183 / 25.4
TALLEST = 170 / 25.4

# Distinct for colour-blind readers: at least 16 apart in CIELAB, also as those see them who lack one kind of cone
# (Machado, Oliveira & Fernandes, IEEE TVCG 15 (2009) 1291). The first six: Wong, Nature Methods 8 (2011) 441.
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00",
    "#9600FF", "#69004B", "#A5D278", "#2D1E00", "#695A2D", "#000F87",
)  # fmt: skip
# Distinct in grey; the last one is half a disc.
HALF = Outline.wedge(0, 180).transformed(Affine2D().translate(0, -0.45))
MARKERS: tuple[Any, ...] = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "d", HALF)
# Points; of shapes that fill less of their square, more.
SIZES = {"*": 6.0, "d": 4.8, "P": 4.6, "X": 4.6, HALF: 5.4}
DASHES = ("-", "--", ":", "-.")
# What a caption says where there are more groups than colours.
CYCLES = (
    "From the thirteenth group on the colours and markers come again, in the same order: with open markers, and from "
    "the twenty-fifth on with broken lines."
)

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
    "lines.markersize": 4,
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


def look(place: int) -> dict[str, Any]:
    """Colour, marker and line of a group by its place, for plot; distinct to 96 groups, in grey by marker to 24.

    Example:
        >>> look(1)["color"], look(1)["marker"], look(13)["markerfacecolor"], look(24)["linestyle"]
        ('#D55E00', 's', 'white', '--')
    """
    colour, turn = COLOURS[place % len(COLOURS)], place // len(COLOURS)
    marker = MARKERS[place % len(MARKERS)]
    edge = {"markerfacecolor": "white", "markeredgewidth": 0.8} if turn % 2 else {"markeredgewidth": 0}
    return {
        "color": colour, "marker": marker, "markersize": SIZES.get(marker, STYLE["lines.markersize"]),
        "linestyle": DASHES[turn // 2 % len(DASHES)], **edge,
    }  # fmt: skip


def grid(number: int, most: int, height: Callable[[float], float], layout: Any = "constrained", **options: Any):
    """A figure of some panels, at most so many beside each other; of a column's width, or of both for more than two.

    Args:
        number: of panels.
        most: beside each other.
        height: of a line of panels in inches, by the width of a panel.
        layout: of the figure.
        options: of plt.subplots.

    Returns:
        The figure, and its panels (lines, columns); those that are left over are hidden.
    """
    lines = -(-number // most)
    columns = -(-number // lines)
    width = SINGLE if columns <= min(2, most) else DOUBLE
    size = (width, lines * height(width / columns))
    figure, panels = plt.subplots(lines, columns, figsize=size, layout=layout, squeeze=False, **options)
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
