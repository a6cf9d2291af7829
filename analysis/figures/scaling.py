"""All RDMs in a plane, with a line for each network."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from orthotrace.analysis.figures.facets import Facets
from orthotrace.analysis.figures.style import Drawn, canvas, figure_function, letter, now, pt
from orthotrace.analysis.figures.text import shown as written

# Areas of the first and the last layer, in points squared.
AREAS = (7, 26)
# Panels beside each other.
BESIDE = 3


@figure_function
def rdms_in_a_plane(
    points: NDArray[np.float64],
    networks: Sequence[tuple[str, str]],
    layers: Sequence[str],
    stress: float,
    facets: Facets | None = None,
) -> Drawn:
    """Every RDM a point, its layers joined for each network; colour and marker are the method, its size the layer.

    Points are (networks x layers, 2), the layers of a network together, NaN where it has none; networks (method, name);
    the stress is stress-1. All facets have the same axes.
    """
    methods = list(dict.fromkeys(method for method, _ in networks))
    facets = facets or Facets.one(methods)
    shown = facets.within(methods)
    lines = -(-len(shown) // BESIDE)
    columns = -(-len(shown) // lines)
    width = now().single if columns == 1 else now().double
    figure = canvas(width, lines * min(width / columns, now().single))
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    sizes = np.linspace(*AREAS, len(layers))
    rows = []
    by_network = points.reshape(len(networks), len(layers), 2)
    for number, (axes, (facet, of)) in enumerate(zip(panels.flat, shown.items(), strict=False)):
        for (method, name), line in zip(networks, by_network, strict=True):
            if method not in of:
                continue
            look = facets.look(of[method])
            there = ~np.isnan(line[:, 0])
            x, y = line[there].T
            axes.plot(x, y, look["linestyle"], color=look["color"], linewidth=pt(0.6), alpha=0.6, zorder=1)
            inside = look.get("markerfacecolor", look["color"])
            axes.scatter(
                x, y, sizes[there] * (look["markersize"] / 4) ** 2, inside, marker=look["marker"], zorder=2,
                linewidths=pt(0.7 if inside == "white" else 0.3),
                edgecolors=look["color"] if inside == "white" else "white",
            )  # fmt: skip
            rows += [
                {"method": method, "network": name, "layer": layer, "x": float(x), "y": float(y)}
                for layer, (x, y) in zip(layers, line, strict=True)
                if not np.isnan(x)
            ]
        axes.set_title(written(facet))
        axes.set_aspect("equal", adjustable="box")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
        if len(shown) > 1:
            letter(axes, number)
    # One square around all points, so that panels are as large as they can be.
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    half = 0.55 * max(float((high - low).max()), 1e-12)
    panels[0, 0].set_xlim((low + high)[0] / 2 - half, (low + high)[0] / 2 + half)
    panels[0, 0].set_ylim((low + high)[1] / 2 - half, (low + high)[1] / 2 + half)
    for axes in panels.flat[len(shown) :]:
        axes.set_visible(False)
    figure.supxlabel(f"MDS of 1 − r between RDMs (stress-1 {stress:.2f})")
    facets.legend(figure, methods)
    return figure, rows
