"""Forgetting taken apart: is the knowledge gone, or does the readout no longer fit?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from orthotrace.analysis.figures.facets import legend_above
from orthotrace.analysis.figures.lines import dodged
from orthotrace.analysis.figures.style import Drawn, figure_function, grid, letter, look, pt
from orthotrace.analysis.figures.text import filled, shown
from orthotrace.analysis.rdm.arrays import numbers
from orthotrace.core.errors import UserError


@figure_function
def readout_diagnosis(
    found: Mapping[str, Mapping[str, ArrayLike]],
    label: str = "Accuracy on the first task",
    along: str = "After task",
    chance: float | None = None,
    first: int = 1,
) -> Drawn:
    """A value by several readouts of the same layer after every task, a panel for each group or layer.

    What the trained readout loses and a refitted one keeps is still there, but no longer read; what an aligned one
    (Procrustes) finds again was only turned. With "range" and "null space" for readouts, and a share of the drift for
    the values, it shows which part of the drift the readout sees. Lines are means over seeds, bars their standard
    deviation (of the sample).

    Args:
        found: group or layer -> readout, such as "trained", "refitted", "aligned" -> (seeds, tasks).
        label: of the values.
        along: of the tasks.
        chance: accuracy by chance, a dashed line; None for none.
        first: number of the first task that there are values after.

    Raises:
        UserError: values that are no matrix of seeds and tasks.

    Example:
        >>> of = {"trained": [[0.9, 0.3]], "refitted": [[0.9, 0.8]]}
        >>> figure, rows = readout_diagnosis({"gpm": of}, chance=0.1)
        >>> rows[1]
        {'panel': 'gpm', 'readout': 'trained', 'task': 2, 'mean': 0.3, 'sd': None, 'seeds': 1}
    """
    readouts = list(dict.fromkeys(name for of in found.values() for name in of))
    figure, panels = grid(len(found), 4, lambda width: max(1.6, min(0.75 * width, 1.7)), sharex=True, sharey=True)
    rows: list[dict[str, Any]] = []
    for number, (axes, (title, of)) in enumerate(zip(panels.flat, found.items(), strict=False)):
        if chance is not None:
            axes.axhline(chance, color="0.6", linewidth=pt(0.5), linestyle="--", zorder=0)
        for place, (name, given) in enumerate(of.items()):
            values = numbers(given, name)
            if values.ndim != 2 or not values.size:
                raise UserError(f"{title}, {name}: a matrix of seeds and tasks is needed, got shape {values.shape}")
            mean, style = values.mean(axis=0), look(readouts.index(name))
            # Side by side, so that equal curves do not hide each other.
            x = np.arange(first, len(mean) + first) + dodged(place, len(of), 0.08)
            spread = values.std(axis=0, ddof=1).tolist() if len(values) > 1 else [None] * len(mean)
            if len(values) > 1:
                axes.errorbar(
                    x, mean, spread, fmt="none", ecolor=style["color"], elinewidth=pt(0.7), alpha=0.7
                )  # fmt: skip
            axes.plot(x, mean, **style)
            rows += [
                {"panel": title, "readout": name, "task": task, "mean": m, "sd": s, "seeds": len(values)}
                for task, (m, s) in enumerate(zip(mean.tolist(), spread, strict=True), start=first)
            ]
        axes.set_title(filled(title, 26) if len(found) > 1 else "")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        # A panel with none below it has its own numbers.
        axes.xaxis.set_tick_params(labelbottom=number + panels.shape[1] >= len(found))
        if len(found) > 1:
            letter(axes, number)
    figure.supxlabel(shown(along))
    figure.supylabel(shown(label))
    handles = [Line2D([], [], label=name, **look(place)) for place, name in enumerate(readouts)]
    if chance is not None:
        handles.append(Line2D([], [], label="chance", color="0.6", linewidth=pt(0.5), linestyle="--"))
    legend_above(figure, handles)
    return figure, rows
