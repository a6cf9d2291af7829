"""Agreement of networks against their accuracy."""

from collections.abc import Mapping
from typing import Any

from matplotlib.lines import Line2D

from orthotrace.analysis.figures.facets import legend_above
from orthotrace.analysis.figures.lines import within
from orthotrace.analysis.figures.style import Drawn, canvas, figure_function, look, now, pt
from orthotrace.core.errors import UserError

# Least range of an axis, so that small differences do not look large.
SPAN = 0.02


@figure_function
def consistency_against_accuracy(
    families: Mapping[str, Mapping[str, tuple[Any, Any]]], label: str = "Consistency (r²)"
) -> Drawn:
    """How much networks agree against how well they do: a mark for each group of networks, with both intervals.

    Groups of a family, such as the strengths of one regularizer, are joined by a line in their order, and grow with it.

    Args:
        families: family -> group -> accuracy of its networks and consistency of their pairs, each with mean,
            low and high, as of mean_interval.
        label: of the vertical axis.

    Raises:
        UserError: no group.

    Example:
        >>> from orthotrace.results.statistics import mean_interval
        >>> found = mean_interval([0.90, 0.92, 0.91]), mean_interval([0.70, 0.75, 0.74])
        >>> figure, rows = consistency_against_accuracy({"dropout": {"0.5": found}})
        >>> rows[0]["family"], rows[0]["group"], round(rows[0]["accuracy"], 2), round(rows[0]["consistency"], 2)
        ('dropout', '0.5', 0.91, 0.73)
    """
    if not any(families.values()):
        raise UserError("there is no group of networks", "families")
    figure = canvas(now().single, 2.8)
    axes = figure.subplots()
    rows: list[dict[str, Any]] = []
    for place, (family, of) in enumerate(families.items()):
        style = look(place)
        points = [(accuracy.mean, consistency.mean) for accuracy, consistency in of.values()]
        axes.plot(*zip(*points, strict=True), **{**style, "marker": "", "alpha": 0.5, "zorder": 1})
        for size, (group, (accuracy, consistency)) in enumerate(of.items()):
            row: dict[str, Any] = {"family": family, "group": group}
            for name, one in (("accuracy", accuracy), ("consistency", consistency)):
                low, high = within(one.low, (0.0, 1.0)), within(one.high, (0.0, 1.0))
                row |= {name: one.mean, f"{name}_low": low, f"{name}_high": high}
                if low is not None and high is not None:
                    ends = [[max(0, one.mean - low)], [max(0, high - one.mean)]]
                    bars: dict[str, Any] = {"xerr": ends} if name == "accuracy" else {"yerr": ends}
                    axes.errorbar(
                        accuracy.mean, consistency.mean, **bars, fmt="none", ecolor=style["color"], elinewidth=pt(0.6),
                        alpha=0.7, zorder=2,
                    )  # fmt: skip
            scale = 0.75 + 0.5 * (size / (len(of) - 1) if len(of) > 1 else 0.5)
            mark = {**style, "linestyle": "", "markersize": scale * style["markersize"], "zorder": 3}
            axes.plot(accuracy.mean, consistency.mean, **mark)
            rows.append(row)
    for limits, set_limits in ((axes.get_xlim(), axes.set_xlim), (axes.get_ylim(), axes.set_ylim)):
        middle, half = sum(limits) / 2, max(SPAN, limits[1] - limits[0]) / 2
        set_limits(middle - half, middle + half)
    axes.set(xlabel="Test accuracy", ylabel=label)
    legend_above(figure, [Line2D([], [], label=family, **look(place)) for place, family in enumerate(families)])
    return figure, rows
