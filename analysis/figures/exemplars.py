"""Do networks agree on single images, or on classes alone?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from orthotrace.analysis.figures.consistency import CONSISTENCY
from orthotrace.analysis.figures.facets import legend_above
from orthotrace.analysis.figures.layers import all_layers, draw_method, label_panels, over_layers
from orthotrace.analysis.figures.lines import errors, within
from orthotrace.analysis.figures.style import Drawn, figure_function, look
from orthotrace.analysis.studies.consistency import PairMean

KINDS = {"exemplars": "all images", "centroids": "means of classes"}


@figure_function
def exemplar_against_centroid(
    exemplars: Mapping[str, Mapping[str, PairMean]], centroids: Mapping[str, Mapping[str, PairMean]]
) -> Drawn:
    """Consistency of the RDMs of all images, and of those of the means of classes, a panel for each group.

    Dots are pairs of networks, markers their means, bars intervals.

    Args:
        exemplars: group -> layer -> mean over pairs.
        centroids: the same of the RDMs of mean activations; a group that lacks one of the two has the other alone.
    """
    groups = list(dict.fromkeys([*exemplars, *centroids]))
    parts = dict(zip(KINDS, (exemplars, centroids), strict=True))
    layers = all_layers({f"{kind} {group}": of[group] for kind, of in parts.items() for group in of})
    figure, panels = over_layers(layers, groups if len(groups) > 1 else [""], len(KINDS))
    rows: list[dict[str, Any]] = []
    for axes, group in zip(panels, groups, strict=True):
        for place, (kind, of) in enumerate(parts.items()):
            found = of.get(group, {})
            means = [found[layer].mean if layer in found else np.nan for layer in layers]
            pairs = [found[layer].pairs if layer in found else () for layer in layers]
            x = draw_method(axes, place, len(KINDS), pairs, means, look(place))
            ends = [
                (within(found[layer].low, (0, 1)), within(found[layer].high, (0, 1)))
                if layer in found
                else (None, None)
                for layer in layers
            ]
            errors(axes, x, means, ends, look(place))
            rows += [
                {
                    "method": group, "of": kind, "layer": layer, "networks": one.networks, "mean": one.mean,
                    "low": one.low, "high": one.high, "interval": one.interval,
                    "pairs": " ".join(f"{value:.6f}" for value in one.pairs),
                }
                for layer, one in found.items()
            ]  # fmt: skip
    panels[0].set_ylim(0, 1.02)
    label_panels(figure, panels, CONSISTENCY)
    legend_above(figure, [Line2D([], [], label=name, **look(place)) for place, name in enumerate(KINDS.values())])
    return figure, rows
