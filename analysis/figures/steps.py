"""A value of every layer along a course: epochs of training, samples of dropout, tasks learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib import colormaps
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from orthotrace.analysis.figures.consistency import CONSISTENCY
from orthotrace.analysis.figures.facets import legend_above
from orthotrace.analysis.figures.layers import all_layers
from orthotrace.analysis.figures.lines import dodged, errors, within
from orthotrace.analysis.figures.style import MARKERS, SIZES, Drawn, figure_function, grid, letter, pt
from orthotrace.analysis.figures.text import filled, shown
from orthotrace.core.errors import UserError

# Colours of layers, from the first to the last: the dark and middle part of a scale that stays ordered in grey.
SCALE, DARKEST, LIGHTEST = "viridis", 0.0, 0.88
# More layers than this are told by colour alone.
MARKED = len(MARKERS)


class Estimate(Protocol):
    """A mean and its interval, such as consistency.PairMean and statistics.Interval; None where there is none."""

    @property
    def mean(self) -> float:
        """Of what was measured."""
        ...

    @property
    def low(self) -> float | None:
        """End of the interval."""
        ...

    @property
    def high(self) -> float | None:
        """End of the interval."""
        ...


# Group -> layer -> epoch, samples or task -> what was found there.
Courses = Mapping[str, Mapping[str, Mapping[Any, Estimate]]]


@figure_function
def trajectory(found: Courses, label: str = CONSISTENCY, bounds: tuple[float, float] | None = (0, 1)) -> Drawn:
    """A value of every layer, such as the consistency between networks, over the epochs of training.

    Args:
        found: group -> layer -> epoch, 0 before training -> mean and interval.
        label: of the values.
        bounds: of the values; None where they have none.

    Raises:
        UserError: nothing to draw.

    Example:
        >>> from orthotrace.analysis.studies.consistency import pair_mean
        >>> one = pair_mean([[1, 0.5], [0.5, 1]])
        >>> figure, rows = trajectory({"gpm": {"relu1": {0: one, 1: one}}})
        >>> rows[1]["layer"], rows[1]["epoch"], rows[1]["mean"]
        ('relu1', 1, 0.5)
    """
    return _courses(found, "epoch", "Epoch", label, bounds)


@figure_function
def dropout_sampling(found: Courses, label: str = CONSISTENCY, bounds: tuple[float, float] | None = (0, 1)) -> Drawn:
    """A value of every layer over the number of dropout masks that are averaged at test, on a logarithmic axis.

    Args:
        found: group -> layer -> number of samples, 1 or more -> mean and interval.
        label: of the values.
        bounds: of the values; None where they have none.

    Raises:
        UserError: nothing to draw, or a number of samples below 1.
    """
    if any(samples < 1 for by_layer in found.values() for by in by_layer.values() for samples in by):
        raise UserError("numbers of samples are 1 or more", "found")
    return _courses(found, "samples", "Samples averaged", label, bounds, logarithmic=True)


@figure_function
def drift_over_tasks(
    found: Courses,
    label: str = "Kept of its representation (r²)",
    bounds: tuple[float, float] | None = (0, 1),
    along: str = "task",
) -> Drawn:
    """A value of every layer over the tasks, such as how alike its RDM is to that after the first task.

    Args:
        found: group -> layer -> task, from 1 -> mean and interval.
        label: of the values.
        bounds: of the values; None where they have none.
        along: what the numbers count: "task", or "epoch".

    Raises:
        UserError: nothing to draw.
    """
    return _courses(found, along, f"After {along}", label, bounds)


@figure_function
def consistency_over_time(
    found: Mapping[str, Mapping[str, Mapping[tuple[int, int], Estimate]]],
    label: str = CONSISTENCY,
    bounds: tuple[float, float] | None = (0, 1),
) -> Drawn:
    """A value of every layer over windows of time, such as the consistency between spiking networks.

    Args:
        found: group -> layer -> first and last step of a window, from 1 -> mean and interval, drawn at its middle.
        label: of the values.
        bounds: of the values; None where they have none.

    Raises:
        UserError: nothing to draw.

    Example:
        >>> from orthotrace.analysis.studies.consistency import pair_mean
        >>> one = pair_mean([[1, 0.5], [0.5, 1]])
        >>> figure, rows = consistency_over_time({"dsr": {"relu1": {(1, 3): one, (4, 6): one}}})
        >>> rows[1]["first"], rows[1]["last"], rows[1]["mean"]
        (4, 6, 0.5)
    """
    middles = {
        group: {layer: {(first + last) / 2: one for (first, last), one in of.items()} for layer, of in by.items()}
        for group, by in found.items()
    }
    figure, rows = _courses(middles, "middle", "Steps of time", label, bounds)
    ends = {sum(window) / 2: window for by in found.values() for of in by.values() for window in of}
    ticks = _few(sorted(ends))
    names = [f"{first}–{last}" if last > first else f"{first}" for first, last in (ends[tick] for tick in ticks)]
    for axes in figure.axes:
        axes.set_xticks(ticks, names)
    names = ("method", "layer", "first", "last", "mean", "low", "high")
    for row in rows:
        row["first"], row["last"] = ends[row["middle"]]
    return figure, [{name: row[name] for name in names} for row in rows]


def _courses(
    found: Courses, key: str, along: str, label: str, bounds: tuple[float, float] | None, logarithmic: bool = False
) -> Drawn:
    """A panel for each group, a line for each layer, from dark to light."""
    layers = all_layers(found)
    steps = sorted({step for by_layer in found.values() for by in by_layer.values() for step in by})
    if not steps:
        raise UserError("nothing was found at any step", "found")
    looks = {layer: _look(place, len(layers)) for place, layer in enumerate(layers)}
    figure, panels = grid(len(found), 4, lambda width: max(1.6, min(0.75 * width, 1.7)), sharex=True, sharey=True)
    span = np.log(steps[-1] / steps[0]) if logarithmic else steps[-1] - steps[0]
    rows: list[dict[str, Any]] = []
    for number, (axes, (group, by_layer)) in enumerate(zip(panels.flat, found.items(), strict=False)):
        for place, layer in enumerate(one for one in layers if one in by_layer):
            own = dict(sorted(by_layer[layer].items()))
            at = np.array(list(own), dtype=np.float64)
            # Side by side, so that bars do not hide each other.
            aside = dodged(place, len(by_layer), 0.008, 0.04) * span
            x = at * np.exp(aside) if logarithmic else at + aside
            means = [one.mean for one in own.values()]
            axes.plot(x, means, **looks[layer])
            ends = [(within(one.low, bounds), within(one.high, bounds)) for one in own.values()]
            errors(axes, x, means, ends, looks[layer])
            rows += [
                {
                    "method": group, "layer": layer, key: step, "mean": one.mean, "low": low, "high": high,
                }
                for (step, one), (low, high) in zip(own.items(), ends, strict=True)
            ]  # fmt: skip
        axes.set_title(filled(group, 26) if len(found) > 1 else "")
        if len(found) > 1:
            letter(axes, number)
        # A panel with none below it has its own numbers.
        axes.xaxis.set_tick_params(labelbottom=number + panels.shape[1] >= len(found))
        if logarithmic:
            axes.set_xscale("log")
            axes.set_xticks(_few(steps))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if bounds is not None:
        low, high = bounds
        panels.flat[0].set_ylim(low - 0.02 * (high - low), high + 0.02 * (high - low))
    figure.supxlabel(along)
    figure.supylabel(shown(label))
    legend_above(figure, [Line2D([], [], label=layer, **look) for layer, look in looks.items()])
    return figure, rows


def _few(steps: Sequence[float]) -> list[float]:
    """At most six of them, the first and the last among them."""
    places = np.unique(np.linspace(0, len(steps) - 1, min(6, len(steps))).round().astype(int))
    return [steps[place] for place in places]


def _look(place: int, layers: int) -> dict[str, Any]:
    """Colour and marker of a layer by its depth, for plot."""
    depth = DARKEST + (LIGHTEST - DARKEST) * place / max(1, layers - 1)
    marker = MARKERS[place % MARKED]
    return {
        "color": colormaps[SCALE](depth), "marker": marker, "markersize": pt(0.8 * SIZES.get(marker, 4.0)),
        "markeredgewidth": 0, "linewidth": pt(0.8),
    }  # fmt: skip
