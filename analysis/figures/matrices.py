"""Accuracy matrices: every task, after every task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.figures.style import DOUBLE, Drawn, grid, heat_map, write_cells

# More cells than this are too small to write in.
WRITTEN = 10


def draw_matrix(axes: Axes, matrix: ArrayLike) -> AxesImage:
    """Draw an accuracy matrix: rows are tasks learned, columns the tasks tested.

    Args:
        axes: where.
        matrix: (t, T), in [0, 1].
    """
    values = np.asarray(matrix, dtype=np.float64)
    image = heat_map(axes, values)
    axes.set(xlabel="Tested on task", ylabel="After task")
    for axis, count in ((axes.xaxis, values.shape[1]), (axes.yaxis, values.shape[0])):
        step = max(1, count // WRITTEN)
        axis.set_ticks(range(0, count, step), [str(number + 1) for number in range(0, count, step)])
    if max(values.shape) <= WRITTEN:
        texts = (f"{value:.2f}".removeprefix("0").replace("1.00", "1") for value in values.flat)
        write_cells(axes, values, texts, min(6.0, 40 / max(values.shape)))
    return image


def accuracy_matrices(matrices: Mapping[str, Sequence[NDArray[np.float64]]]) -> Drawn:
    """The mean accuracy matrix over the seeds of each method.

    Args:
        matrices: method -> the accuracy matrix (T, T) of each seed.
    """
    figure, panels = grid(len(matrices), 4, lambda lines, columns: (DOUBLE * (columns + 0.25) / 4.25, 1.75 * lines))
    rows, image = [], None
    for axes, (method, seeds) in zip(panels.flat, matrices.items(), strict=False):
        mean = np.mean(seeds, axis=0)
        image = draw_matrix(axes, mean)
        seen = "" if len(seeds) == 1 else f"{' ' if len(method) < 12 else chr(10)}(mean of {len(seeds)} seeds)"
        axes.set_title(fill(method, 26) + seen)
        rows += [
            {"method": method, "after": i + 1, "tested": j + 1, "accuracy": float(value)}
            for (i, j), value in np.ndenumerate(mean)
        ]
    if image is not None:
        figure.colorbar(image, ax=panels, label="Accuracy", fraction=0.03, shrink=0.8)
    return figure, rows
