"""The images within each layer, in a plane: as every network sees them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.figures.facets import legend_above
from orthotrace.analysis.figures.style import Drawn, canvas, figure_function, look, now, pt
from orthotrace.analysis.figures.text import filled, shown
from orthotrace.analysis.rdm.arrays import numbers
from orthotrace.analysis.rdm.mds import aligned, smacof
from orthotrace.analysis.rdm.triangles import square
from orthotrace.core.errors import UserError

# Times that networks are aligned to their mean.
ROUNDS = 5


@figure_function
def images_in_a_plane(
    rdms: Mapping[str, ArrayLike], labels: ArrayLike, classes: Sequence[str], networks: Sequence[str]
) -> Drawn:
    """Metric scaling of the images by their RDM, layers beside and networks below each other, coloured by class.

    Within a layer the planes of the networks are moved, turned, reflected and scaled onto their mean, so that what
    differs is the networks. Crosses are the means of classes.

    Args:
        rdms: layer -> upper triangles of RDMs, (networks, m).
        labels: class of each image, (n,), from 0.
        classes: names.
        networks: names, in the order of the RDMs.

    Returns:
        The figure, and the points with their class and the stress-1 of their plane.

    Raises:
        UserError: RDMs of another number of images than labels, of another number of networks than names, or with
            missing entries.
    """
    of_class = np.asarray(labels)
    planes = {layer: _planes(numbers(stack, "rdms"), layer, len(of_class), networks) for layer, stack in rdms.items()}
    lines, columns = len(networks), len(planes)
    wide = now().single if columns * 1.0 <= now().single else now().double
    each = min((wide - 0.2) / columns, 1.6, (now().tall - 0.4) / lines)
    figure = canvas(wide, lines * each + 0.25)
    panels = figure.subplots(lines, columns, squeeze=False)
    rows: list[dict[str, Any]] = []
    letters = max(8, int(each / 0.055))
    size = pt(1) ** 2 * float(np.clip(60 * each / np.sqrt(len(of_class)), 1.5, 9))
    for column, (layer, (found, stresses)) in enumerate(planes.items()):
        half = 1.05 * float(np.abs(found).max())
        panels[0, column].set_title(filled(layer, letters))
        for line, (name, points) in enumerate(zip(networks, found, strict=True)):
            axes = panels[line, column]
            for number in range(len(classes)):
                own, style = points[of_class == number], look(number)
                inside = style.get("markerfacecolor", style["color"])
                axes.scatter(*own.T, size, inside, marker=style["marker"], edgecolors=style["color"],
                             linewidths=pt(0.4) if inside == "white" else 0)  # fmt: skip
                if len(own) > 1:
                    axes.plot(*own.mean(axis=0), "x", color="black", markersize=pt(3.2), markeredgewidth=pt(0.7))
            axes.set(xticks=[], yticks=[], xlim=(-half, half), ylim=(-half, half), aspect="equal")
            axes.spines[:].set_visible(True)
            if column == 0:
                axes.set_ylabel(filled(name, max(10, int(each / 0.06))), size=pt(6))
            rows += [
                {
                    "layer": layer, "network": name, "image": image, "class": classes[of_class[image]],
                    "x": x, "y": y, "stress": stresses[line],
                }
                for image, (x, y) in enumerate(points.tolist())
            ]  # fmt: skip
    handles = [Line2D([], [], label=shown(name), **{**look(i), "linestyle": ""}) for i, name in enumerate(classes)]
    legend_above(figure, handles)
    return figure, rows


def _planes(
    stack: NDArray[np.float64], layer: str, images: int, networks: Sequence[str]
) -> tuple[NDArray[np.float64], list[float]]:
    """The points of every network, (networks, images, 2), aligned to their mean, and the stress of each plane."""
    if stack.ndim != 2 or len(stack) != len(networks) or stack.shape[1] != images * (images - 1) // 2:
        raise UserError(
            f"layer {layer}: RDMs of {len(networks)} networks and {images} images are needed, got {stack.shape}"
        )
    if not np.isfinite(stack).all():
        raise UserError(f"layer {layer}: an RDM has missing entries: leave out the images that have none")
    made = [smacof(square(np.clip(one, 0, None)), iterations=300, tolerance=1e-6) for one in stack]
    # Of one size: the first is the frame in which the mean is found.
    found = np.stack([points / np.linalg.norm(points) for points, _ in made])
    middle = found[0]
    for _ in range(ROUNDS):
        found = np.stack([aligned(points, middle) for points in found])
        middle = found.mean(axis=0)
        middle = middle / np.linalg.norm(middle)
    return found, [stress for _, stress in made]
