"""Several figures as the lettered panels of one, for a paper."""

import string
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from orthotrace.analysis.figures.style import Drawn, figure_function, now, size_of, within_style
from orthotrace.core.errors import UserError

Drawing = Callable[[], Drawn]
# Inches above each panel for its letter.
HEAD = 0.16


@figure_function
def panel(lines: Sequence[Sequence[Drawing]], widths: Sequence[Sequence[float]] | None = None) -> Drawn:
    """Compose figures into one across the page: lettered, in lines from above, each with its legend.

    Each is drawn twice, first alone to learn its height. A figure that letters its own panels leaves that to this one.

    Args:
        lines: of each line of panels what draws them, such as ``lambda: consistency_by_layer(found)``.
        widths: of the panels of each line, relative to each other; None for equal ones.

    Returns:
        The figure, and the numbers of all panels, with their letters; what they call a panel is a part.

    Raises:
        UserError: no panel, more than 26, or another number of widths than of panels.

    Example:
        >>> from orthotrace.analysis.figures.tradeoff import stability_against_plasticity
        >>> one = lambda: stability_against_plasticity({"gpm": [0.9, 0.8]}, {"gpm": [1.0, 0.9]})
        >>> figure, rows = panel([[one, one]])
        >>> [row["panel"] for row in rows], round(figure.get_figwidth() * 25.4)
        (['a', 'a', 'b', 'b'], 183)
    """
    count = sum(map(len, lines))
    if not all(lines) or not 0 < count <= len(string.ascii_lowercase):
        raise UserError(f"1 to 26 panels are needed, and one at least in each line (got {count})", "lines")
    shares = [[1.0] * len(line) for line in lines] if widths is None else [list(map(float, of)) for of in widths]
    if [len(of) for of in shares] != [len(line) for line in lines] or any(one <= 0 for of in shares for one in of):
        raise UserError("a width above 0 is needed for each panel", "widths")
    if now().part is not None:
        raise UserError("a composed figure cannot be a panel of another", "lines")
    wide = [[now().page * one / sum(of) for one in of] for of in shares]
    heights = [
        max(_height(one, width) for one, width in zip(line, of, strict=True))
        for line, of in zip(lines, wide, strict=True)
    ]
    head = now().scale * HEAD
    figure = plt.figure(figsize=(now().page, sum(heights) + head * len(lines)), layout="constrained")
    stripes = figure.subfigures(len(lines), 1, squeeze=False, height_ratios=[one + head for one in heights], hspace=0)
    rows: list[dict[str, Any]] = []
    letters = iter(string.ascii_lowercase)
    for stripe, line, of, height in zip(stripes.flat, lines, wide, heights, strict=True):
        parts = stripe.subfigures(1, len(line), squeeze=False, width_ratios=of, wspace=0)
        for part, one, width in zip(parts.flat, line, of, strict=True):
            title, body = part.subfigures(2, 1, height_ratios=[head, height], hspace=0)
            name = next(letters)
            title.text(0.03 / width, 0.5, name, weight="bold", size=now().scale * 8, va="center")
            with within_style(replace(now(), column=width, page=width, part=body)):
                _, found = one()
            for row in found:
                rows.append({"panel": name, **{"part" if key == "panel" else key: row[key] for key in row}})
    return figure, rows


def _height(one: Drawing, width: float) -> float:
    """Of a figure that is so wide, in inches."""
    with within_style(replace(now(), column=width, page=width)):
        figure, _ = one()
    assert isinstance(figure, Figure)
    plt.close(figure)
    return size_of(figure)[1] * now().scale
