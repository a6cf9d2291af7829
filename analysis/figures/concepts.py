"""Purity of concept axes, and how it changes over tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from orthotrace.analysis.concepts.purity import Purity
from orthotrace.analysis.figures.facets import Facets, legend_above
from orthotrace.analysis.figures.layers import over_layers
from orthotrace.analysis.figures.lines import dodged
from orthotrace.analysis.figures.style import Drawn, figure_function, grid, grow, letter, look, pt, size_of
from orthotrace.analysis.figures.text import shown as written
from orthotrace.analysis.figures.text import wrapped
from orthotrace.analysis.rdm.arrays import numbers
from orthotrace.core.errors import UserError

PURITY = "Purity (area under the ROC curve)"


@figure_function
def purity_by_concept(purities: Mapping[str, Sequence[Purity]], concepts: Sequence[str], label: str = PURITY) -> Drawn:
    """Purity of each concept by several detectors, side by side: every network a dot with its interval over images.

    Args:
        purities: detector, such as the axis, the best filter, a probe -> of each network.
        concepts: names.
        label: of the values.

    Raises:
        UserError: a number of names that is not that of the concepts.
    """
    for detector, networks in purities.items():
        for network in networks:
            fits(concepts, {detector: len(network.auc.value)})
    labels = [wrapped(name, 9) for name in concepts]
    longest = [max(name.split("\n"), key=len) for name in labels]
    figure, (axes,) = over_layers(longest, groups=len(purities))
    axes.set_xticks(range(len(concepts)), labels)
    grow(figure, size_of(figure)[1] + 0.1 * max(label.count("\n") + 1 for label in labels))
    slot = 0.84 / len(purities)
    rows: list[dict[str, Any]] = []
    handles = []
    lowest, level, several = 0.5, 0.95, False
    for place, (detector, networks) in enumerate(purities.items()):
        style = {**look(place), "linestyle": ""}
        middle = np.arange(len(concepts)) + slot * (place - (len(purities) - 1) / 2)
        for number, network in enumerate(networks):
            found, level = network.auc, network.auc.level
            x = middle + 0.7 * slot * ((number + 0.5) / len(networks) - 0.5)
            axes.vlines(x, found.low, found.high, color=style["color"], alpha=0.45, linewidth=pt(0.7))
            axes.plot(x, found.value, **{**style, "markersize": 0.75 * style["markersize"]}, clip_on=False)
            lowest = min(lowest, float(found.low.min()))
            rows += [
                {
                    "reading": detector, "network": number, "concept": concept, "auc": float(found.value[k]),
                    "low": float(found.low[k]), "high": float(found.high[k]), "level": level,
                    "images": int(network.has[:, k].sum()), "others": int((~network.has[:, k]).sum()),
                }
                for k, concept in enumerate(concepts)
            ]  # fmt: skip
        if len(networks) > 1:
            several = True
            means = np.mean([network.auc.value for network in networks], axis=0)
            axes.hlines(means, middle - 0.42 * slot, middle + 0.42 * slot, color="black", linewidth=pt(0.8), zorder=3)
        handles.append(Line2D([], [], label=detector, **style))
    axes.axhline(0.5, color="0.6", linewidth=pt(0.5), linestyle="--", zorder=0)
    axes.annotate("chance", (1, 0.5), (pt(2), 0), ("axes fraction", "data"), "offset points", va="center", size=pt(6))
    axes.set_ylim(lowest - 0.03, 1.005)
    axes.set_ylabel(written(label))
    title = f"dots: networks, with {100 * level:g} % intervals over images" + ("; black bars: means" if several else "")
    legend_above(figure, handles, title)
    return figure, rows


@figure_function
def concepts_over_tasks(
    values: Mapping[str, ArrayLike],
    concepts: Sequence[str],
    label: str = PURITY,
    span: float = 0.05,
    facets: Facets | None = None,
    after: Sequence[int] | None = None,
    along: str = "task",
) -> Drawn:
    """A value of each concept after every task: their mean, then one panel each.

    Lines are means over seeds, bars their standard deviation (of the sample).

    Args:
        values: method -> (seeds, tasks, concepts), such as purities, or angles to the axes of the first task.
        concepts: names.
        label: of the values.
        span: smallest range of the vertical axis, so that small differences do not look large.
        facets: how methods look; each panel has all of them.
        after: numbers of the tasks; None for all from 1.
        along: what they count: "task", or "epoch".

    Raises:
        UserError: a number of names that is not that of the concepts, or of tasks that is not that of the values.
    """
    found = {method: numbers(one, "values") for method, one in values.items()}
    fits(concepts, {method: one.shape[-1] for method, one in found.items()})
    # Groups of two facets that are called alike would look alike in one panel.
    if facets is None or len(facets.within(found)) > 1:
        facets = Facets.one(found)
    names = {method: name for of in facets.within(found).values() for method, name in of.items()}
    every = {"mean of all": slice(None)} if len(concepts) > 1 else {}
    titles = every | {concept: slice(number, number + 1) for number, concept in enumerate(concepts)}
    figure, panels = grid(len(titles), 4, lambda width: 1.45 if len(titles) > 4 else 1.7, sharex=True, sharey=True)
    columns = panels.shape[1]
    tasks = next(iter(found.values())).shape[1]
    at = np.arange(1, tasks + 1) if after is None else np.asarray(after)
    if len(at) != tasks:
        raise UserError(f"{len(at)} numbers of {along}s for values after {tasks}: give one of each", "after")
    unit = (at[-1] - at[0]) / max(1, tasks - 1) or 1.0
    rows: list[dict[str, Any]] = []
    for number, (axes, (title, part)) in enumerate(zip(panels.flat, titles.items(), strict=False)):
        for place, (method, name) in enumerate(names.items()):
            seeds = found[method][:, :, part].mean(axis=2)
            mean, style = seeds.mean(axis=0), facets.look(name)
            # Side by side, so that equal curves do not hide each other.
            x = at + unit * dodged(place, len(names), 0.08)
            if len(seeds) > 1:
                axes.errorbar(
                    x, mean, seeds.std(axis=0, ddof=1), fmt="none", ecolor=style["color"], elinewidth=pt(0.7),
                    alpha=0.7,
                )  # fmt: skip
            axes.plot(x, mean, **style)
            rows += [
                {
                    "method": method, "concept": title, "after": int(at[task]), "mean": float(mean[task]),
                    "seeds": len(seeds), "values": " ".join(f"{value:.6f}" for value in seeds[:, task]),
                }
                for task in range(tasks)
            ]  # fmt: skip
        axes.set_title(wrapped(title, 24), weight="bold" if title in every else "normal")
        if len(titles) > 1:
            letter(axes, number)
        axes.set_xlim(at[0] - 0.4 * unit, at[-1] + 0.4 * unit)
        # A panel with none below it has its own numbers.
        axes.xaxis.set_tick_params(labelbottom=number + columns >= len(titles))
        axes.set_xticks(at[:: -(-tasks // 8)])
    low, high = panels.flat[0].get_ylim()
    if high - low < span:
        panels.flat[0].set_ylim((low + high - span) / 2, (low + high + span) / 2)
    figure.supxlabel(f"After {along}")
    figure.supylabel(written(label))
    facets.legend(figure, found)
    return figure, rows


def fits(names: Sequence[str], found: Mapping[str, int]) -> None:
    """Refuse another number of names than of things.

    Raises:
        UserError: says what has how many.
    """
    for what, number in found.items():
        if number != len(names):
            raise UserError(f"{len(names)} names ({', '.join(names)}) for {number} of {what}: give one of each")
