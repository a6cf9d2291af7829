"""All figures of an analysis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np

from analysis.compare import pearson
from analysis.consistency import PairMean
from analysis.figures.accuracy import accuracy_over_tasks
from analysis.figures.capacity import capacity_by_layer
from analysis.figures.consistency import consistency_by_layer
from analysis.figures.matrices import accuracy_matrices
from analysis.figures.rdms import rdm_maps
from analysis.figures.scaling import rdms_in_a_plane
from analysis.figures.style import save, styled
from analysis.mds import smacof

if TYPE_CHECKING:
    from analysis.runs import Network, Stimuli
    from orthotrace.summary import Group

NAMES = ("accuracy", "capacity", "consistency", "matrices", "mds", "rdms")

# (method, task) -> layer -> mean over the pairs of seeds.
Consistent = dict[tuple[str, int], dict[str, PairMean]]


def draw(
    folder: Path, grouped: Sequence[Group], stimuli: Stimuli, networks: Sequence[Network], consistent: Consistent
) -> tuple[dict[str, Path], dict[str, Any] | None]:
    """Draw all figures, of the last task that was chosen where one task is shown.

    Returns:
        Caption -> PNG, and the points of the plane, None where there are too few RDMs for one.
    """
    matrices = {group.label: [np.array(run.scores["accuracy"]) for run in group.runs] for group in grouped}
    last = max(network.task for network in networks)
    shown = [network for network in networks if network.task == last]
    layers = list(shown[0].rdms)
    means: dict[str, dict[str, Any]] = {}
    for group in grouped:
        rdms = [network.rdms for network in shown if network.method == group.label]
        if rdms:
            means[group.label] = {layer: np.mean([one[layer] for one in rdms], axis=0) for layer in layers}
    rdms_shown = [network.rdms[layer] for network in shown for layer in layers]
    between = {method: by_layer for (method, task), by_layer in consistent.items() if task == last}
    names = [(network.method, network.run.folder.name) for network in shown]
    seeds = "over seeds" if any(len(group.runs) > 1 for group in grouped) else "of one seed"
    as_task = "" if stimuli.task is None else f" as task {stimuli.task} shows them"
    drawings: dict[str, tuple[str, Any]] = {
        "accuracy": (
            f"Accuracy over the tasks. a, mean test accuracy on the tasks learned so far. b, test accuracy on the "
            f"first task. Lines are means {seeds}, bands ± 1 s.d.",
            lambda: accuracy_over_tasks(matrices),
        ),
        "matrices": (
            "Test accuracy on every task after every task, mean over seeds.",
            lambda: accuracy_matrices(matrices),
        ),
        "rdms": (
            f"Representational dissimilarity (1 − r) of {len(stimuli.labels)} test images{as_task}, sorted by "
            f"class, after task {last}, mean over seeds.",
            lambda: rdm_maps(means, stimuli.classes, stimuli.per_class),
        ),
    }
    capacities = {
        group.label: [run.scores["capacity"] for run in group.runs]
        for group in grouped
        if group.runs[0].scores["capacity"]
    }
    if capacities:
        drawings["capacity"] = (
            f"Capacity: the share of the directions of each layer's input that are held after each task, and how many, "
            f"mean {seeds}.",
            lambda: capacity_by_layer(capacities),
        )
    plane: dict[str, Any] | None = None
    # Two points lie on a line, whatever their distance.
    if len(rdms_shown) > 2:
        apart = 1 - pearson(rdms_shown)
        points, stress = smacof((apart + apart.T) / 2)
        drawings["mds"] = (
            f"All RDMs after task {last}, metric multidimensional scaling of 1 − r between them; a line joins the "
            "layers of a network.",
            lambda: rdms_in_a_plane(points, names, layers, stress),
        )
        places = [(*name, layer) for name in names for layer in layers]
        plane = {
            "task": last,
            "stress": stress,
            "points": [
                {"method": method, "run": run, "layer": layer, "x": x, "y": y}
                for (method, run, layer), (x, y) in zip(places, points.tolist(), strict=True)
            ],
        }
    if between:
        drawings["consistency"] = (
            f"Representational consistency between seeds, the shared variance of their RDMs, after task {last}. The "
            f"interval resamples networks, not pairs.",
            lambda: consistency_by_layer(between),
        )
    pictures = {}
    with styled():
        for name, (caption, make) in drawings.items():
            figure, rows = make()
            pictures[caption] = save(figure, folder, name, rows)
            plt.close(figure)
    # What an earlier analysis drew here and this one has no numbers for.
    for path in folder.iterdir():
        if path.stem in NAMES and path.stem not in drawings:
            path.unlink()
    return pictures, plane
