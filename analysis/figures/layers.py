"""A value of every network at every layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from orthotrace.analysis.figures.style import COLOURS, DOUBLE, MARKERS, SINGLE, Drawn
from orthotrace.analysis.inference.ceilings import Ceiling


def over_layers(layers: Sequence[str], labels: Sequence[str]) -> tuple[Figure, Axes, int]:
    """A figure with the layers along it, and how many columns its legend has room for."""
    width = min(max(SINGLE, 0.5 * len(layers) + 1.5), DOUBLE)
    columns = max(1, min(len(labels), int(width * 14 / (6 + max(map(len, labels))))))
    # Names that would run into each other are turned.
    turned = max(map(len, layers)) * len(layers) > 16 * width
    height = 2.4 + 0.11 * -(-len(labels) // columns) + (0.05 * max(map(len, layers)) if turned else 0)
    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    axes.set_xticks(range(len(layers)), layers, rotation=90 if turned else 0)
    axes.set_xlim(-0.4, len(layers) - 0.6)
    return figure, axes, columns


def draw_method(
    axes: Axes, place: int, methods: int, dots: Sequence[Sequence[float]], means: Sequence[float], label: str
) -> NDArray[np.float64]:
    """A line of the means of one method at each layer, and its dots; methods side by side, so that none is hidden.

    Returns:
        Where they are along the layers.
    """
    colour = COLOURS[place % len(COLOURS)]
    x = np.arange(len(means), dtype=np.float64) + min(0.09, 0.5 / methods) * (place - (methods - 1) / 2)
    for at, values in zip(x, dots, strict=True):
        axes.plot([at] * len(values), values, ".", color=colour, markersize=2.5, alpha=0.6)
    axes.plot(x, means, MARKERS[place % len(MARKERS)] + "-", color=colour, label=label)
    return x


def values_by_layer(
    values: Mapping[str, Mapping[str, Sequence[float]]], label: str, ceiling: Ceiling | None = None
) -> Drawn:
    """Mean over networks at each layer, every network a dot; the noise ceiling as a band.

    Args:
        values: method -> layer -> of each network.
        label: of the values.
        ceiling: where there is one.
    """
    layers = list(next(iter(values.values())))
    figure, axes, columns = over_layers(layers, list(values))
    rows: list[dict[str, Any]] = []
    if ceiling is not None:
        axes.axhspan(ceiling.lower, ceiling.upper, color="0.85", linewidth=0, zorder=0)
    axes.axhline(0, color="0.6", linewidth=0.5, zorder=0)
    for place, (method, by_layer) in enumerate(values.items()):
        dots = [by_layer[layer] for layer in layers]
        means = [float(np.mean(of)) for of in dots]
        draw_method(axes, place, len(values), dots, means, method)
        limits = (None, None) if ceiling is None else (ceiling.lower, ceiling.upper)
        rows += [
            {
                "method": method, "layer": layer, "mean": mean, "networks": len(of),
                "values": " ".join(f"{value:.6f}" for value in of),
                "ceiling_low": limits[0], "ceiling_high": limits[1],
            }
            for layer, of, mean in zip(layers, dots, means, strict=True)
        ]  # fmt: skip
    axes.set_ylabel(label)
    title = "dots: networks" if ceiling is None else "dots: networks; grey band: noise ceiling"
    figure.legend(title=title, loc="outside upper center", ncols=columns, title_fontsize=6)
    return figure, rows
