"""Figures of RDMs across networks: images as each network sees them, all RDMs against each other, what is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orthotrace.analysis.figures.concept_study import slug
from orthotrace.analysis.figures.images import images_in_a_plane
from orthotrace.analysis.figures.layer_similarity import layer_by_layer
from orthotrace.analysis.figures.second_level import second_level
from orthotrace.analysis.figures.steps import drift_over_tasks
from orthotrace.analysis.networks.names import names_of
from orthotrace.analysis.rdm.triangles import places_of
from orthotrace.analysis.rdm.undefined import undefined

if TYPE_CHECKING:
    from orthotrace.analysis.figures.scores import Drawings
    from orthotrace.analysis.networks.runs import Network, Stimuli
    from orthotrace.analysis.studies.rdm_drift import Drift

# Of a group as many networks, and as many images, are drawn in planes: more hide each other.
NETWORKS, IMAGES = 3, 100
# More RDMs than this are too small to see, and their numbers too many.
RDMS = 600

# (network, layer) of each RDM, and the correlations between them.
Compared = tuple[list[tuple["Network", str]], NDArray[np.float64]]


def drawings_of_rdms(
    compared: Compared,
    layers: Sequence[str],
    groups: Sequence[str],
    stimuli: Stimuli,
    drift: Drift,
    along: str = "task",
) -> Drawings:
    """What is drawn of the RDMs after one task, and of their drift over tasks, or epochs."""
    drawings: Drawings = {}
    own = compared[0]
    if not own:
        return drawings
    task = own[0][0].task
    # Networks of another architecture have other layers.
    had = {
        group: [layer for layer in layers if any(layer in one.rdms for one, _ in own if one.method == group)]
        for group in groups
    }
    for group in groups:
        found = _seen(own, had[group], group, stimuli)
        if found is not None:
            rdms, labels, names = found
            drawings[f"images-{slug(group)}"] = (
                f"Images as networks of {group} see them after task {task}: metric multidimensional scaling of "
                f"{len(labels)} test images by the RDM of each layer (columns) of {len(names)} networks (rows). Within "
                "a layer, networks are turned, reflected and scaled onto their mean (Procrustes). Colour and marker "
                "are the class, crosses the means of classes.",
                lambda rdms=rdms, labels=labels, names=names: images_in_a_plane(rdms, labels, stimuli.classes, names),
            )
    if 2 < len(own) <= RDMS:
        networks, names, matrix = _by_layer(compared, layers, groups)
        drawings["second-level"] = (
            f"The RDMs of all networks and layers after task {task}, compared with each other: Pearson correlations. "
            f"Layers are blocks, within each the networks of {', '.join(groups)} in this order; thick white lines part "
            "layers, thin ones groups. Grey: cannot be compared.",
            lambda: second_level(matrix, [(one.method, names[one.run.folder]) for one in networks], layers),
        )
    pairs = {
        group: between
        for group in groups
        if len(had[group]) > 1 and (between := _between_layers(compared, had[group], group)) is not None
    }
    if pairs:
        drawings["layer-similarity"] = (
            f"Similarity of every layer of one network (rows, the first lowest) to every layer of another seed "
            f"(columns) after task {task}: Pearson correlation of their RDMs, mean over pairs of networks.",
            lambda: layer_by_layer({group: (values, had[group], had[group]) for group, values in pairs.items()}),
        )
    if drift:
        drawings["drift"] = (
            "What networks keep of their representations while they learn: squared Pearson correlation of the RDM of "
            "each layer with that of the same network after the first analysed task. Lines are means over seeds, bars "
            "intervals by Student's t; colours go from the first layer (dark) to the last (light).",
            lambda: drift_over_tasks({group: drift[group] for group in groups if group in drift}, along=along),
        )
    return drawings


def _seen(
    own: Sequence[tuple[Network, str]], layers: Sequence[str], group: str, stimuli: Stimuli
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.intp], list[str]] | None:
    """RDMs of the first networks of a group that have all layers, of some images of each class that all have."""
    every = {id(one): one for one, _ in own if one.method == group and len(one.rdms) == len(layers)}
    networks = list(every.values())[:NETWORKS]
    if not networks or len(stimuli.classes) < 2:
        return None
    missing = np.any([undefined(one.rdms[layer]) for one in networks for layer in layers], axis=0)
    labels = np.unique(stimuli.labels.numpy(), return_inverse=True)[1]
    most = max(1, IMAGES // len(stimuli.classes))
    places = np.concatenate(
        [np.flatnonzero((labels == number) & ~missing)[:most] for number in range(len(stimuli.classes))]
    )
    if len(places) < 3:
        return None
    first, second = (places[one] for one in np.triu_indices(len(places), 1))
    entries = places_of(first, second, len(labels))
    rdms = {layer: np.stack([one.rdms[layer][entries] for one in networks]) for layer in layers}
    if any(np.isnan(stack).any() or (stack.max(axis=1) <= 0).any() for stack in rdms.values()):
        return None
    names = names_of(one.run.folder for one, _ in own)
    return rdms, labels[places], [_short(names[one.run.folder], number) for number, one in enumerate(networks)]


def _short(name: str, number: int) -> str:
    """The name of a run where it is short, else its number."""
    return name if len(name) <= 16 else f"network {number + 1}"


def _by_layer(
    compared: Compared, layers: Sequence[str], groups: Sequence[str]
) -> tuple[list[Network], Mapping[Any, str], NDArray[np.float64]]:
    """The correlations with the networks of a layer together, NaN where a network lacks a layer."""
    own, values = compared
    every = {id(one): one for one, _ in own}
    networks = [one for group in groups for one in every.values() if one.method == group]
    at = {(id(one), layer): place for place, (one, layer) in enumerate(own)}
    places = [at.get((id(one), layer), -1) for layer in layers for one in networks]
    there = np.array(places) >= 0
    matrix = np.where(np.outer(there, there), values[np.ix_(places, places)], np.nan)
    return networks, names_of(one.run.folder for one in networks), matrix


def _between_layers(compared: Compared, layers: Sequence[str], group: str) -> NDArray[np.float64] | None:
    """Mean over ordered pairs of networks of a group, (layers, layers); None of fewer than two networks or layers."""
    networks, _, matrix = _by_layer(compared, layers, [group])
    count = len(networks)
    if count < 2 or len(layers) < 2:
        return None
    blocks = matrix.reshape(len(layers), count, len(layers), count).transpose(0, 2, 1, 3)
    pairs = blocks[:, :, ~np.eye(count, dtype=bool)]
    known = ~np.isnan(pairs)
    total = np.where(known, pairs, 0).sum(axis=2)
    return np.where(known.any(axis=2), total / np.maximum(known.sum(axis=2), 1), np.nan)
