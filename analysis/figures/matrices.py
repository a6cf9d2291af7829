"""Accuracy matrices: every task, after every task."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from orthotrace.analysis.figures.style import Drawn, figure_function, grid, pt
from orthotrace.analysis.figures.text import filled
from orthotrace.results.columns import WORDS
from orthotrace.results.heat_map import draw_matrix


@figure_function
def accuracy_matrices(
    matrices: Mapping[str, Sequence[NDArray[np.float64]]],
    blank: Mapping[str, NDArray[np.bool_]] | None = None,
    score: str = "accuracy",
) -> Drawn:
    """The mean accuracy matrix of each method.

    Args:
        matrices: method -> the accuracy matrix (T, T) of each seed.
        blank: method -> cells that are left blank, see heat_map.untaught; None for none.
        score: what they are of, see columns.WORDS; colours end at 0, below which numbers say more.
    """
    figure, panels = grid(len(matrices), 4, lambda width: min(width, 2.2) + 0.25)
    rows = []
    differ = len({len(seeds) for seeds in matrices.values()}) > 1
    for number, (axes, (method, seeds)) in enumerate(zip(panels.flat, matrices.items(), strict=False)):
        mean = np.mean(seeds, axis=0)
        hidden = np.zeros(mean.shape, dtype=bool) if blank is None else blank[method]
        draw_matrix(axes, mean, hidden, pt(6))
        axes.set_title(filled(method, 22) + (f"\n({len(seeds)} seed{'s' * (len(seeds) > 1)})" if differ else ""))
        # Where all have as many tasks, the left and lowest panels say them.
        if number % panels.shape[1]:
            axes.set_ylabel("")
        if number + panels.shape[1] < len(matrices):
            axes.set_xlabel("")
        rows += [
            {"method": method, "after": i + 1, "tested": j + 1, score: None if hidden[i, j] else float(value)}
            for (i, j), value in np.ndenumerate(mean)
        ]
    label, end = WORDS[score].capitalize(), "min" if score == "r2" else "neither"
    figure.colorbar(panels[0, 0].images[0], ax=panels, label=label, fraction=0.03, shrink=0.8, extend=end)
    return figure, rows
