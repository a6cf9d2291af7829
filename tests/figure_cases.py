"""Figures of made-up groups of runs, and what is measured of them as they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from orthotrace.analysis import figures
from orthotrace.analysis.concepts.axes import axis_correlations, separability
from orthotrace.analysis.concepts.importance import Importance
from orthotrace.analysis.concepts.purity import purity
from orthotrace.analysis.figures.facets import Facets
from orthotrace.analysis.inference.ceilings import Ceiling
from orthotrace.analysis.inference.evaluation import evaluate
from orthotrace.analysis.studies.consistency import pair_mean
from orthotrace.analysis.studies.factors import FactorShare
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
    over = {
        label: {
            layer: {step: pair_mean(np.full((3, 3), rng.random()) + 0.1 * np.eye(3)) for step in (1, 2, 4, 8)}
            for layer in layers
        }
        for label in labels[:4]
    }
    rising = np.logspace(-4, 0, 40).tolist()
    ranged = {
        label: [
            {"rate": rising, "smoothed": rng.random(40).tolist(), "accuracy": rng.random(40).tolist(), "lower": 1e-3,
             "upper": 0.1}
        ]
        for label in labels
    }  # fmt: skip
    neurons = {layer: {"firing_rate": rng.uniform(0, 0.3, tasks).tolist()} for layer in layers}
    weights = {
        f"fc{number}": {"synaptic_operations": (1e5 * rng.random(tasks)).tolist(), "multiply_adds": [2e5] * tasks}
        for number in (1, 2)
    }
    windows = {
        label: {layer: dict(zip(((1, 2), (3, 4), (5, 6)), of.values(), strict=False)) for layer, of in by_layer.items()}
        for label, by_layer in over.items()
    }
    spread = [{label: rng.uniform(0.5, 1, 3).tolist() for label in labels} for _ in range(2)]
    blank = {label: untaught(tasks, "class") for label in labels}
    return {
        "accuracy": lambda: figures.accuracy_over_tasks(seeds, facets),
        "matrices": lambda: figures.accuracy_matrices(seeds, blank),
        "capacity": lambda: figures.capacity_by_layer({label: [dict.fromkeys(layers, gauge)] for label in labels}),
        "consistency": lambda: figures.consistency_by_layer(pairs, facets=facets),
        "similarity": lambda: figures.consistency_by_layer(pairs, "linear_cka", None, facets),
        "reference": lambda: figures.values_by_layer(
            values, "Agreement with brain (spearman)", Ceiling(-0.1, 0.3), facets
        ),
        "correspondence": lambda: figures.layer_correspondence(
            dict.fromkeys(labels, Correspondence(tuple(layers), 0.5, shares))
        ),
        "rdms": lambda: figures.rdm_maps(rdms, CLASSES, 2),
        "mds": lambda: figures.rdms_in_a_plane(
            rng.random((len(networks) * len(layers), 2)), networks, layers, 0.2, facets
        ),
        "inside": lambda: figures.accuracy_inside(courses, facets),
        "range-test": lambda: figures.loss_over_rates(ranged, facets),
        "sweep": lambda: figures.score_by_value(swept, "optimizer.lr"),
        "exemplars": lambda: figures.exemplar_against_centroid(pairs, pairs),
        "layers": lambda: figures.layer_by_layer(
            {label: (np.array(shares) ** 0.5, layers, layers) for label in labels[:4]}, networks=("seed 0", "seed 1")
        ),
        "second-level": lambda: figures.second_level(
            np.corrcoef(rng.random((len(networks) * len(layers), 40))), networks, layers
        ),
        "tradeoff": lambda: figures.stability_against_plasticity(spread[0], spread[1], facets),
        "agreement": lambda: figures.consistency_against_accuracy(
            {
                label: {str(one): (pairs[label][layers[0]], pairs[label][layers[-1]]) for one in (1, 2)}
                for label in labels
            }
        ),
        "trajectory": lambda: figures.trajectory(over),
        "dropout": lambda: figures.dropout_sampling(over),
        "windows": lambda: figures.consistency_over_time(windows),
        "activity": lambda: figures.activity_by_layer(
            {label: [{**neurons, **weights}, {**neurons, **weights}] for label in labels[:4]}
        ),
        "drift": lambda: figures.drift_over_tasks(over),
        "factors": lambda: figures.shares_by_layer(
            {
                name: {
                    layer: FactorShare(1, layer, name, 3, 0.4, 0.4, 0.1, 0.7, ("method",), 9, 0.95) for layer in layers
                }
                for name in ("method", "seeds.init", "residual")
            }
        ),
        "readout": lambda: figures.readout_diagnosis(
            {
                label: {name: rng.random((3, tasks)) for name in ("trained", "refitted", "aligned")}
                for label in labels[:4]
            },
            chance=0.1,
        ),
    }


def other_drawings(names: Sequence[str]) -> dict[str, Callable[[], Any]]:
    """Every figure whose marks are no groups: images, models, concepts; with these names, nine or more."""
    rng = np.random.default_rng(0)
    truth, has = rng.random(190), rng.random((60, 6)) < 0.4
    concepts, classes = names[:6], names[:8]
    models = evaluate({name: truth + size * rng.random(190) for size, name in enumerate(names[:5])},
                      truth + 0.5 * rng.random((6, 190)))  # fmt: skip
    purities = [[purity(strength * has + rng.standard_normal(has.shape), has) for _ in range(2)] for strength in (1, 2)]
    ratios = rng.uniform(0.5, 3, (8, 6))
    weight = Importance(
        tuple(range(6)), ratios[0], 0 * ratios[0], tuple(range(7)), ratios[1:], 0 * ratios[1:], 0.1, np.ones(7), 5
    )
    features = rng.standard_normal((60, 8)) + 1
    active = rng.standard_normal((60, 6))
    return {
        "images": lambda: figures.images_in_a_plane(
            {layer: rng.random((2, 190)) for layer in LAYERS}, np.arange(20) % 8, classes, names[:2]
        ),
        "models": lambda: figures.model_comparison(models),
        "purity": lambda: figures.purity_by_concept(dict(zip(names, purities, strict=False)), concepts),
        "concepts": lambda: figures.concepts_over_tasks(
            {name: rng.random((3, 5, 6)) for name in names[:3]}, concepts, "Angle of the axis (degrees)"
        ),
        "top": lambda: figures.top_images_grid(rng.random((60, 8, 8)), active, concepts, has, 8),
        "slice": lambda: figures.slice_of_axes(active, (0, 1), concepts, has),
        "separability": lambda: figures.separability_maps(
            {name: separability(features, has) for name in names[:2]}, concepts
        ),
        "correlations": lambda: figures.correlation_maps({names[0]: axis_correlations(active)}, concepts),
        "importance": lambda: figures.importance_by_class([weight], concepts, [names[:7]]),
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
    renderer = figure._get_renderer()
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
    renderer = figure._get_renderer()
    return sum(one.get_window_extent(renderer).height for one in figure.legends) / figure.bbox.height


def look_alikes(figure: Figure, names: Sequence[str]) -> int:
    """How many groups of a legend are missing, or look as another one, in colour or in grey."""
    handles = [one for legend in figure.legends for one in legend.legend_handles]
    looks = {(str(one.get_color()), str(one.get_marker()), str(one.get_markerfacecolor())) for one in handles}
    grey = {(str(one.get_marker()), one.get_markerfacecolor() == "white") for one in handles}
    return max(len(names), len(handles)) - min(len(looks), len(grey))
