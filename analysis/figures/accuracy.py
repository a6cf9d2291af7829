"""Accuracy over a sequence of tasks, with its spread over seeds."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from orthotrace.analysis.figures.facets import Facets
from orthotrace.analysis.figures.lines import dodged, pairs_of_panels
from orthotrace.analysis.figures.style import Drawn, figure_function, pt
from orthotrace.results.columns import WORDS

Matrices = Mapping[str, Sequence[NDArray[np.float64]]]
# More tasks than these have a marker and a bar at some of them only.
MARKED = 20


@figure_function
def accuracy_over_tasks(matrices: Matrices, facets: Facets | None = None, score: str = "accuracy") -> Drawn:
    """Mean accuracy on the tasks so far, and accuracy on the first task, after each task; or another score.

    Lines are means over seeds, bars their standard deviation (of the sample), of method -> the accuracy matrix (T, T)
    of each seed. Facets have a line of panels each.
    """
    word = WORDS[score]
    curves = {
        f"Mean {word} on\ntasks so far": lambda matrix: [row[: i + 1].mean() for i, row in enumerate(matrix)],
        f"{word.capitalize()} on\nthe first task": lambda matrix: matrix[:, 0],
    }
    facets = facets or Facets.one(matrices)
    shown = facets.within(matrices)
    figure, panels = pairs_of_panels(shown, list(curves))
    rows = []
    for line, (facet, of) in enumerate(shown.items()):
        for axes, (title, curve) in zip(panels[line], curves.items(), strict=True):
            for place, (method, name) in enumerate(of.items()):
                values = np.array([curve(matrix) for matrix in matrices[method]])
                tasks = np.arange(1, values.shape[1] + 1)
                mean = values.mean(axis=0)
                spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(mean)
                look, every = facets.look(name), max(1, len(tasks) // MARKED)
                # Side by side, so that equal curves do not hide each other.
                x = tasks + dodged(place, len(of), 0.06)
                if len(values) > 1:
                    axes.errorbar(
                        x,
                        mean,
                        spread,
                        fmt="none",
                        ecolor=look["color"],
                        elinewidth=pt(0.7),
                        alpha=0.7,
                        errorevery=every,
                    )
                axes.plot(x, mean, markevery=every, **look)
                rows += [
                    {
                        "panel": title.replace("\n", " "), "facet": facet, "method": method, "task": int(task),
                        "mean": m, "sd": s, "seeds": len(values),
                    }
                    for task, m, s in zip(tasks, mean.tolist(), spread.tolist(), strict=True)
                ]  # fmt: skip
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    # R^2 has no lower end.
    lowest = min(0.0, *(row["mean"] - row["sd"] for row in rows)) if score == "r2" else 0.0
    plt.setp(panels.flat, ylim=(1.05 * lowest - 0.02, 1.04))
    for axes in panels[-1]:
        axes.set_xlabel("Tasks learned")
    facets.legend(figure, matrices)
    return figure, rows
