"""Similarity of every layer of one network to every layer of another."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize
from numpy.typing import ArrayLike

from orthotrace.analysis.figures.style import Drawn, figure_function, grid, pt, size_of
from orthotrace.analysis.figures.text import filled, shown
from orthotrace.analysis.rdm.arrays import numbers
from orthotrace.core.errors import UserError

# Inches of a cell that has room for a number, and of a name; more names than this are thinned out.
CELL, NAME, NAMED = 0.21, 0.1, 24


@figure_function
def layer_by_layer(
    found: Mapping[str, tuple[ArrayLike, Sequence[str], Sequence[str]]],
    label: str = "Correlation of RDMs (r)",
    networks: tuple[str, str] = ("one network", "the other network"),
    most: float = 1.0,
) -> Drawn:
    """A matrix of similarities for each pair of networks, or group of them: rows are layers of one, the first lowest.

    Args:
        found: title -> similarities (rows, columns), names of the rows, names of the columns.
        label: of the values.
        networks: what the rows and the columns are layers of.
        most: what the values can be at most: the upper end of the colours.

    Raises:
        UserError: another number of names than of rows or columns.

    Example:
        >>> figure, rows = layer_by_layer({"a and b": ([[0.9, 0.1, 0.2]], ["relu1"], ["conv1", "conv2", "head"])})
        >>> rows[2]
        {'title': 'a and b', 'layer': 'relu1', 'other': 'head', 'value': 0.2}
    """
    matrices = {title: numbers(values, "similarities", missing=True) for title, (values, _, _) in found.items()}
    for title, (_, own, other) in found.items():
        if matrices[title].shape != (len(own), len(other)):
            raise UserError(f"{title}: ({len(own)}, {len(other)}) similarities are needed, got {matrices[title].shape}")
    longest = max(len(layer) for _, _, other in found.values() for layer in other)
    tallest = max(values.shape[0] / values.shape[1] for values in matrices.values())
    alike = len({(tuple(own), tuple(other)) for _, own, other in found.values()}) == 1
    names = 0.05 * longest
    figure, panels = grid(
        len(found), 4, lambda width: max(1.5, min(1.6, tallest) * min(width - 0.5, 2.2)) + 0.4 + (0 if alike else names)
    )
    low = min(0.0, *(float(np.nanmin(values)) for values in matrices.values()))
    norm, colours = Normalize(low, most), colormaps["viridis"].with_extremes(bad="0.85")
    rows: list[dict[str, Any]] = []
    columns = panels.shape[1]
    room = (size_of(figure)[0] - 0.9 - 0.5 * (1 if alike else columns)) / columns
    named = min(NAMED, max(4, int(room / NAME)))
    for number, (axes, (title, (_, own, other))) in enumerate(zip(panels.flat, found.items(), strict=False)):
        values = matrices[title]
        axes.imshow(values, norm=norm, cmap=colours, interpolation="nearest", origin="lower")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        lowest, left = number + columns >= len(found) or not alike, number % columns == 0 or not alike
        along, up = (-(-len(layers) // named) for layers in (other, own))
        axes.set_xticks(range(0, len(other), along), map(shown, other[::along]) if lowest else [], rotation=90)
        axes.set_yticks(range(0, len(own), up), map(shown, own[::up]) if left else [])
        axes.set_title(filled(title, 24))
        for (i, j), value in np.ndenumerate(values):
            rows.append({"title": title, "layer": own[i], "other": other[j], "value": float(value)})
            if room / max(values.shape) > CELL and np.isfinite(value):
                dark, text = norm(value) < 0.6, f"{value:.2f}".replace("-", "−")
                axes.text(j, i, text, ha="center", va="center", size=pt(5), color="white" if dark else "black")
    figure.supxlabel(shown(f"Layer of {networks[1]}"))
    figure.supylabel(shown(f"Layer of {networks[0]}"))
    figure.colorbar(panels[0, 0].images[0], ax=panels, label=shown(label), fraction=0.03, shrink=0.8)
    return figure, rows
