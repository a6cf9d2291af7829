"""Representational consistency by layer."""

from collections.abc import Mapping
from typing import Any

from orthotrace.analysis.figures.facets import Facets
from orthotrace.analysis.figures.layers import draw_method, label_panels, over_layers
from orthotrace.analysis.figures.lines import errors, within
from orthotrace.analysis.figures.style import Drawn
from orthotrace.analysis.studies.consistency import PairMean

NAMES = {
    "bootstrap": "{level:g} % intervals by a bootstrap over networks{stimuli}",
    "jackknife": "{level:g} % intervals by a jackknife over networks{stimuli}",
}
CONSISTENCY = "Representational consistency (r²)"
Results = Mapping[str, Mapping[str, PairMean]]


def consistency_by_layer(
    results: Results,
    label: str = CONSISTENCY,
    bounds: tuple[float, float] | None = (0, 1),
    facets: Facets | None = None,
) -> Drawn:
    """Mean over pairs of networks at each layer, with every pair as a dot, and the interval as a bar.

    What the bars are is said by marks; below five networks it is a jackknife.

    Args:
        results: method -> layer -> mean over pairs.
        label: of the values.
        bounds: of the values; None where they have none.
        facets: a panel each.
    """
    layers = list(next(iter(results.values())))
    facets = facets or Facets.one(results)
    shown = facets.within(results)
    figure, panels = over_layers(layers, list(shown), max(map(len, shown.values())))
    rows: list[dict[str, Any]] = []
    for axes, of in zip(panels, shown.values(), strict=True):
        for place, (method, name) in enumerate(of.items()):
            found = [results[method][layer] for layer in layers]
            means, look = [one.mean for one in found], facets.look(name)
            x = draw_method(axes, place, len(of), [one.pairs for one in found], means, look)
            ends = [(within(one.low, bounds), within(one.high, bounds)) for one in found]
            errors(axes, x, means, ends, look)
            rows += [
                {
                    "method": method, "layer": layer, "networks": one.networks, "mean": one.mean, "low": one.low,
                    "high": one.high, "interval": one.interval,
                    "pairs": " ".join(f"{value:.6f}" for value in one.pairs),
                }
                for layer, one in zip(layers, found, strict=True)
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
    found = {method: next(iter(by_layer.values())) for method, by_layer in results.items()}
    kinds = [
        NAMES[one.interval].format(level=100 * one.level, stimuli=" and stimuli" if one.stimuli else "")
        for one in found.values()
        if one.interval in NAMES
    ]
    bars = f", bars {' or '.join(dict.fromkeys(kinds))}" if kinds else ""
    counts = {one.networks for one in found.values()}
    number = (
        f"{counts.pop()} networks of each group"
        if len(counts) == 1 and len(found) > 1
        else f"Networks: {', '.join(f'{method} {one.networks}' for method, one in found.items())}"
    )
    alone = " With two there is one pair, no interval." if len(kinds) < len(found) else ""
    return f"Dots are pairs of networks, markers their means{bars}. {number}.{alone}"
