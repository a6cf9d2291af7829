"""RDMs as heat maps, sorted by class."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from orthotrace.analysis.figures.style import DOUBLE, TALLEST, Drawn
from orthotrace.analysis.rdm.triangles import square


def rdm_maps(
    rdms: Mapping[str, Mapping[str, NDArray[np.float64]]],
    classes: Sequence[str],
    per_class: int,
    measure: str = "1 − r",
) -> Drawn:
    """A heat map for each method (row) and layer (column), with a tick for each class.

    Args:
        rdms: method -> layer -> RDM (upper triangle), its stimuli sorted by class.
        classes: names in the order of the stimuli.
        per_class: stimuli of each.
        measure: of dissimilarity, in words.

    Returns:
        The figure, and the mean dissimilarity between each pair of classes: of the stimuli themselves there would be
        too many numbers; they are in rdms/.
    """
    layers = list(next(iter(rdms.values())))
    size = min(DOUBLE / (len(layers) + 0.3), 1.75, TALLEST / len(rdms))
    inches = (size * (len(layers) + 0.45), size * len(rdms) + 0.15)
    figure, panels = plt.subplots(len(rdms), len(layers), figsize=inches, layout="compressed", squeeze=False)
    top = max(float(rdm.max()) for by_layer in rdms.values() for rdm in by_layer.values())
    middles = (np.arange(len(classes)) + 0.5) * per_class - 0.5
    rows = []
    for line, (method, by_layer) in enumerate(rdms.items()):
        for column, layer in enumerate(layers):
            axes = panels[line, column]
            matrix = square(by_layer[layer])
            axes.imshow(matrix, cmap="viridis", vmin=0, vmax=top, interpolation="nearest")
            axes.set_xticks(middles, classes if line == len(rdms) - 1 else [])
            axes.set_yticks(middles, classes if column == 0 else [])
            axes.tick_params(length=0, labelsize=5)
            axes.spines[:].set_visible(False)
            if line == 0:
                axes.set_title(layer)
            if column == 0:
                axes.set_ylabel(fill(method, 20))
            rows += _between(matrix, method, layer, classes, per_class)
    figure.colorbar(panels[0, 0].images[0], ax=panels, label=f"Dissimilarity ({measure})", fraction=0.03, shrink=0.6)
    return figure, rows


def _between(
    matrix: NDArray[np.float64], method: str, layer: str, classes: Sequence[str], per_class: int
) -> list[dict[str, Any]]:
    count = len(classes)
    blocks = matrix.reshape(count, per_class, count, per_class)
    total = blocks.sum(axis=(1, 3))
    # Within a class a stimulus is not compared with itself.
    number = np.full((count, count), per_class**2) - np.eye(count, dtype=int) * per_class
    return [
        {"method": method, "layer": layer, "class": classes[i], "other": classes[j], "mean": total[i, j] / number[i, j]}
        for i in range(count)
        for j in range(i, count)
        if number[i, j]
    ]
