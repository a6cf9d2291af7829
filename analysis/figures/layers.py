"""A value of every network at every layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from orthotrace.analysis.figures.facets import Facets
from orthotrace.analysis.figures.lines import dodged
from orthotrace.analysis.figures.style import Drawn, canvas, figure_function, letter, now, pt
from orthotrace.analysis.figures.text import shown as written
from orthotrace.analysis.inference.ceilings import Ceiling
from orthotrace.analysis.networks.windows import by_layer


def all_layers(by_method: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The layers that any method has, in the order of those that have most; windows of time beside their layer.

    Example:
        >>> all_layers({"a": {"x": 1, "z": 1}, "b": {"x": 1, "y": 1, "z": 1}})
        ['x', 'y', 'z']
    """
    found: list[str] = []
    for layers in sorted(map(list, by_method.values()), key=len, reverse=True):
        found += [layer for layer in layers if layer not in found]
    return by_layer(found)


def over_layers(layers: Sequence[str], facets: Sequence[str] = ("",), groups: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure with the layers along each of its panels, one for each facet.

    Panels are beside each other where they have room in a column, or in both, else below each other.

    Args:
        layers: their names.
        facets: titles of the panels.
        groups: in the fullest panel.
    """
    count, most = len(facets), max(map(len, layers))
    # Room for every group, with its dots, at each layer.
    each = 0.35 + len(layers) * max(0.42, 0.11 * groups)
    width = now().single if count * each + 0.2 <= now().single else now().double
    below = count * each + 0.2 > now().double
    lines, columns = (count, 1) if below else (1, count)
    # Names that would run into each other are turned.
    turned = len(layers) * (most + 1.5) > 15 * (width / columns - 0.5)
    height = lines * (1.6 if lines > 1 else 2.0) + 0.35 + (0.055 * most if turned else 0)
    figure = canvas(width, height)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for number, (axes, facet) in enumerate(zip(panels.flat, facets, strict=True)):
        axes.set_xticks(range(len(layers)), map(written, layers), rotation=90 if turned else 0)
        axes.set_xlim(-0.5, len(layers) - 0.5)
        axes.set_title(written(facet))
        # Lines between layers, not between groups.
        for edge in range(1, len(layers)):
            axes.axvline(edge - 0.5, color="0.9", linewidth=pt(0.5), zorder=0)
        axes.tick_params(axis="x", length=0)
        if count > 1:
            letter(axes, number)
    return figure, list(panels.flat)


def draw_method(
    axes: Axes,
    place: int,
    methods: int,
    dots: Sequence[Sequence[float]],
    means: Sequence[float],
    look: Mapping[str, Any],
) -> NDArray[np.float64]:
    """A line of the means of one method at each layer, and its dots; methods side by side, so that none is hidden.

    Returns:
        Where they are along the layers.
    """
    x = np.arange(len(means), dtype=np.float64) + dodged(place, methods, 0.14)
    for at, values in zip(x, dots, strict=True):
        axes.plot([at] * len(values), values, ".", color=look["color"], markersize=pt(2.5), alpha=0.5, zorder=1.5)
    axes.plot(x, means, **{**look, "linewidth": pt(0.5), "zorder": 3})
    return x


@figure_function
def values_by_layer(
    values: Mapping[str, Mapping[str, Sequence[float]]],
    label: str,
    ceiling: Ceiling | None = None,
    facets: Facets | None = None,
) -> Drawn:
    """Mean over networks at each layer, every network a dot; the noise ceiling as a band.

    Args:
        values: method -> layer -> of each network; a layer that a method lacks is left blank.
        label: of the values.
        ceiling: where there is one.
        facets: a panel each.
    """
    layers = all_layers(values)
    facets = facets or Facets.one(values)
    shown = facets.within(values)
    figure, panels = over_layers(layers, list(shown), max(map(len, shown.values())))
    rows: list[dict[str, Any]] = []
    limits = (None, None) if ceiling is None else (ceiling.lower, ceiling.upper)
    for axes, of in zip(panels, shown.values(), strict=True):
        if ceiling is not None:
            axes.axhspan(ceiling.lower, ceiling.upper, color="0.85", linewidth=0, zorder=0)
        axes.axhline(0, color="0.6", linewidth=pt(0.5), zorder=0)
        for place, (method, name) in enumerate(of.items()):
            dots = [values[method].get(layer, ()) for layer in layers]
            means = [float(np.mean(one)) if one else np.nan for one in dots]
            draw_method(axes, place, len(of), dots, means, facets.look(name))
            rows += [
                {
                    "method": method, "layer": layer, "mean": mean, "networks": len(one),
                    "values": " ".join(f"{value:.6f}" for value in one),
                    "ceiling_low": limits[0], "ceiling_high": limits[1],
                }
                for layer, one, mean in zip(layers, dots, means, strict=True)
                if one
            ]  # fmt: skip
    label_panels(figure, panels, label)
    facets.legend(figure, values)
    return figure, rows


def label_panels(figure: Figure, panels: Sequence[Axes], label: str) -> None:
    """The label of the values: once where panels share their axis."""
    if len(panels) == 1:
        panels[0].set_ylabel(written(label))
    else:
        figure.supylabel(written(label))
