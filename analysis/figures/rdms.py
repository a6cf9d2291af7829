"""RDMs as heat maps, sorted by class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orthotrace.analysis.figures.layers import all_layers
from orthotrace.analysis.figures.style import Drawn, canvas, figure_function, now, pt
from orthotrace.analysis.figures.text import filled, shown
from orthotrace.analysis.rdm.triangles import square
from orthotrace.analysis.rdm.undefined import undefined

# Inches: of a letter of 5 points, between maps, and around them for names and the scale.
LETTER, GAP = 0.045, 0.07
LEFT, RIGHT, TOP, BOTTOM = 0.5, 0.65, 0.4, 0.2
# Inches of a map in which something can be seen.
LEAST = 0.55


@figure_function
def rdm_maps(
    rdms: Mapping[str, Mapping[str, NDArray[np.float64]]],
    classes: Sequence[str],
    per_class: int,
    measure: str = "1 − r",
) -> Drawn:
    """Heat maps, the layers of a method beside each other, with a tick for each class.

    Args:
        rdms: method -> layer -> RDM (upper triangle), its stimuli sorted by class; NaN is drawn grey, and a layer that
            a method lacks is left blank.
        classes: names in the order of the stimuli.
        per_class: stimuli of each.
        measure: of dissimilarity, in words.

    Returns:
        The figure, and the mean dissimilarity between each pair of classes: of the stimuli themselves there would be
        too many numbers; they are in rdms/.
    """
    layers = all_layers(rdms)
    blocks, size, wide = _blocks(len(rdms), len(layers))
    lines = -(-len(rdms) // blocks)
    side = LEFT + wide * (size + GAP)
    width = now().single if blocks * side + RIGHT <= now().single else now().double
    letters = max(6, int(size / LETTER / 1.5))
    titles = [filled(layer, letters) for layer in layers]
    head = 0.1 + 0.13 * max(title.count("\n") + 1 for title in titles)
    # Many layers are broken into parts, one below the other.
    part = head + lines * (size + GAP) + BOTTOM
    height = -(-len(layers) // wide) * part
    figure = canvas(width, height, layout=None)
    # In the middle, where maps of the largest size leave room.
    aside = max(0.0, (width - blocks * side - RIGHT) / 2)
    top = max(float(np.nanmax(rdm)) for by_layer in rdms.values() for rdm in by_layer.values())
    middles = (np.arange(len(classes)) + 0.5) * per_class - 0.5
    # Names of classes have room where they are few and short.
    named = len(classes) * (max(map(len, classes)) + 1) * LETTER < 0.8 * size and max(map(len, classes)) < 4
    rows = []
    for number, (method, by_layer) in enumerate(rdms.items()):
        line, block = divmod(number, blocks)
        for column, layer in enumerate(layers):
            first = column - column % wide
            left = aside + block * side + LEFT + (column - first) * (size + GAP)
            below = height - column // wide * part - head - line * (size + GAP) - size
            # Maps are square, and have their places: a layout engine takes seconds for many.
            axes = figure.add_axes((left / width, below / height, size / width, size / height))
            if line == 0:
                axes.set_title(titles[column], pad=pt(3))
            if column == first:
                axes.text(
                    -0.3 / size, 0.5, filled(method, letters, break_long_words=False), rotation=90, size=pt(6),
                    ha="center", va="center", transform=axes.transAxes, linespacing=1.1,
                )  # fmt: skip
            if layer not in by_layer:
                axes.set_axis_off()
                continue
            matrix = square(by_layer[layer])
            np.fill_diagonal(matrix, np.where(undefined(by_layer[layer]), np.nan, 0))
            axes.set_facecolor("0.8")
            axes.imshow(matrix, cmap="viridis", vmin=0, vmax=top, interpolation="nearest")
            # Beside and below the outermost map that is there.
            leftmost = not any(other in by_layer for other in layers[first:column])
            lowest = not any(layer in other for other in list(rdms.values())[number + blocks :: blocks])
            axes.set_xticks(middles, list(map(shown, classes)) if named and lowest else [""] * len(classes))
            axes.set_yticks(middles, list(map(shown, classes)) if named and leftmost else [""] * len(classes))
            axes.tick_params(length=0 if named else pt(1), labelsize=pt(5), pad=pt(1.5))
            axes.spines[:].set_visible(False)
            rows += _between(matrix, method, layer, classes, per_class)
    tall = min(height - head - BOTTOM, 2.0)
    bar = figure.add_axes(
        (
            (aside + blocks * side + 0.12) / width,
            (height - head + BOTTOM - tall) / 2 / height,
            0.1 / width,
            tall / height,
        )
    )
    image = next(axes.images[0] for axes in figure.axes if axes.images)
    figure.colorbar(image, cax=bar, label=shown(f"Dissimilarity ({measure})"))
    return figure, rows


def _blocks(methods: int, layers: int) -> tuple[int, float, int]:
    """How many methods stand beside each other, inches of a map, and layers in a line.

    Maps are as large as a page allows; layers are broken into parts where they would be too small in one line.

    Example:
        >>> [_blocks(methods, layers)[::2] for methods, layers in ((3, 2), (12, 2), (2, 20))]
        [(1, 2), (2, 2), (1, 7)]
    """

    def size(blocks: int) -> float:
        along = ((now().double - RIGHT) / blocks - LEFT) / layers - GAP
        return min(along, (now().tall - TOP - BOTTOM) / -(-methods // blocks) - GAP, 1.6)

    best = max(range(1, methods + 1), key=lambda blocks: (round(size(blocks), 3), -blocks))
    if size(best) >= LEAST:
        return best, size(best), layers

    def folded(wide: int) -> float:
        along = (now().double - RIGHT - LEFT) / wide - GAP
        parts = -(-layers // wide)
        return min(along, ((now().tall / parts - TOP - BOTTOM) / methods) - GAP, 1.6)

    wide = max(range(1, layers + 1), key=lambda wide: (round(folded(wide), 3), wide))
    return (1, folded(wide), wide) if folded(wide) > size(best) else (best, size(best), layers)


def _between(
    matrix: NDArray[np.float64], method: str, layer: str, classes: Sequence[str], per_class: int
) -> list[dict[str, Any]]:
    count = len(classes)
    # Within a class a stimulus is not compared with itself.
    there = ~np.isnan(matrix) & ~np.eye(len(matrix), dtype=bool)
    total, number = (
        values.reshape(count, per_class, count, per_class).sum(axis=(1, 3))
        for values in (np.where(there, matrix, 0), there.astype(int))
    )
    return [
        {"method": method, "layer": layer, "class": classes[i], "other": classes[j], "mean": total[i, j] / number[i, j]}
        for i in range(count)
        for j in range(i, count)
        if number[i, j]
    ]
