"""Stability against plasticity: what is kept, and what is learned."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orthotrace.analysis.figures.facets import Facets
from orthotrace.analysis.figures.style import Drawn, figure_function, grid, letter, pt
from orthotrace.analysis.figures.text import shown
from orthotrace.core.errors import UserError

# Least range of an axis, so that small differences do not look large.
SPAN = 0.05


@figure_function
def stability_against_plasticity(
    plasticity: Mapping[str, Sequence[float]],
    stability: Mapping[str, Sequence[float]],
    facets: Facets | None = None,
    paths: Sequence[Sequence[str]] = (),
) -> Drawn:
    """Every run a small mark, the mean of its group a large one with the deviation of the sample: up and right is best.

    Args:
        plasticity: group -> of each seed, such as the accuracy on each task just after it was learned.
        stability: the same, such as 1 - forgetting.
        facets: a panel each.
        paths: groups whose means a line joins, in the order given, such as those of a growing energy.

    Raises:
        UserError: other groups, or other numbers of seeds, in one than in the other; a path over a group that is in
            neither.

    Example:
        >>> figure, rows = stability_against_plasticity({"gpm": [0.9, 0.8]}, {"gpm": [1.0, 0.9]})
        >>> rows[0]["plasticity"], rows[0]["stability"]
        (0.9, 1.0)
    """
    for group in {**plasticity, **stability}:
        if len(plasticity.get(group, ())) != len(stability.get(group, ())):
            raise UserError(f"{group}: plasticity and stability of the same seeds are needed", "stability")
    if unknown := [group for path in paths for group in path if group not in plasticity]:
        raise UserError(f"no group is called {unknown[0]}", "paths")
    facets = facets or Facets.one(plasticity)
    panels_of = facets.within(plasticity)
    figure, panels = grid(len(panels_of), 3, lambda width: min(width, 2.8), sharex=True, sharey=True)
    rows: list[dict[str, Any]] = []
    for number, (axes, (facet, of)) in enumerate(zip(panels.flat, panels_of.items(), strict=False)):
        for group, name in of.items():
            look = {**facets.look(name), "linestyle": ""}
            x, y = np.array(plasticity[group]), np.array(stability[group])
            axes.plot(x, y, **{**look, "markersize": 0.6 * look["markersize"], "alpha": 0.5, "zorder": 1})
            if len(x) > 1:
                axes.errorbar(
                    x.mean(), y.mean(), y.std(ddof=1), x.std(ddof=1), fmt="none", ecolor=look["color"],
                    elinewidth=pt(0.8), zorder=2,
                )  # fmt: skip
            axes.plot(x.mean(), y.mean(), **{**look, "markersize": 1.3 * look["markersize"], "zorder": 3})
            rows += [
                {"facet": facet, "method": group, "seed": seed, "plasticity": a, "stability": b}
                for seed, (a, b) in enumerate(zip(x.tolist(), y.tolist(), strict=True))
            ]
        for path in paths:
            means = [(np.mean(plasticity[group]), np.mean(stability[group])) for group in path if group in of]
            axes.plot(*np.array(means).reshape(-1, 2).T, color="0.6", linewidth=pt(0.8), zorder=0)
        axes.set_title(shown(facet))
        if len(panels_of) > 1:
            letter(axes, number)
        axes.xaxis.set_tick_params(labelbottom=number + panels.shape[1] >= len(panels_of))
    first = panels.flat[0]
    for limits, set_limits in ((first.get_xlim(), first.set_xlim), (first.get_ylim(), first.set_ylim)):
        middle, half = sum(limits) / 2, max(SPAN, limits[1] - limits[0]) / 2
        set_limits(middle - half, middle + half)
    figure.supxlabel("Plasticity (accuracy just after learning)")
    figure.supylabel("Stability (1 − forgetting)")
    facets.legend(figure, plasticity)
    return figure, rows
