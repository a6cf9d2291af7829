"""Scores against a value that a sweep varies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from orthotrace.analysis.figures.facets import legend_above
from orthotrace.analysis.figures.lines import errors, pairs_of_panels, within
from orthotrace.analysis.figures.style import Drawn, figure_function, look
from orthotrace.analysis.figures.text import shown
from orthotrace.results.columns import titled
from orthotrace.results.statistics import mean_interval

NAMES = ("acc", "bwt")
# No score lies beyond, whatever Student's distribution says of few seeds.
BOUNDS = {"acc": (0.0, 1.0), "bwt": (-1.0, 1.0)}
# A wider range of values than this factor is drawn on a logarithmic axis.
LOGARITHMIC = 100
# Name of a line -> value of the key -> score -> of each seed.
Lines = Mapping[str, Mapping[float, Mapping[str, Sequence[float]]]]


@figure_function
def score_by_value(lines: Lines, key: str, level: float = 0.95, kind: str = "accuracy") -> Drawn:
    """Accuracy after all tasks, and backward transfer where there is one, against the value of a key.

    Markers are means over seeds, bars their intervals by Student's t. The axis of the key is logarithmic where its
    values, all above 0, span more than two decades.

    Args:
        lines: what the groups of a line have in common -> value of the key -> "acc" and "bwt" -> of each seed.
        key: whose values they are.
        level: of the intervals, in (0, 1).
        kind: what the scores are made of, see columns.WORDS.
    """
    # R^2 is at most 1, and its differences have no end.
    bounds = BOUNDS if kind == "accuracy" else {"acc": (-np.inf, 1.0), "bwt": (-np.inf, np.inf)}
    scores = [score for score in NAMES if any(of[score] for by_value in lines.values() for of in by_value.values())]
    every = sorted({value for by_value in lines.values() for value in by_value})
    wide = every[0] > 0 and every[-1] / every[0] > LOGARITHMIC
    figure, panels = pairs_of_panels([""], [titled(score, kind) for score in scores])
    apart = 0.012 * (np.log10(every[-1] / every[0]) if wide else every[-1] - every[0])
    rows: list[dict[str, Any]] = []
    for axes, score in zip(panels[0], scores, strict=True):
        for place, (name, by_value) in enumerate(lines.items()):
            values = [value for value in sorted(by_value) if by_value[value][score]]
            found = [mean_interval(by_value[value][score], level) for value in values]
            # Side by side, so that equal scores do not hide each other.
            aside = apart * (place - (len(lines) - 1) / 2)
            x = np.array(values, dtype=np.float64)
            x = x * 10**aside if wide else x + aside
            means = [one.mean for one in found]
            axes.plot(x, means, **look(place))
            ends = [(within(one.low, bounds[score]), within(one.high, bounds[score])) for one in found]
            errors(axes, x, means, ends, look(place))
            rows += [
                {
                    "score": score, "line": name, "key": key, "value": value, "mean": one.mean, "low": low,
                    "high": high, "level": level, "seeds": one.count,
                }
                for value, one, (low, high) in zip(values, found, ends, strict=True)
            ]  # fmt: skip
        axes.set_xlabel(shown(key))
        if not wide and all(float(value).is_integer() for value in every):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if wide:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(numticks=8))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
    legend_above(figure, [Line2D([], [], label=name, **look(place)) for place, name in enumerate(lines)])
    return figure, rows
