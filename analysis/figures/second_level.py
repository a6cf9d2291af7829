"""The RDMs of all networks and layers, compared with each other: a matrix of matrices."""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from orthotrace.analysis.figures.style import Drawn, canvas, figure_function, now, pt
from orthotrace.analysis.figures.text import filled, shown
from orthotrace.analysis.rdm.arrays import numbers
from orthotrace.core.errors import UserError

# Inches of a name, and of a letter in it.
NAME, LETTER = 0.085, 0.045


@figure_function
def second_level(
    similarities: ArrayLike,
    networks: Sequence[tuple[str, str]],
    layers: Sequence[str],
    label: str = "Correlation of RDMs (r)",
) -> Drawn:
    """Similarity of the RDM of every layer of every network to every other: layers in blocks, networks within them.

    Args:
        similarities: (layers x networks, layers x networks), the networks of a layer together, at most 1; NaN is grey.
        networks: group and name of each, those of a group together.
        layers: names.
        label: of the values.

    Returns:
        The figure, and the values of the upper triangle.

    Raises:
        UserError: another number of values than of networks and layers.

    Example:
        >>> figure, rows = second_level(np.eye(4), [("gpm", "seed 0"), ("gpm", "seed 1")], ["relu1", "head"])
        >>> len(rows), rows[0]["layer"], rows[0]["other_network"]
        (6, 'relu1', 'seed 1')
    """
    values, count = numbers(similarities, "similarities", missing=True), len(networks)
    total = count * len(layers)
    if values.shape != (total, total):
        raise UserError(f"{count} networks of {len(layers)} layers: ({total}, {total}) is needed, got {values.shape}")
    wide = now().single if total * 0.03 <= now().single - 1 else now().double
    side = min(wide - 1.1, now().tall - 0.6)
    figure = canvas(wide, side + 0.35)
    axes = figure.subplots()
    low = min(0.0, float(np.nanmin(values)))
    axes.set_facecolor("0.8")
    # The figure is so high that cells are nearly square.
    image = axes.imshow(values, vmin=low, vmax=1, cmap="viridis", interpolation="nearest", aspect="auto")
    axes.spines[:].set_visible(False)
    middles = (np.arange(len(layers)) + 0.5) * count - 0.5
    room = side / len(layers)
    every = max(1, int(np.ceil(NAME / room)))
    turned = max(map(len, layers)) * LETTER > room
    names = [filled(layer, 24) for layer in layers]
    axes.set_xticks(middles[::every], names[::every], rotation=90 if turned else 0)
    axes.set_yticks(middles[::every], names[::every])
    axes.tick_params(length=0)
    groups = [group for group, _ in networks]
    for edge in range(1, total):
        if edge % count == 0:
            width = 1.0
        elif groups[edge % count] != groups[edge % count - 1] and side / total > 0.02:
            width = 0.4
        else:
            continue
        for line in (axes.axhline, axes.axvline):
            line(edge - 0.5, color="white", linewidth=pt(width))
    figure.colorbar(image, ax=axes, label=shown(label), fraction=0.04, shrink=0.8)
    rows = [
        {
            "layer": layers[i // count], "method": groups[i % count], "network": networks[i % count][1],
            "other_layer": layers[j // count], "other_method": groups[j % count],
            "other_network": networks[j % count][1], "value": None if np.isnan(values[i, j]) else float(values[i, j]),
        }
        for i, j in itertools.combinations(range(total), 2)
    ]  # fmt: skip
    return figure, rows
