"""How much of each layer's input space is protected, after every task."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orthotrace.analysis.figures.style import Drawn, figure_function, grid, pt
from orthotrace.analysis.figures.text import filled, shown
from orthotrace.results.heat_map import heat_map, write_cells

Gauges = Mapping[str, Mapping[str, Any]]
# More cells than this are too small to write in.
WRITTEN = 12
# More names of layers than this are too small to read.
LAYERS = 48


@figure_function
def capacity_by_layer(capacities: Mapping[str, Sequence[Gauges]]) -> Drawn:
    """Share of each layer's input dimensions that is protected, layers x tasks, with the rank, rounded, written in.

    Args:
        capacities: method -> of each seed layer -> features, and per task rank, captured, exact, leak, memory_bytes,
            as in scores.json.

    Returns:
        The figure, and the numbers in it with those that belong to them: means over seeds.
    """
    most = max(len(seeds[0]) for seeds in capacities.values())
    longest = max(len(layer) for seeds in capacities.values() for layer in seeds[0])
    height = 0.7 + 0.2 * max(4, min(most, 24))
    figure, panels = grid(len(capacities), 4, lambda _: height)
    alike = len({tuple(seeds[0]) for seeds in capacities.values()}) == 1
    rows: list[dict[str, Any]] = []
    for number, (axes, (method, seeds)) in enumerate(zip(panels.flat, capacities.items(), strict=False)):
        layers = list(seeds[0])
        found = [_means(method, layer, [one[layer] for one in seeds]) for layer in layers]
        rows += [row for by_task in found for row in by_task]
        shares = np.array([[row["rank"] / row["features"] for row in by_task] for by_task in found])
        heat_map(axes, shares, aspect="auto")
        tasks = shares.shape[1]
        step = -(-tasks // WRITTEN)
        axes.set_xticks(range(0, tasks, step), [str(task + 1) for task in range(0, tasks, step)])
        # More names than fit are thinned out.
        every = -(-len(layers) // LAYERS)
        size = pt(7 if len(layers) <= 24 and longest < 20 else 5)
        # Where all have the same layers, the left panels name them.
        names = layers[::every] if number % panels.shape[1] == 0 or not alike else []
        axes.set_yticks(range(0, len(layers), every)[: len(names)], map(shown, names), size=size)
        axes.set(xlabel="After task" if number + panels.shape[1] >= len(capacities) else "", title=filled(method, 24))
        if tasks <= WRITTEN and len(layers) <= 24:
            # Ranks are counts: a mean over seeds is rounded.
            ranks = (f"{row['rank']:.0f}" for by_task in found for row in by_task)
            write_cells(axes, shares, ranks, pt(min(6.0, (42 if panels.shape[1] < 4 else 34) / tasks)))
    figure.colorbar(panels[0, 0].images[0], ax=panels, label="Share protected", fraction=0.03, shrink=0.9)
    return figure, rows


def _means(method: str, layer: str, seeds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The gauge of a layer after each task, mean over seeds; None where a number is unknown."""
    rows = []
    for task in range(len(seeds[0]["rank"])):
        row: dict[str, Any] = {"method": method, "layer": layer, "task": task + 1, "seeds": len(seeds)}
        row["features"] = seeds[0]["features"]
        for key in ("rank", "captured", "exact", "leak", "memory_bytes"):
            values = [one[key][task] for one in seeds if key in one and one[key][task] is not None]
            row[key] = float(np.mean(values)) if values else None
        row["free"] = row["features"] - row["rank"]
        rows.append(row)
    return rows
