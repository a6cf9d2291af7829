"""Representational consistency by layer."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from orthotrace.analysis.figures.layers import over_layers, places
from orthotrace.analysis.figures.style import COLOURS, MARKERS
from orthotrace.analysis.studies.consistency import PairMean

NAMES = {
    "bootstrap": "{level:g}% interval: bootstrap over networks",
    "jackknife": "{level:g}% interval: jackknife over networks",
    "none": "one pair: no interval",
}


CONSISTENCY = "Representational consistency (r²)"


def consistency_by_layer(
    results: Mapping[str, Mapping[str, PairMean]], label: str = CONSISTENCY, bounds: tuple[float, float] | None = (0, 1)
) -> tuple[Figure, list[dict[str, Any]]]:
    """Mean over pairs of networks at each layer, with every pair as a dot, and the interval as a band.

    The legend says what the interval is; below five networks it is a jackknife.

    Args:
        results: method -> layer -> mean over pairs.
        label: of the values.
        bounds: of the values; None where they have none.

    Returns:
        The figure, and the numbers in it.
    """
    layers = list(next(iter(results.values())))
    labels = [f"{method} ({next(iter(by_layer.values())).networks} networks)" for method, by_layer in results.items()]
    figure, axes, columns = over_layers(layers, labels)
    rows: list[dict[str, Any]] = []
    kinds = []
    for place, (method, by_layer) in enumerate(results.items()):
        colour = COLOURS[place % len(COLOURS)]
        x = places(len(layers), place, len(results))
        found = [by_layer[layer] for layer in layers]
        for at, one in zip(x, found, strict=True):
            axes.plot([at] * len(one.pairs), one.pairs, ".", color=colour, markersize=2.5, alpha=0.6)
        axes.plot(
            x,
            [one.mean for one in found],
            MARKERS[place % len(MARKERS)] + "-",
            color=colour,
            label=labels[place],
        )
        if found[0].low is not None:
            low, high = (np.array([getattr(one, end) for one in found], dtype=float) for end in ("low", "high"))
            if bounds is not None:
                low, high = np.clip(low, *bounds), np.clip(high, *bounds)
            axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        kinds.append(NAMES[found[0].interval].format(level=100 * found[0].level))
        if found[0].stimuli:
            kinds[-1] += " and stimuli"
        rows += [
            {
                "method": method,
                "layer": layer,
                "networks": one.networks,
                "mean": one.mean,
                "low": one.low,
                "high": one.high,
                "interval": one.interval,
                "pairs": " ".join(f"{value:.6f}" for value in one.pairs),
            }
            for layer, one in zip(layers, found, strict=True)
        ]
    axes.set_ylabel(label)
    if bounds is not None:
        axes.set_ylim(bounds[0], bounds[1] + 0.02)
    title = "dots: pairs of networks; " + "; ".join(dict.fromkeys(kinds))
    # So many letters fit an inch.
    title = fill(title, int(19 * figure.get_figwidth()))
    figure.set_figheight(figure.get_figheight() + 0.1 * title.count("\n"))
    figure.legend(title=title, loc="outside upper center", ncols=columns, title_fontsize=6)
    return figure, rows
