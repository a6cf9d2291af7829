"""Representational consistency by layer."""

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import numpy as np

from orthotrace.analysis.figures.layers import draw_method, over_layers
from orthotrace.analysis.figures.style import COLOURS, Drawn
from orthotrace.analysis.studies.consistency import PairMean

NAMES = {
    "bootstrap": "{level:g}% interval: bootstrap over networks",
    "jackknife": "{level:g}% interval: jackknife over networks",
    "none": "one pair: no interval",
}


CONSISTENCY = "Representational consistency (r²)"


def consistency_by_layer(
    results: Mapping[str, Mapping[str, PairMean]], label: str = CONSISTENCY, bounds: tuple[float, float] | None = (0, 1)
) -> Drawn:
    """Mean over pairs of networks at each layer, with every pair as a dot, and the interval as a band.

    The legend says what the interval is; below five networks it is a jackknife.

    Args:
        results: method -> layer -> mean over pairs.
        label: of the values.
        bounds: of the values; None where they have none.
    """
    layers = list(next(iter(results.values())))
    labels = [f"{method} ({next(iter(by_layer.values())).networks} networks)" for method, by_layer in results.items()]
    figure, axes, columns = over_layers(layers, labels)
    rows: list[dict[str, Any]] = []
    kinds = []
    for place, (method, by_layer) in enumerate(results.items()):
        found = [by_layer[layer] for layer in layers]
        means = [one.mean for one in found]
        x = draw_method(axes, place, len(results), [one.pairs for one in found], means, labels[place])
        if found[0].low is not None:
            low, high = (np.array([getattr(one, end) for one in found], dtype=float) for end in ("low", "high"))
            if bounds is not None:
                low, high = np.clip(low, *bounds), np.clip(high, *bounds)
            axes.fill_between(x, low, high, color=COLOURS[place % len(COLOURS)], alpha=0.18, linewidth=0)
        kinds.append(NAMES[found[0].interval].format(level=100 * found[0].level))
        if found[0].stimuli:
            kinds[-1] += " and stimuli"
        rows += [
            {
                "method": method, "layer": layer, "networks": one.networks, "mean": one.mean, "low": one.low,
                "high": one.high, "interval": one.interval, "pairs": " ".join(f"{value:.6f}" for value in one.pairs),
            }
            for layer, one in zip(layers, found, strict=True)
        ]  # fmt: skip
    axes.set_ylabel(label)
    if bounds is not None:
        axes.set_ylim(bounds[0], bounds[1] + 0.02)
    title = "dots: pairs of networks; " + "; ".join(dict.fromkeys(kinds))
    # So many letters fit an inch.
    title = fill(title, int(19 * figure.get_figwidth()))
    figure.set_figheight(figure.get_figheight() + 0.1 * title.count("\n"))
    figure.legend(title=title, loc="outside upper center", ncols=columns, title_fontsize=6)
    return figure, rows
