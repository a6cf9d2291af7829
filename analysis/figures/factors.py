"""Shares of variance that factors explain, by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from orthotrace.analysis.figures.facets import Facets
from orthotrace.analysis.figures.layers import all_layers, draw_method, over_layers
from orthotrace.analysis.figures.lines import errors, within
from orthotrace.analysis.figures.style import Drawn, figure_function
from orthotrace.analysis.figures.text import shown
from orthotrace.analysis.studies.factors import RESIDUAL, FactorShare

if TYPE_CHECKING:
    from orthotrace.analysis.figures.scores import Drawings


@figure_function
def shares_by_layer(
    found: Mapping[str, Mapping[str, FactorShare]], label: str = "Share of the variance between RDMs"
) -> Drawn:
    """The share of the variance that each factor explains at each layer, with its interval as a bar.

    Args:
        found: factor, and "residual" -> layer -> what it explains; a layer that is lacking is left blank.
        label: of the values.
    """
    layers, facets = all_layers(found), Facets.one(found)
    figure, (axes,) = over_layers(layers, groups=len(found))
    rows: list[dict[str, Any]] = []
    for place, (factor, of) in enumerate(found.items()):
        look = facets.look(factor)
        means = [of[layer].share if layer in of else np.nan for layer in layers]
        x = draw_method(axes, place, len(found), [()] * len(layers), means, look)
        ends = [
            (within(of[layer].low, (0, 1)), within(of[layer].high, (0, 1))) if layer in of else (None, None)
            for layer in layers
        ]
        errors(axes, x, means, ends, look)
        rows += [
            {
                "factor": factor, "layer": layer, "levels": one.levels, "share": one.share, "low": one.low,
                "high": one.high, "variance": one.variance, "networks": one.networks,
            }
            for layer, one in of.items()
        ]  # fmt: skip
    axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel(shown(label))
    facets.legend(figure, found)
    return figure, rows


def drawings_of_shares(shares: Sequence[FactorShare]) -> Drawings:
    """Of the last task, or of all where it is a factor; nothing where there are none."""
    if not shares:
        return {}
    last = max((one.task for one in shares if one.task is not None), default=None)
    own = [one for one in shares if one.task == last]
    found: dict[str, dict[str, FactorShare]] = {}
    for one in own:
        found.setdefault(one.factor, {})[one.layer] = one
    levels = {one.factor: one.levels for one in own if one.factor != RESIDUAL}
    counts = sorted({one.networks for one in own})
    after = "" if last is None else f" after task {last}"
    return {
        "factors": (
            f"Shares of the variance between the RDMs of {' to '.join(map(str, counts[:: len(counts) - 1 or 1]))} "
            f"networks{after} that factors explain (levels: "
            f"{', '.join(f'{name} {count}' for name, count in levels.items())}): a linear mixed model of RDMs of mean "
            f"0 and variance 1, by restricted maximum likelihood. {RESIDUAL.capitalize()}: what no factor explains. "
            f"{bars_of(own)}",
            lambda: shares_by_layer(found),
        )
    }


def bars_of(shares: Sequence[FactorShare]) -> str:
    """What is said of the intervals, in words."""
    resampled = list(dict.fromkeys(name for one in shares for name in one.resampled))
    if not resampled:
        return "No interval: no factor has three levels of which each can be left out."
    level = 100 * shares[0].level
    return f"Bars are {level:g} % intervals by a jackknife over the levels of {', '.join(resampled)}."
