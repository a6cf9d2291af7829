"""How well models predict RDMs: bars under a noise ceiling, with what is significant."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from orthotrace.analysis.figures.facets import legend_above
from orthotrace.analysis.figures.style import COLOURS, Drawn, canvas, figure_function, grow, now, pt, size_of
from orthotrace.analysis.figures.text import shown, wrapped
from orthotrace.analysis.inference.significance import Evaluation, ModelComparison, Test
from orthotrace.core.errors import UserError

# Most lines between bars; of more the widest are left out, and the caption of the figure has to say so.
LINES = 12
# Share of the range of the values that a line between bars takes.
STEP = 0.06


@figure_function
def model_comparison(
    found: Evaluation, test: Test = "t", significance: float = 0.05, level: float = 0.95, label: str = ""
) -> Drawn:
    """Mean score of each model as a bar, with its interval, every subject a dot, and the noise ceiling as a band.

    Asterisks above names: the model is better than 0; open circles: it is below the ceiling. Both are of one-sided
    tests, without correction. Lines join two models that differ, corrected for false discoveries over all pairs.

    Args:
        found: what inference.evaluate or inference.bootstrap gives, of two subjects or more.
        test: of Evaluation.compare.
        significance: below which p is significant, in (0, 1).
        level: of the intervals, in (0, 1).
        label: of the values; the name of the comparison where it is empty.

    Returns:
        The figure, and of every model mean, interval, p-values and scores.

    Raises:
        UserError: a significance out of its range, or what Evaluation.compare and Evaluation.intervals refuse.

    Example:
        >>> scores = np.array([[0.5, 0.6, 0.55, 0.52, 0.6], [0.1, 0.3, 0.2, 0.1, 0.2]])
        >>> figure, rows = model_comparison(Evaluation(("good", "bad"), "pearson", scores, None))
        >>> rows[0]["model"], round(rows[0]["mean"], 3), rows[0]["differs_from"]
        ('good', 0.554, 'bad')
    """
    if not 0 < significance < 1:
        raise UserError(f"a significance in (0, 1) is needed (got {significance})", "significance")
    tested, means, intervals = found.compare(test), found.means, found.intervals(level)
    count, names = len(found.models), [wrapped(name, 12) for name in found.models]
    longest = max(len(line) for name in names for line in name.split("\n"))
    wide = now().single if count * max(0.3, 0.055 * longest) + 0.6 <= now().single else now().double
    turned = count * 0.055 * longest > wide - 0.6
    figure = canvas(wide, 2.2 + (0.05 * longest if turned else 0))
    axes = figure.subplots()
    x = np.arange(count, dtype=np.float64)
    if found.ceiling is not None:
        axes.axhspan(found.ceiling.lower, found.ceiling.upper, color="0.85", linewidth=0, zorder=0)
    axes.axhline(0, color="0.4", linewidth=pt(0.5), zorder=1)
    axes.bar(x, means, 0.62, color=COLOURS[4], linewidth=0, zorder=1)
    for at, scores in zip(x, found.scores, strict=True):
        beside = np.linspace(-0.2, 0.2, len(scores)) if len(scores) > 1 else np.zeros(1)
        axes.plot(at + beside, scores, ".", color="0.35", markersize=pt(2.5), alpha=0.6, zorder=2)
    lengths = np.maximum([means - intervals[:, 0], intervals[:, 1] - means], 0)
    axes.errorbar(x, means, lengths, fmt="none", ecolor="black", elinewidth=pt(0.8), zorder=3)
    top = float(max(found.scores.max(), intervals.max(), 0 if found.ceiling is None else found.ceiling.upper))
    low = float(min(found.scores.min(), intervals.min(), 0))
    pairs = _joined(axes, tested, top, top - low, significance)
    below = None if tested.ceiling is None else tested.ceiling < significance
    _marks(axes, x, tested.zero < significance, below, low - 0.09 * (top - low))
    axes.set_ylim(low - 0.14 * (top - low), top + (0.05 + STEP * min(len(pairs), LINES)) * (top - low))
    axes.set_xlim(-0.6, count - 0.4)
    axes.set_xticks(x, names, rotation=90 if turned else 0)
    axes.tick_params(axis="x", length=0)
    # Scores end where the lines between bars begin.
    axes.set_yticks([tick for tick in axes.get_yticks() if low - 0.02 * (top - low) <= tick <= top])
    axes.spines["left"].set_bounds(low, top)
    axes.set_ylabel(shown(label or f"Agreement ({found.method.replace('_', ' ')})"))
    grow(figure, size_of(figure)[1] + 0.07 * min(len(pairs), LINES))
    legend_above(figure, _handles(found, below, len(pairs) > 0))
    limits = (None, None) if found.ceiling is None else (found.ceiling.lower, found.ceiling.upper)
    rows: list[dict[str, Any]] = [
        {
            "model": name, "mean": float(means[i]), "low": float(intervals[i, 0]), "high": float(intervals[i, 1]),
            "level": level, "test": tested.test, "p_zero": float(tested.zero[i]),
            "p_ceiling": None if tested.ceiling is None else float(tested.ceiling[i]),
            "ceiling_low": limits[0], "ceiling_high": limits[1],
            "differs_from": " ".join(
                found.models[j] for j in range(count) if j != i and tested.adjusted[i, j] < significance
            ),
            "scores": " ".join(f"{value:.6f}" for value in found.scores[i]),
        }
        for i, name in enumerate(found.models)
    ]  # fmt: skip
    return figure, rows


def _joined(axes: Axes, tested: ModelComparison, top: float, span: float, significance: float) -> list[tuple[int, int]]:
    """Lines above the bars between models that differ, the nearest lowest."""
    pairs = [(int(i), int(j)) for i, j in np.argwhere(np.triu(tested.adjusted < significance, 1))]
    pairs.sort(key=lambda pair: (pair[1] - pair[0], pair))
    for number, (i, j) in enumerate(pairs[:LINES]):
        height = top + (0.06 + STEP * number) * span
        axes.plot([i, j], [height, height], "|-", color="black", linewidth=pt(0.6), markersize=pt(3), zorder=2)
    return pairs


def _marks(axes: Axes, x: Any, above_zero: Any, below_ceiling: Any, height: float) -> None:
    aside = 0.0 if below_ceiling is None else 0.12
    axes.plot(x[above_zero] - aside, np.full(int(above_zero.sum()), height), linestyle="", **_asterisk())
    if below_ceiling is not None:
        axes.plot(x[below_ceiling] + aside, np.full(int(below_ceiling.sum()), height), linestyle="", **_circle())


def _asterisk() -> dict[str, Any]:
    return {"marker": (5, 2, 0), "color": "black", "markersize": pt(4), "markeredgewidth": pt(0.7)}


def _circle() -> dict[str, Any]:
    return {
        "marker": "o", "color": "black", "markerfacecolor": "white", "markersize": pt(3.2), "markeredgewidth": pt(0.7),
    }  # fmt: skip


def _handles(found: Evaluation, below: Any, joined: bool) -> list[Any]:
    handles: list[Any] = [Line2D([], [], linestyle="", label="better than 0", **_asterisk())]
    if below is not None:
        handles.append(Line2D([], [], linestyle="", label="below the ceiling", **_circle()))
    if found.ceiling is not None:
        handles.append(Patch(color="0.85", linewidth=0, label="noise ceiling"))
    if joined:
        handles.append(Line2D([], [], color="black", linewidth=pt(0.6), marker="|", markersize=pt(3), label="differ"))
    return handles
