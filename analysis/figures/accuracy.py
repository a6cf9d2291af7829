"""Accuracy over a sequence of tasks, with bands over seeds."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from orthotrace.analysis.figures.style import COLOURS, DOUBLE, MARKERS, Drawn, letter

Matrices = Mapping[str, Sequence[NDArray[np.float64]]]


def accuracy_over_tasks(matrices: Matrices) -> Drawn:
    """Mean accuracy on the tasks so far, and accuracy on the first task, after each task.

    Lines are means over seeds, bands their standard deviation (of the sample), of method -> the accuracy matrix (T, T)
    of each seed.
    """
    curves = {
        "Mean accuracy on tasks so far": lambda matrix: [row[: i + 1].mean() for i, row in enumerate(matrix)],
        "Accuracy on the first task": lambda matrix: matrix[:, 0],
    }
    figure, panels = plt.subplots(1, 2, figsize=(DOUBLE, 2.2), layout="constrained", sharey=True)
    rows = []
    for number, (axes, (title, curve)) in enumerate(zip(panels, curves.items(), strict=True)):
        for place, (method, seeds) in enumerate(matrices.items()):
            values = np.array([curve(matrix) for matrix in seeds])
            tasks = np.arange(1, values.shape[1] + 1)
            mean = values.mean(axis=0)
            spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(mean)
            colour = COLOURS[place % len(COLOURS)]
            # Side by side, so that equal curves do not hide each other.
            x = tasks + min(0.06, 0.3 / len(matrices)) * (place - (len(matrices) - 1) / 2)
            axes.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
            axes.plot(x, mean, MARKERS[place % len(MARKERS)] + "-", color=colour, label=method)
            rows += [
                {"panel": title, "method": method, "task": int(task), "mean": m, "sd": s, "seeds": len(values)}
                for task, m, s in zip(tasks, mean.tolist(), spread.tolist(), strict=True)
            ]
        axes.set(xlabel="Tasks learned", ylabel=title, ylim=(0, 1.02))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelleft=True)
        letter(axes, number)
    if len(matrices) <= 5:
        panels[0].legend(loc="best")
    else:
        columns = max(1, int(DOUBLE * 14 / (8 + max(map(len, matrices)))))
        figure.set_figheight(2.2 + 0.12 * -(-len(matrices) // columns))
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=columns)
    return figure, rows
