"""Sizes, colours and files of figures."""

import string
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, cast

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.path import Path as Outline
from matplotlib.transforms import Affine2D

from orthotrace.core.digests import remove
from orthotrace.core.errors import refuse_unknown
from orthotrace.core.files import whole, write_csv

P = ParamSpec("P")

# A figure, and rows of the numbers in it.
Drawn = tuple[Figure, list[dict[str, Any]]]

# What of each format is not written, so that the same figure is the same bytes.
FORMATS = {"pdf": "CreationDate", "svg": "Date", "png": "Software"}


@dataclass(frozen=True)
class Style:
    """Where figures are to be printed.

    Attributes:
        column: width of a figure in one column, in inches.
        page: width of a figure across the page, in inches.
        tallest: height that panels are fitted to, in inches.
        scale: of text, lines and gaps; with 1 text has 7 and 6 points. Figures are laid out as if it was 1.
        part: a part of a composed figure that is drawn into; None for figures of their own.
    """

    column: float
    page: float
    tallest: float
    scale: float = 1.0
    part: SubFigure | None = None

    @property
    def single(self) -> float:
        """Width of a column before it is scaled, in inches."""
        return self.column / self.scale

    @property
    def double(self) -> float:
        """Width of a page before it is scaled, in inches."""
        return self.page / self.scale

    @property
    def tall(self) -> float:
        """Height that panels are fitted to before it is scaled, in inches."""
        return self.tallest / self.scale


# Nature: columns of 89 and 183 mm. The conferences: widths of column and text in their style files. Slides: 16 to 9.
STYLES = {
    "nature": Style(89 / 25.4, 183 / 25.4, 170 / 25.4),
    "neurips": Style(5.5, 5.5, 8.0),
    "icml": Style(3.25, 6.75, 8.0),
    "cvpr": Style(3.25, 6.875, 8.0),
    "slides": Style(6.2, 12.4, 6.8, 2.0),
}
_NOW: ContextVar[Style | None] = ContextVar("style", default=None)

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

# Of scale 1.
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Arial", "Helvetica", "Liberation Sans", "DejaVu Sans"],
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "legend.fontsize": 6,
    "legend.title_fontsize": 6,
    "legend.frameon": False,
    "figure.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.titlepad": 6,
    "axes.labelpad": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.pad": 3.5,
    "ytick.major.pad": 3.5,
    "lines.linewidth": 1.0,
    "lines.markersize": 4,
    "savefig.dpi": 300,
    # Text stays text: editable, and embedded as Type 42.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    # The ids in an SVG are drawn from this, not from the clock.
    "svg.hashsalt": "orthotrace",
}
# Numbers that do not grow with the scale.
FIXED = ("savefig.dpi", "pdf.fonttype", "legend.frameon", "axes.spines.top", "axes.spines.right")


def now() -> Style:
    """The style of the figure that is drawn."""
    return _NOW.get() or STYLES["nature"]


def pt(size: float) -> float:
    """A length in points, at the scale of the style.

    Example:
        >>> with styled("slides"):
        ...     pt(7)
        14.0
    """
    return size * now().scale


@contextmanager
def within_style(style: Style) -> Iterator[None]:
    """Figures of a block are of this style."""
    token = _NOW.set(style)
    numbers = {key: value for key, value in STYLE.items() if isinstance(value, (int, float)) and key not in FIXED}
    options: dict[Any, Any] = {**STYLE, **{key: value * style.scale for key, value in numbers.items()}}
    try:
        with mpl.rc_context(options):
            yield
    finally:
        _NOW.reset(token)


@contextmanager
def styled(style: str = "nature") -> Iterator[None]:
    """The style of all figures within a block, without a display.

    Args:
        style: nature (89 and 183 mm wide), neurips (5.5 in), icml (3.25 and 6.75 in), cvpr (3.25 and 6.875 in) or
            slides (6.2 and 12.4 in, text twice as large).

    Raises:
        UserError: an unknown style.
    """
    refuse_unknown([style], list(STYLES), "there is no style", "style")
    before = mpl.get_backend()
    mpl.use("agg")
    try:
        with within_style(STYLES[style]):
            yield
    finally:
        mpl.use(before)


def figure_function(function: Callable[P, Drawn]) -> Callable[P, Drawn]:
    """A function that draws a figure, in the style of the block it is called in; outside of any, that of Nature."""

    @wraps(function)
    def draw(*args: P.args, **options: P.kwargs) -> Drawn:
        with within_style(now()):
            return function(*args, **options)

    return draw


def canvas(width: float, height: float, layout: Any = "constrained") -> Figure:
    """An empty figure of a size in inches, to be scaled; the part of a composed one has its size already."""
    scale, part = now().scale, now().part
    # A part has all that is used of a figure.
    return plt.figure(figsize=(scale * width, scale * height), layout=layout) if part is None else cast(Figure, part)


def size_of(figure: Figure) -> tuple[float, float]:
    """Width and height of a figure, or of a part of one, in inches before they are scaled."""
    inch = figure.dpi * now().scale
    return figure.bbox.width / inch, figure.bbox.height / inch


def grow(figure: Figure, height: float) -> None:
    """Give a figure this height in inches, to be scaled; a part of a composed one keeps its own."""
    if now().part is None:
        figure.set_figheight(now().scale * height)


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
    with within_style(now()):
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
    edge = {"markerfacecolor": "white", "markeredgewidth": pt(0.8)} if turn % 2 else {"markeredgewidth": 0}
    return {
        "color": colour, "marker": marker, "markersize": pt(SIZES.get(marker, 4.0)),
        "linestyle": DASHES[turn // 2 % len(DASHES)], **edge,
    }  # fmt: skip


def grid(
    number: int,
    most: int,
    height: Callable[[float], float],
    layout: Any = "constrained",
    least: float = 0.0,
    **options: Any,
):
    """A figure of some panels, at most so many beside each other; of a column's width, or a page's for more than two.

    Args:
        number: of panels.
        most: beside each other.
        height: of a line of panels in inches, by the width of a panel.
        layout: of the figure.
        least: inches of a panel, below which two stand across the page.
        options: of Figure.subplots.

    Returns:
        The figure, and its panels (lines, columns); those that are left over are hidden.
    """
    lines = -(-number // most)
    columns = -(-number // lines)
    narrow = columns <= min(2, most) and now().single / columns >= least
    width = now().single if narrow else now().double
    figure = canvas(width, lines * height(width / columns), layout)
    panels = figure.subplots(lines, columns, squeeze=False, **options)
    for axes in panels.flat[number:]:
        axes.set_visible(False)
    return figure, panels


def letter(axes: Axes, number: int) -> None:
    """Mark a panel with its letter; those of a composed figure have theirs already."""
    if now().part is None:
        axes.annotate(
            string.ascii_lowercase[number], (0, 1), (pt(-18), pt(8)), "axes fraction", "offset points",
            weight="bold", size=pt(8),
        )  # fmt: skip
