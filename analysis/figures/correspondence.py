"""Which layer of one network is most similar to which layer of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from orthotrace.analysis.figures.style import DOUBLE, Drawn, grid
from orthotrace.results.heat_map import heat_map, write_cells

if TYPE_CHECKING:
    from orthotrace.analysis.studies.findings import Correspondence

# More layers than this are too many to write numbers in.
WRITTEN = 10


def layer_correspondence(found: Mapping[str, Correspondence], layers: Sequence[str]) -> Drawn:
    """How often each layer is most similar to each layer of another network, a matrix for each method."""
    side = DOUBLE / 3.35
    figure, panels = grid(len(found), 3, lambda lines, columns: (side * (columns + 0.35), side * lines))
    rows: list[dict[str, Any]] = []
    for axes, (method, one) in zip(panels.flat, found.items(), strict=False):
        values = np.array(one.frequency)
        heat_map(axes, values)
        axes.set_xticks(range(len(layers)), layers, rotation=90)
        axes.set_yticks(range(len(layers)), layers)
        axes.set(xlabel="Layer of the other network", title=fill(f"{method}: {one.accuracy:.0%} the same layer", 34))
        if len(layers) <= WRITTEN:
            write_cells(axes, values, (f"{share:.2f}" for share in values.flat), 5)
        rows += [
            {"method": method, "layer": layers[i], "other": layers[j], "share": float(share)}
            for (i, j), share in np.ndenumerate(values)
        ]
    panels[0, 0].set_ylabel("Layer of one network")
    figure.colorbar(panels[0, 0].images[0], ax=panels, label="Share of pairs", fraction=0.03, shrink=0.8)
    return figure, rows
