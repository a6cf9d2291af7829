"""A value of every network at every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from orthotrace.analysis.figures.style import COLOURS, DOUBLE, MARKERS, SINGLE
from orthotrace.analysis.inference.ceilings import Ceiling


def over_layers(layers: Sequence[str], labels: Sequence[str]) -> tuple[Figure, Axes, int]:
    """A figure with the layers along it, and how many columns its legend has room for.

    Args:
        layers: in order.
        labels: of the legend.
    """
    width = min(max(SINGLE, 0.5 * len(layers) + 1.5), DOUBLE)
    columns = max(1, min(len(labels), int(width * 14 / (6 + max(map(len, labels))))))
    # Names that would run into each other are turned.
    turned = max(map(len, layers)) * len(layers) > 16 * width
    height = 2.4 + 0.11 * -(-len(labels) // columns) + (0.05 * max(map(len, layers)) if turned else 0)
    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    axes.set_xticks(range(len(layers)), layers, rotation=90 if turned else 0)
    axes.set_xlim(-0.4, len(layers) - 0.6)
    return figure, axes, columns


def places(layers: int, method: int, methods: int) -> NDArray[np.float64]:
    """Where a method stands at each layer: side by side, so that dots do not hide each other."""
    return np.arange(layers, dtype=np.float64) + min(0.09, 0.5 / methods) * (method - (methods - 1) / 2)


def values_by_layer(
    values: Mapping[str, Mapping[str, Sequence[float]]], label: str, ceiling: Ceiling | None = None
) -> tuple[Figure, list[dict[str, Any]]]:
    """Mean over networks at each layer, every network a dot; the noise ceiling as a band.

    Args:
        values: method -> layer -> of each network.
        label: of the values.
        ceiling: where there is one.

    Returns:
        The figure, and the numbers in it.
    """
    layers = list(next(iter(values.values())))
    figure, axes, columns = over_layers(layers, list(values))
    rows: list[dict[str, Any]] = []
    if ceiling is not None:
        axes.axhspan(ceiling.lower, ceiling.upper, color="0.85", linewidth=0, zorder=0)
    axes.axhline(0, color="0.6", linewidth=0.5, zorder=0)
    for place, (method, by_layer) in enumerate(values.items()):
        colour = COLOURS[place % len(COLOURS)]
        x = places(len(layers), place, len(values))
        for at, layer in zip(x, layers, strict=True):
            axes.plot([at] * len(by_layer[layer]), by_layer[layer], ".", color=colour, markersize=2.5, alpha=0.6)
        means = [float(np.mean(by_layer[layer])) for layer in layers]
        axes.plot(x, means, MARKERS[place % len(MARKERS)] + "-", color=colour, label=method)
        rows += [
            {
                "method": method,
                "layer": layer,
                "mean": mean,
                "networks": len(by_layer[layer]),
                "values": " ".join(f"{value:.6f}" for value in by_layer[layer]),
                "ceiling_low": None if ceiling is None else ceiling.lower,
                "ceiling_high": None if ceiling is None else ceiling.upper,
            }
            for layer, mean in zip(layers, means, strict=True)
        ]
    axes.set_ylabel(label)
    title = "dots: networks" if ceiling is None else "dots: networks; grey band: noise ceiling"
    figure.legend(title=title, loc="outside upper center", ncols=columns, title_fontsize=6)
    return figure, rows
