"""Images on concept axes: those that activate them most, and all of them on two axes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import ArrayLike

from orthotrace.analysis.concepts.axes import top_images
from orthotrace.analysis.figures.facets import legend_above
from orthotrace.analysis.figures.style import COLOURS, Drawn, canvas, figure_function, now, pt
from orthotrace.analysis.figures.text import shown, wrapped
from orthotrace.analysis.rdm.arrays import flags, numbers
from orthotrace.core.errors import UserError

# White between images, in shares of an image.
GAP = 0.12
# Inches of an image that can be seen.
SMALLEST = 0.25


@figure_function
def top_images_grid(
    images: ArrayLike, activations: ArrayLike, names: Sequence[str], has: ArrayLike | None = None, k: int = 10
) -> Drawn:
    """The images that activate each axis most, a row for each axis, highest first.

    Args:
        images: in [0, 1], (n, height, width) or (n, 1 or 3, height, width).
        activations: (n, axes).
        names: of the axes that are shown, the first ones.
        has: which image has which concept, (n, axes shown): those without are framed.
        k: images of an axis.

    Returns:
        The figure, and the numbers in it: the places of the images.

    Raises:
        UserError: images of another shape or number, or what concepts.top_images refuses.
    """
    pictures, values = _colours(images), numbers(activations, "activations")
    if len(pictures) != len(values):
        raise UserError(f"{len(pictures)} images and activations of {len(values)}: give one of each")
    places = top_images(values, k)[: len(names)]
    of = None if has is None else flags(has, "has")
    height, width = pictures.shape[1:3]
    down, along = height + max(1, round(GAP * height)), width + max(1, round(GAP * width))
    sheet = np.ones((down * len(names), along * k, 3))
    labels = [wrapped(name, 14) for name in names]
    margin = 0.06 * max(len(line) for label in labels for line in label.split("\n")) + 0.15
    # As wide as a column where the images are large enough there, else as a page.
    wide = now().single if (now().single - margin) / k >= SMALLEST else now().double
    size = min((wide - margin) / k, (now().tall - 0.3) / len(names) * along / down)
    figure = canvas(wide, size * down / along * len(names) + 0.08)
    axes = figure.subplots()
    rows: list[dict[str, Any]] = []
    for line, name in enumerate(names):
        for column, image in enumerate(places[line].tolist()):
            top, left = line * down, column * along
            sheet[top : top + height, left : left + width] = pictures[image]
            lacks = of is not None and not of[image, line]
            if lacks:
                # On the outer edge of the image's pixels.
                axes.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, ec=COLOURS[1], lw=pt(1.3)))
            rows.append(
                {
                    "axis": name, "rank": column + 1, "image": image, "activation": float(values[image, line]),
                    "has": None if of is None else not lacks,
                }
            )  # fmt: skip
    axes.imshow(sheet, interpolation="nearest")
    # Without the gaps after the last row and column, with the frames' width.
    axes.set_xlim(-1, along * k - (along - width))
    axes.set_ylim(down * len(names) - (down - height), -1)
    axes.set_yticks(np.arange(len(names)) * down + height / 2 - 0.5, labels)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if axes.patches:
        frame = Patch(fill=False, edgecolor=COLOURS[1], linewidth=pt(1.3), label="without the concept")
        legend_above(figure, [frame])
    return figure, rows


@figure_function
def slice_of_axes(activations: ArrayLike, pair: tuple[int, int], names: Sequence[str], has: ArrayLike) -> Drawn:
    """All images on two axes, coloured by which of the two concepts they have.

    Args:
        activations: (n, axes).
        pair: the axes, along and up; also the concepts.
        names: of the axes.
        has: which image has which concept, (n, concepts).
    """
    first, second = pair
    x, y = numbers(activations, "activations")[:, [first, second]].T
    a, b = flags(has, "has")[:, [first, second]].T
    kinds = {
        "neither": (~a & ~b, "0.72", "o"),
        names[first]: (a & ~b, COLOURS[0], "o"),
        names[second]: (b & ~a, COLOURS[1], "s"),
        "both": (a & b, COLOURS[2], "^"),
    }
    figure = canvas(now().single, now().single * 0.85)
    axes = figure.subplots()
    for line in (axes.axhline, axes.axvline):
        line(0, color="0.6", linewidth=pt(0.5), zorder=0)
    size = pt(1) ** 2 * float(np.clip(600 / np.sqrt(len(x)), 3, 14))
    # In one random order, so that no kind hides another.
    order = np.random.default_rng(0).permutation(len(x))
    for number, (rows, colour, marker) in enumerate(kinds.values()):
        own = order[rows[order]]
        axes.scatter(
            x[own], y[own], size if number else 0.6 * size, colour, marker=marker, alpha=0.75, linewidths=0,
            rasterized=len(x) > 2000, zorder=1 + (number > 0),
        )  # fmt: skip
    axes.set(xlabel=shown(f"Axis of “{names[first]}”"), ylabel=shown(f"Axis of “{names[second]}”"))
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", label=f"{name} ({int(rows.sum())})")
        for name, (rows, colour, marker) in kinds.items()
        if rows.any()
    ]
    legend_above(figure, handles)
    kind = np.select([a & b, a, b], ["both", names[first], names[second]], "neither")
    return figure, [
        {"image": i, "along": float(u), "up": float(v), "concepts": str(one)}
        for i, (u, v, one) in enumerate(zip(x, y, kind, strict=True))
    ]


def _colours(images: ArrayLike) -> np.ndarray:
    """Images as (n, height, width, 3), in [0, 1]."""
    found = numbers(images, "images")
    found = found[:, None] if found.ndim == 3 else found
    if found.ndim != 4 or found.shape[1] not in (1, 3):
        raise UserError(f"images (n, height, width) or (n, 1 or 3, height, width) are needed, got {found.shape}")
    if not (np.isfinite(found).all() and found.min(initial=0) >= 0 and found.max(initial=0) <= 1):
        raise UserError("images in [0, 1] are needed: undo their normalisation")
    return np.broadcast_to(found, (len(found), 3, *found.shape[2:])).transpose(0, 2, 3, 1)
