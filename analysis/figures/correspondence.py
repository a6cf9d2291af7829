"""Which layer of one network is most similar to which layer of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from orthotrace.analysis.figures.style import Drawn, figure_function, grid, pt, size_of
from orthotrace.analysis.figures.text import filled, shown
from orthotrace.results.heat_map import heat_map, write_cells

if TYPE_CHECKING:
    from orthotrace.analysis.studies.findings import Correspondence

# Inches of a cell that has room for a number, and of a name; more names than this are thinned out.
CELL, NAME, NAMED = 0.19, 0.1, 24


@figure_function
def layer_correspondence(found: Mapping[str, Correspondence]) -> Drawn:
    """How often each layer is most similar to each layer of another network, a matrix for each method."""
    alike = len({one.layers for one in found.values()}) == 1
    longest = max(len(layer) for one in found.values() for layer in one.layers)
    names = 0 if alike else 0.05 * longest
    figure, panels = grid(len(found), 4, lambda width: min(width, 2.4) + 0.3 + names)
    rows: list[dict[str, Any]] = []
    columns = panels.shape[1]
    # Beside the panels are names of layers and the scale.
    room = min((size_of(figure)[0] - 0.6 - 0.7 * (1 if alike else columns)) / columns, 2.0)
    for number, (axes, (method, one)) in enumerate(zip(panels.flat, found.items(), strict=False)):
        values, layers = np.array(one.frequency), one.layers
        step = -(-len(layers) // min(NAMED, max(4, int(room / NAME))))
        heat_map(axes, values)
        # Where all have the same layers, the left and lowest panels name them.
        lowest, left = number + columns >= len(found) or not alike, number % columns == 0 or not alike
        axes.set_xticks(range(0, len(layers), step), list(map(shown, layers[::step])) if lowest else [], rotation=90)
        axes.set_yticks(range(0, len(layers), step), list(map(shown, layers[::step])) if left else [])
        axes.set_title(f"{filled(method, 24)}\n{one.accuracy:.0%} the same layer")
        if room / len(layers) > CELL:
            write_cells(axes, values, (f"{share:.2f}" for share in values.flat), pt(5))
        rows += [
            {"method": method, "layer": layers[i], "other": layers[j], "share": float(share)}
            for (i, j), share in np.ndenumerate(values)
        ]
    figure.supxlabel("Layer of the other network")
    figure.supylabel("Layer of one network")
    figure.colorbar(panels[0, 0].images[0], ax=panels, label="Share of pairs", fraction=0.03, shrink=0.8)
    return figure, rows
