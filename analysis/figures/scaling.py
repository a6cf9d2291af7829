"""All RDMs in a plane, with a line for each network."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from orthotrace.analysis.figures.style import COLOURS, MARKERS, SINGLE, Drawn


def rdms_in_a_plane(
    points: NDArray[np.float64], networks: Sequence[tuple[str, str]], layers: Sequence[str], stress: float
) -> Drawn:
    """Every RDM a point, its layers joined for each network; colour is the method, the marker the layer.

    Points are (networks x layers, 2), the layers of a network together; networks (method, name); the stress is
    stress-1.
    """
    methods = list(dict.fromkeys(method for method, _ in networks))
    figure, axes = plt.subplots(figsize=(SINGLE, SINGLE), layout="constrained")
    rows = []
    by_network = points.reshape(len(networks), len(layers), 2)
    for (method, name), line in zip(networks, by_network, strict=True):
        colour = COLOURS[methods.index(method) % len(COLOURS)]
        axes.plot(line[:, 0], line[:, 1], "-", color=colour, linewidth=0.7, alpha=0.7, zorder=1)
        for number, (x, y) in enumerate(line):
            marker = MARKERS[number % len(MARKERS)]
            axes.plot(x, y, marker, color=colour, markeredgecolor="white", markeredgewidth=0.3, markersize=4)
        rows += [
            {"method": method, "network": name, "layer": layer, "x": float(x), "y": float(y)}
            for layer, (x, y) in zip(layers, line, strict=True)
        ]
    colours = [Line2D([], [], color=COLOURS[i % len(COLOURS)], label=name) for i, name in enumerate(methods)]
    markers = [
        Line2D([], [], linestyle="", marker=MARKERS[i % len(MARKERS)], color="0.3", label=name)
        for i, name in enumerate(layers)
    ]
    columns = max(1, int(SINGLE * 14 / (6 + max(map(len, methods)))))
    figure.set_figheight(SINGLE + 0.11 * -(-len(methods) // columns))
    figure.legend(handles=colours, loc="outside upper center", ncols=min(columns, len(methods)))
    figure.legend(handles=markers, loc="outside lower center", ncols=min(len(layers), 4))
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xticks=[], yticks=[], xlabel=f"MDS of 1 − r between RDMs (stress-1 {stress:.2f})")
    axes.spines[:].set_visible(True)
    return figure, rows
