"""Which layer of one network is most like which of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from orthotrace.analysis.figures.style import DOUBLE

if TYPE_CHECKING:
    from orthotrace.analysis.studies.findings import Correspondence

# More layers than this are too many to write numbers in.
WRITTEN = 10


def layer_correspondence(
    found: Mapping[str, Correspondence], layers: Sequence[str]
) -> tuple[Figure, list[dict[str, Any]]]:
    """How often each layer is most like each layer of another network, a matrix for each method.

    Args:
        found: method -> correspondence.
        layers: in order.

    Returns:
        The figure, and the numbers in it.
    """
    columns = min(len(found), 3)
    lines = -(-len(found) // columns)
    side = DOUBLE / 3.35
    figure, panels = plt.subplots(
        lines, columns, figsize=(side * (columns + 0.35), side * lines), layout="constrained", squeeze=False
    )
    for axes in panels.flat:
        axes.set_visible(False)
    rows: list[dict[str, Any]] = []
    image = None
    for axes, (method, one) in zip(panels.flat, found.items(), strict=False):
        axes.set_visible(True)
        values = np.array(one.frequency)
        image = axes.imshow(values, vmin=0, vmax=1, cmap="viridis")
        axes.set_xticks(range(len(layers)), layers, rotation=90)
        axes.set_yticks(range(len(layers)), layers)
        axes.set(xlabel="Layer of the other network", title=fill(f"{method}: {one.accuracy:.0%} the same layer", 34))
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        for (row, column), share in np.ndenumerate(values):
            rows.append({"method": method, "layer": layers[row], "other": layers[column], "share": float(share)})
            if len(layers) <= WRITTEN:
                colour = "black" if share > 0.6 else "white"
                axes.text(column, row, f"{share:.2f}", ha="center", va="center", size=5, color=colour)
    panels[0, 0].set_ylabel("Layer of one network")
    if image is not None:
        figure.colorbar(image, ax=panels, label="Share of pairs", fraction=0.03, shrink=0.8)
    return figure, rows
