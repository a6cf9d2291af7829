"""What the neurons of spiking networks do: how often they fire, and what that costs beside an ordinary network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from orthotrace.analysis.figures.facets import legend_above
from orthotrace.analysis.figures.lines import dodged
from orthotrace.analysis.figures.steps import DARKEST, LIGHTEST, SCALE
from orthotrace.analysis.figures.style import MARKERS, SIZES, Drawn, figure_function, grid, letter, now, pt
from orthotrace.analysis.figures.text import filled, shown

# Layer -> what its neurons did, or what its weights cost, after each task: activity in scores.json.
Activity = Mapping[str, Mapping[str, Sequence[float]]]
# More tasks than this have too many lines: the first, the last, and some between are drawn.
TASKS = 5
# Letters.
PANELS = 26
THOUSAND = 1000


@figure_function
def activity_by_layer(found: Mapping[str, Sequence[Activity]]) -> Drawn:
    """Firing rates of the layers of neurons, and operations of the layers with weights, after each task.

    Two panels for each group: spikes of a neuron in a step, in [0, 1]; and synaptic operations of an image, on a
    logarithmic axis, beside the multiply-adds of the same layer in an ordinary network. Means over seeds with bars of
    one standard deviation.

    Args:
        found: group -> of each seed the activity, as in scores.json.

    Returns:
        The figure, and the numbers in it, of all tasks.
    """
    # The two panels of a group stand beside each other.
    lines = -(-len(found) // 2)
    figure, panels = grid(2 * min(2, len(found)) * lines, 4, lambda _: min(1.9, now().tall / lines))
    for axes in panels.flat[2 * len(found) :]:
        axes.set_visible(False)
    rows: list[dict[str, Any]] = []
    tasks = max(_tasks(seeds) for seeds in found.values())
    chosen = sorted({round(one) for one in np.linspace(1, tasks, min(tasks, TASKS))})
    ordinary = {"color": "0.4", "linestyle": "--", "marker": "_", "linewidth": pt(0.8), "markersize": pt(6)}
    looks = {task: _look(place, len(chosen)) for place, task in enumerate(chosen)}
    for number, (group, seeds) in enumerate(found.items()):
        for side, (quantity, label) in enumerate(
            (("firing_rate", "Firing rate"), ("synaptic_operations", "Operations (thousands)"))
        ):
            axes, place = panels.flat[2 * number + side], 2 * number + side
            layers = [layer for layer, of in seeds[0].items() if quantity in of]
            _name(axes, layers)
            shown: list[float] = []
            if side:
                costs = [_over(seeds, layer, "multiply_adds")[0][0] for layer in layers]
                axes.plot(range(len(layers)), costs, **ordinary)
                shown += costs
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / THOUSAND:g}"))
                axes.yaxis.set_minor_formatter(NullFormatter())
            for nth, task in enumerate(one for one in chosen if one <= _tasks(seeds)):
                means, spread = zip(*(_at(seeds, layer, quantity, task) for layer in layers), strict=True)
                x = np.arange(len(layers)) + dodged(nth, len(chosen), 0.1, 0.5)
                axes.plot(x, means, **looks[task])
                shown += [mean + sign * size for mean, size in zip(means, spread, strict=True) for sign in (-1, 0, 1)]
                if len(seeds) > 1:
                    axes.errorbar(x, means, spread, fmt="none", ecolor=looks[task]["color"], elinewidth=pt(0.8))
            axes.set(title=filled(group, 26) if len(found) > 1 else "", ylabel=label)
            if side:
                # Not by the limits of matplotlib: before 3.11 it takes bars on such axes for longer than they are.
                sizes = np.log10([value for value in shown if value > 0] or [1.0])
                axes.set_ylim(10.0 ** np.floor(sizes.min() - 0.05), 10.0 ** np.ceil(sizes.max() + 0.05))
            if 2 * len(found) <= PANELS:
                letter(axes, place)
            rows += [row for layer in layers for row in _rows(group, seeds, layer, quantity)]
        axes = panels.flat[2 * number]
        axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    handles = [Line2D([], [], label=f"after task {task}", **look) for task, look in looks.items()]
    handles = handles if tasks > 1 else [Line2D([], [], label="spiking", **looks[1])]
    legend_above(figure, [*handles, Line2D([], [], label="multiply-adds of an ordinary network", **ordinary)])
    return figure, rows


def _name(axes: Axes, layers: Sequence[str]) -> None:
    """The layers along an axis."""
    turned = sum(map(len, layers)) + 2 * len(layers) > 20
    axes.set_xticks(range(len(layers)), map(shown, layers), rotation=90 if turned else 0)
    axes.set_xlim(-0.5, len(layers) - 0.5)
    axes.tick_params(axis="x", length=0)


def _tasks(seeds: Sequence[Activity]) -> int:
    return max(len(values) for of in seeds[0].values() for values in of.values())


def _over(seeds: Sequence[Activity], layer: str, quantity: str) -> list[list[float]]:
    """Of each seed, after each task."""
    return [list(one[layer][quantity]) for one in seeds]


def _at(seeds: Sequence[Activity], layer: str, quantity: str, task: int) -> tuple[float, float]:
    """Mean and deviation over seeds after a task."""
    values = [of[task - 1] for of in _over(seeds, layer, quantity)]
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _rows(group: str, seeds: Sequence[Activity], layer: str, quantity: str) -> list[dict[str, Any]]:
    rows = []
    for task in range(1, _tasks(seeds) + 1):
        mean, spread = _at(seeds, layer, quantity, task)
        cost = _over(seeds, layer, "multiply_adds")[0][task - 1] if "multiply_adds" in seeds[0][layer] else None
        rows.append(
            {
                "method": group, "layer": layer, "task": task, "quantity": quantity, "mean": mean, "sd": spread,
                "seeds": len(seeds), "multiply_adds": cost,
            }
        )  # fmt: skip
    return rows


def _look(place: int, tasks: int) -> dict[str, Any]:
    """Colour and marker of a task, for plot."""
    depth = DARKEST + (LIGHTEST - DARKEST) * place / max(1, tasks - 1)
    marker = MARKERS[place % len(MARKERS)]
    return {
        "color": colormaps[SCALE](depth), "marker": marker, "markersize": pt(0.8 * SIZES.get(marker, 4.0)),
        "markeredgewidth": 0, "linewidth": pt(0.8),
    }  # fmt: skip
