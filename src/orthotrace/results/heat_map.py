"""Heat maps of values in [0, 1], such as an accuracy matrix."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike, NDArray

# More cells than this are too small to write in.
WRITTEN = 10


def heat_map(axes: Axes, values: NDArray[np.float64], **options: Any) -> AxesImage:
    """Values in [0, 1] as colours, without a frame."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return axes.imshow(values, vmin=0, vmax=1, cmap="viridis", **options)


def write_cells(axes: Axes, values: NDArray[np.float64], texts: Iterable[str], size: float) -> None:
    """Write a text in each cell of a heat map, row by row: black where the value is above 0.6, which is light.

    A cell without a number is left blank.
    """
    for ((row, column), value), text in zip(np.ndenumerate(values), texts, strict=True):
        if not np.isnan(value):
            axes.text(column, row, text, ha="center", va="center", size=size, color="black" if value > 0.6 else "white")


def untaught(tasks: int, scenario: str, repeats: int = 1, blur: float = 0.0) -> NDArray[np.bool_]:
    """Which cells of an accuracy matrix are of a task whose outputs were not taught yet, (T, T).

    Their accuracy says nothing: it is 0 where later classes cannot be chosen, and unknown where a head is untrained, in
    runs of earlier versions chance. In the domain-incremental scenario all tasks share their outputs; where boundaries
    are blurred, images of later tasks come early; a task that comes again was taught before.

    Args:
        tasks: T, repeats included.
        scenario: task, domain or class.
        repeats: times that the sequence comes.
        blur: share of the images that trade places with those of other tasks.

    Example:
        >>> untaught(2, "class").tolist(), untaught(2, "domain").any(), untaught(2, "class", repeats=2).any()
        ([[False, True], [False, False]], np.False_, np.False_)
    """
    after, tested = np.indices((tasks, tasks))
    return (tested % max(1, tasks // repeats) > after) & (scenario != "domain") & (blur == 0)


def draw_matrix(axes: Axes, matrix: ArrayLike, blank: NDArray[np.bool_] | None = None, size: float = 6.0) -> AxesImage:
    """Draw an accuracy matrix: rows are tasks learned, columns the tasks tested.

    Args:
        axes: where.
        matrix: (t, T), in [0, 1].
        blank: cells that are left blank, see untaught; None for none.
        size: of the numbers in cells, in points; smaller where there are many.
    """
    values = np.asarray(matrix, dtype=np.float64)
    if blank is not None:
        values = np.where(blank[: len(values)], np.nan, values)
    image = heat_map(axes, values)
    axes.set(xlabel="Tested on task", ylabel="After task")
    for axis, count in ((axes.xaxis, values.shape[1]), (axes.yaxis, values.shape[0])):
        step = max(1, count // WRITTEN)
        axis.set_ticks(range(0, count, step), [str(number + 1) for number in range(0, count, step)])
    if max(values.shape) <= WRITTEN:
        texts = (f"{value:.2f}".removeprefix("0").replace("1.00", "1") for value in values.flat)
        write_cells(axes, values, texts, min(size, size / 6 * 40 / max(values.shape)))
    return image
