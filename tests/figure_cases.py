"""Figures of made-up groups of runs, and what is measured of them as they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from orthotrace.analysis.figures.accuracy import accuracy_over_tasks
from orthotrace.analysis.figures.capacity import capacity_by_layer
from orthotrace.analysis.figures.consistency import consistency_by_layer
from orthotrace.analysis.figures.correspondence import layer_correspondence
from orthotrace.analysis.figures.facets import Facets
from orthotrace.analysis.figures.inside import accuracy_inside
from orthotrace.analysis.figures.layers import values_by_layer
from orthotrace.analysis.figures.matrices import accuracy_matrices
from orthotrace.analysis.figures.rdms import rdm_maps
from orthotrace.analysis.figures.scaling import rdms_in_a_plane
from orthotrace.analysis.figures.swept import score_by_value
from orthotrace.analysis.inference.ceilings import Ceiling
from orthotrace.analysis.studies.consistency import pair_mean
from orthotrace.analysis.studies.findings import Correspondence
from orthotrace.results.heat_map import untaught

METHODS = ("finetune", "hlop", "gpm", "sgp", "er", "derpp", "ewc_online", "lwf", "si", "owm", "nscl", "trgp")
LAYERS = ("relu1", "relu2", "head")
DEEP = tuple(f"layer{block}.{part}.conv{number}" for block in (1, 2) for part in (0, 1) for number in (1, 2))
CLASSES = tuple("0123456789")


def facets_of(groups: int) -> Facets:
    """Three or twelve methods in one panel; eight groups are four methods in two scenarios."""
    if groups != 8:
        return Facets.one(METHODS[:groups] if groups < 13 else [f"gpm, energy=0.{number}" for number in range(groups)])
    scenarios = ("class", "domain")
    return Facets(
        {f"{one}-incremental": {f"{name}, scenario={one}": name for name in METHODS[:4]} for one in scenarios}
    )


def drawings(facets: Facets, layers: tuple[str, ...] = LAYERS, tasks: int = 5) -> dict[str, Callable[[], Any]]:
    """Every figure of an analysis that has a mark, or a panel, for each group."""
    rng = np.random.default_rng(0)
    labels = facets.labels
    symmetric = [rng.uniform(0.2, 0.9, (4, 4)) for _ in range(len(labels) * len(layers))]
    means = iter([pair_mean((one + one.T) / 2) for one in symmetric])
    pairs = {label: {layer: next(means) for layer in layers} for label in labels}
    seeds = {label: [rng.random((tasks, tasks)) for _ in range(3)] for label in labels}
    values = {label: {layer: rng.uniform(-0.1, 0.5, 3).tolist() for layer in layers} for label in labels}
    gauge = {"features": 600, "rank": np.linspace(1, 333.4, tasks).tolist()}
    courses = {
        label: [
            {(task, step): rng.random(task).tolist() for task in range(1, tasks + 1) for step in range(5, 26, 5)}
            for _ in range(2)
        ]
        for label in labels
    }
    rdms = {label: {layer: rng.random(190) for layer in layers} for label in labels}
    shares = tuple(map(tuple, rng.dirichlet(np.ones(len(layers)), len(layers)).tolist()))
    networks = [(label, f"{label} {seed}") for label in labels for seed in range(2)]
    swept = {
        label: {10.0**power: {"acc": rng.random(3).tolist(), "bwt": rng.random(3).tolist()} for power in range(-4, 1)}
        for label in labels
    }
    blank = {label: untaught(tasks, "class") for label in labels}
    return {
        "accuracy": lambda: accuracy_over_tasks(seeds, facets),
        "matrices": lambda: accuracy_matrices(seeds, blank),
        "capacity": lambda: capacity_by_layer({label: [dict.fromkeys(layers, gauge)] for label in labels}),
        "consistency": lambda: consistency_by_layer(pairs, facets=facets),
        "similarity": lambda: consistency_by_layer(pairs, "linear_cka", None, facets),
        "reference": lambda: values_by_layer(values, "Agreement with brain (spearman)", Ceiling(-0.1, 0.3), facets),
        "correspondence": lambda: layer_correspondence(
            dict.fromkeys(labels, Correspondence(tuple(layers), 0.5, shares))
        ),
        "rdms": lambda: rdm_maps(rdms, CLASSES, 2),
        "mds": lambda: rdms_in_a_plane(rng.random((len(networks) * len(layers), 2)), networks, layers, 0.2, facets),
        "inside": lambda: accuracy_inside(courses, facets),
        "sweep": lambda: score_by_value(swept, "optimizer.lr"),
    }


def texts_of(figure: Figure) -> list[Text]:
    """What is written: labels, titles, ticks, legends and cells, that can be seen."""
    shown = [
        one
        for one in figure.findobj(Text)
        if one.get_visible() and one.get_text().strip() and (one.axes is None or one.axes.get_visible())
    ]
    # Ticks beyond the limits of an axis are kept by matplotlib, and not drawn.
    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            drawn = axis._update_ticks()
            hidden |= {
                id(label)
                for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
                for label in (tick.label1, tick.label2)
            }
            hidden -= {id(label) for tick in drawn for label in (tick.label1, tick.label2)}
    return [one for one in shown if id(one) not in hidden]


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that lie on each other, and texts that leave the figure, as they are drawn."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    shown = texts_of(figure)
    texts = [one.get_text() for one in shown]
    x0, y0, x1, y1 = np.array([one.get_window_extent(renderer).extents for one in shown]).T
    # A tenth of a point: boxes have rounded edges.
    slack = 0.1 * figure.dpi / 72
    across = np.minimum.outer(x1, x1) - np.maximum.outer(x0, x0)
    up = np.minimum.outer(y1, y1) - np.maximum.outer(y0, y0)
    found = [(texts[i], texts[j]) for i, j in np.argwhere((across > slack) & (up > slack)) if i < j]
    width, height = figure.bbox.size
    outside = (x0 < -slack) | (y0 < -slack) | (x1 > width + slack) | (y1 > height + slack)
    return found + [(texts[i], "edge") for i in np.flatnonzero(outside)]


def legend_share(figure: Figure) -> float:
    """Share of the height that legends take."""
    renderer = figure.canvas.get_renderer()
    return sum(one.get_window_extent(renderer).height for one in figure.legends) / figure.bbox.height
