"""Representational consistency by layer."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from orthotrace.analysis.figures.facets import Facets
from orthotrace.analysis.figures.layers import all_layers, draw_method, label_panels, over_layers
from orthotrace.analysis.figures.lines import errors, within
from orthotrace.analysis.figures.style import Drawn, figure_function
from orthotrace.analysis.studies.consistency import PairMean

NAMES = {
    "bootstrap": "{level:g} % intervals by a bootstrap over networks{stimuli}",
    "jackknife": "{level:g} % intervals by a jackknife over networks{stimuli}",
}
CONSISTENCY = "Representational consistency (r²)"
Results = Mapping[str, Mapping[str, PairMean]]


@figure_function
def consistency_by_layer(
    results: Results,
    label: str = CONSISTENCY,
    bounds: tuple[float, float] | None = (0, 1),
    facets: Facets | None = None,
) -> Drawn:
    """Mean over pairs of networks at each layer, with every pair as a dot, and the interval as a bar.

    What the bars are is said by marks; below five networks it is a jackknife.

    Args:
        results: method -> layer -> mean over pairs; a layer that a method lacks is left blank.
        label: of the values.
        bounds: of the values; None where they have none.
        facets: a panel each.
    """
    layers = all_layers(results)
    facets = facets or Facets.one(results)
    shown = facets.within(results)
    figure, panels = over_layers(layers, list(shown), max(map(len, shown.values())))
    rows: list[dict[str, Any]] = []
    for axes, of in zip(panels, shown.values(), strict=True):
        for place, (method, name) in enumerate(of.items()):
            found = {layer: results[method][layer] for layer in layers if layer in results[method]}
            means, look = [found[layer].mean if layer in found else np.nan for layer in layers], facets.look(name)
            pairs = [found[layer].pairs if layer in found else () for layer in layers]
            x = draw_method(axes, place, len(of), pairs, means, look)
            intervals = [(found[layer].low, found[layer].high) if layer in found else (None, None) for layer in layers]
            ends = [(within(low, bounds), within(high, bounds)) for low, high in intervals]
            errors(axes, x, means, ends, look)
            rows += [
                {
                    "method": method, "layer": layer, "networks": one.networks, "mean": one.mean, "low": one.low,
                    "high": one.high, "interval": one.interval,
                    "pairs": " ".join(f"{value:.6f}" for value in one.pairs),
                }
                for layer, one in found.items()
            ]  # fmt: skip
    if bounds is not None:
        panels[0].set_ylim(bounds[0], bounds[1] + 0.02)
    label_panels(figure, panels, label)
    facets.legend(figure, results)
    return figure, rows


def marks(results: Results) -> str:
    """What the marks of the figure are, in words: of which intervals, and of how many networks.

    Example:
        >>> from orthotrace.analysis.studies.consistency import pair_mean
        >>> print(marks({"gpm": {"relu1": pair_mean([[1, 0.5], [0.5, 1]])}}))
        Dots are pairs of networks, markers their means. Networks: gpm 2. With two there is one pair, no interval.
    """
    found = [one for by_layer in results.values() for one in by_layer.values()]
    kinds = [
        NAMES[one.interval].format(level=100 * one.level, stimuli=" and stimuli" if one.stimuli else "")
        for one in found
        if one.interval in NAMES
    ]
    bars = f", bars {' or '.join(dict.fromkeys(kinds))}" if kinds else ""
    counts = {method: _networks(by_layer) for method, by_layer in results.items()}
    number = (
        f"{next(iter(counts.values()))} networks of each group"
        if len(set(counts.values())) == 1 and len(counts) > 1
        else f"Networks: {', '.join(f'{method} {count}' for method, count in counts.items())}"
    )
    alone = " With two there is one pair, no interval." if len(kinds) < len(found) else ""
    return f"Dots are pairs of networks, markers their means{bars}. {number}.{alone}"


def _networks(by_layer: Mapping[str, PairMean]) -> str:
    """How many networks, of the layers with fewest to those with most."""
    counts = [one.networks for one in by_layer.values()]
    return f"{max(counts)}" if min(counts) == max(counts) else f"{min(counts)}–{max(counts)} by layer"
