"""Panels of lines, and places along them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from orthotrace.analysis.figures.style import canvas, letter, now, pt
from orthotrace.analysis.figures.text import shown


def dodged(place: int, count: int, most: float, room: float = 0.8) -> float:
    """How far a group stands beside a category, so that groups do not hide each other.

    Args:
        place: of the group, from 0.
        count: of groups.
        most: between two groups.
        room: that all have, a category being 1 wide.

    Example:
        >>> [round(dodged(place, 3, 0.1), 3) for place in range(3)], round(dodged(0, 9, 0.5), 3)
        ([-0.1, 0.0, 0.1], -0.356)
    """
    return min(most, room / count) * (place - (count - 1) / 2)


def pairs_of_panels(facets: Collection[str], labels: Sequence[str]) -> tuple[Figure, Any]:
    """A line of panels for each facet, of both columns' width, a panel for each label of a vertical axis.

    Returns:
        The figure, and its panels (facets, labels), with the titles of facets and letters.
    """
    lines, columns = len(facets), len(labels)
    each = 2.1 if lines == 1 else 1.75 if lines < 4 else 1.5
    figure = canvas(now().double if columns > 1 else now().single, lines * each)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey="col")
    for line, facet in enumerate(facets):
        for column, label in enumerate(labels):
            axes = panels[line, column]
            axes.set(title=shown(facet), ylabel=shown(label))
            if panels.size > 1:
                letter(axes, line * columns + column)
    return figure, panels


def errors(
    axes: Axes,
    x: NDArray[np.float64],
    means: Sequence[float],
    found: Sequence[tuple[float | None, float | None]],
    look: Mapping[str, Any],
) -> None:
    """Bars of intervals, where there are any, in the colour of a group.

    Args:
        axes: where.
        x: places.
        means: at each.
        found: low and high at each; None for none.
        look: of the group.
    """
    at = [number for number, (low, high) in enumerate(found) if low is not None and high is not None]
    if at:
        middle = np.asarray(means, dtype=np.float64)[at]
        ends = np.array([found[number] for number in at], dtype=np.float64)
        # What was cut to the range of the values has its mean within.
        lengths = np.maximum([middle - ends[:, 0], ends[:, 1] - middle], 0)
        axes.errorbar(x[at], middle, lengths, fmt="none", ecolor=look["color"], elinewidth=pt(0.8), zorder=2)


def within(end: float | None, bounds: tuple[float, float] | None) -> float | None:
    """An end of an interval, cut to the bounds of the values, where they have any.

    Example:
        >>> within(1.2, (0, 1)), within(1.2, None), within(None, (0, 1))
        (1, 1.2, None)
    """
    return end if end is None or bounds is None else min(max(end, bounds[0]), bounds[1])
