"""Accuracy matrices: every task, after every task."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from numpy.typing import NDArray

from orthotrace.analysis.figures.style import DOUBLE, Drawn, grid
from orthotrace.results.heat_map import draw_matrix


def accuracy_matrices(matrices: Mapping[str, Sequence[NDArray[np.float64]]]) -> Drawn:
    """The mean accuracy matrix of each method, of method -> the accuracy matrix (T, T) of each seed."""
    figure, panels = grid(len(matrices), 4, lambda lines, columns: (DOUBLE * (columns + 0.25) / 4.25, 1.75 * lines))
    rows = []
    for axes, (method, seeds) in zip(panels.flat, matrices.items(), strict=False):
        mean = np.mean(seeds, axis=0)
        draw_matrix(axes, mean)
        seen = "" if len(seeds) == 1 else f"{' ' if len(method) < 12 else chr(10)}(mean of {len(seeds)} seeds)"
        axes.set_title(fill(method, 26) + seen)
        rows += [
            {"method": method, "after": i + 1, "tested": j + 1, "accuracy": float(value)}
            for (i, j), value in np.ndenumerate(mean)
        ]
    figure.colorbar(panels[0, 0].images[0], ax=panels, label="Accuracy", fraction=0.03, shrink=0.8)
    return figure, rows
