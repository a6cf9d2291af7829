"""Groups in panels, and what tells them apart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from orthotrace.analysis.figures.style import COLOURS, CYCLES, grow, look, now, pt, size_of
from orthotrace.analysis.figures.text import filled

# A legend takes at most this share of a figure's height.
SHARE = 0.24


@dataclass(frozen=True)
class Facets:
    """Which group is in which panel, and how it is called and drawn there: the same in all figures.

    Attributes:
        panels: title -> label of a group -> its name in the legend. Groups of one name look alike in all panels.

    Example:
        >>> facets = Facets({"class": {"gpm, class": "gpm", "er, class": "er"}, "task": {"gpm, task": "gpm"}})
        >>> facets.names, facets.within(["gpm, task"])
        (['gpm', 'er'], {'task': {'gpm, task': 'gpm'}})
    """

    panels: Mapping[str, Mapping[str, str]]

    @classmethod
    def one(cls, labels: Iterable[str]) -> Facets:
        """All groups in one panel, by their labels."""
        return cls({"": {label: label for label in labels}})

    @cached_property
    def names(self) -> list[str]:
        """In the legend."""
        return list(dict.fromkeys(name for of in self.panels.values() for name in of.values()))

    @property
    def labels(self) -> list[str]:
        """Of all groups, panel by panel."""
        return [label for of in self.panels.values() for label in of]

    def within(self, labels: Collection[str]) -> dict[str, dict[str, str]]:
        """The panels with these groups alone; those that stay empty are left out."""
        kept = {
            title: {label: name for label, name in of.items() if label in labels} for title, of in self.panels.items()
        }
        return {title: of for title, of in kept.items() if of}

    def ordered(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What belongs to groups, in the order of the panels."""
        return {label: values[label] for label in self.labels if label in values}

    def look(self, name: str) -> dict[str, Any]:
        """Colour, marker and line, for plot."""
        return look(self.names.index(name))

    def legend(self, figure: Figure, labels: Collection[str]) -> None:
        """A legend of the names of these groups, above; none for one name that is all there is."""
        shown = {name for of in self.within(labels).values() for name in of.values()}
        handles = [Line2D([], [], label=name, **self.look(name)) for name in self.names if name in shown]
        legend_above(figure, handles)

    @property
    def caption(self) -> str:
        """What a caption says of panels, colours and markers; begins with a space."""
        several = " Each panel has the groups of one setting." if len(self.panels) > 1 else ""
        cycles = f" {CYCLES}" if len(self.names) > len(COLOURS) else ""
        return f"{several} Each group has its colour and marker, see the legend.{cycles}"


def legend_above(figure: Figure, handles: Sequence[Any], title: str | None = None) -> None:
    """A legend above the panels, in as many columns as fit; the figure grows so that it is a small part of it.

    Long names are broken into lines.
    """
    renderer = figure._get_renderer()  # pyright: ignore[reportAttributeAccessIssue]
    width, inch = figure.bbox.width * 0.98, figure.dpi * now().scale
    # Letters of 6 points that fit a line, beside the mark.
    wide, tall = size_of(figure)
    letters = int(19 * wide) - 6
    for handle in handles:
        handle.set_label(filled(handle.get_label(), letters))
    title = None if title is None else filled(title, letters + 9)
    options: dict[str, Any] = {
        "title": title,
        "title_fontsize": pt(6),
        "loc": "outside upper center",
        "handles": handles,
    }
    options |= {"columnspacing": 1.2, "handletextpad": 0.5, "labelspacing": 0.35, "borderaxespad": 0.2}
    rows, height = 1, 0.0
    while rows <= len(handles):
        legend = figure.legend(ncols=-(-len(handles) // rows), **options)
        box = legend.get_window_extent(renderer)
        height = box.height / inch
        if box.width <= width or rows == len(handles):
            break
        legend.remove()
        rows += 1
    grow(figure, max(tall + height, height / SHARE))


def stacked(panels: int, width: float, columns: float) -> bool:
    """Whether panels that need so many inches each stand below each other in a figure of a width.

    Example:
        >>> stacked(2, 3.0, 7.2), stacked(2, 5.0, 7.2)
        (False, True)
    """
    return panels * width > columns


def height_of(lines: int, each: float) -> float:
    """Inches of some lines of panels, no taller than a page."""
    return lines * min(each, now().tall / lines)
