"""Figures of the concept layers of an analysis."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from orthotrace.analysis.figures.concept_images import top_images_grid
from orthotrace.analysis.figures.concept_maps import correlation_maps, importance_by_class, separability_maps
from orthotrace.analysis.figures.concepts import concepts_over_tasks, purity_by_concept

if TYPE_CHECKING:
    from orthotrace.analysis.concepts.study import ConceptNetwork

MEANS = "Lines are means over seeds, bars ± 1 s.d."
# Axes of a matrix of correlations: the concepts', and as many free ones as stay readable.
AXES = 24
Drawing = tuple[str, Callable[[], Any]]


def concept_drawings(networks: Sequence[ConceptNetwork], view: int | None, along: str = "task") -> dict[str, Drawing]:
    """What is drawn of concept layers, of images as a task shows them: name -> caption, and what draws it."""
    from orthotrace.analysis.concepts.study import kinds, over_tasks, same

    found: dict[str, Drawing] = {}
    where = f"test images as task {view or 1} shows them"
    by_layer: dict[str, dict[str, list[ConceptNetwork]]] = {}
    for method, layer in kinds(networks):
        by_layer.setdefault(layer, {})[method] = same(networks, method, layer)
    for layer, methods in by_layer.items():
        end = f"-{slug(layer)}" if len(by_layer) > 1 else ""
        at = f"layer {layer}"
        for method, own in methods.items():
            evaluated = [one for one in own if one.evaluation is not None]
            concepts = evaluated[0].outputs.concepts
            after = f"after task {evaluated[0].task}"
            name = f"{slug(method)}{end}"
            found[f"concepts-purity-{name}"] = (
                f"Purity of the concepts of {method}, {at}, {after}: the area under the ROC curve against all other "
                f"{where}, of the concept's axis and of other detectors in the same network. Dots are networks, bars "
                f"{100 * level(evaluated):g} % intervals over images. The best filter, chosen on validation images, is "
                "a channel before the layer.",
                lambda evaluated=evaluated, concepts=concepts: purity_by_concept(by_detector(evaluated), concepts),
            )
            found[f"concepts-importance-{name}"] = (
                f"Importance of the concepts of {method}, {at}, {after}: the loss on test images of task {view or 1} "
                "where the concept's axis comes from another image, over the loss; mean over the networks whose task "
                "has the class.",
                lambda evaluated=evaluated, concepts=concepts: importance_by_class(
                    [one.importance for one in evaluated if one.importance is not None],
                    concepts,
                    [one.classes for one in evaluated],
                ),
            )
            shown = next((one for one in evaluated if one.pixels is not None), None)
            if shown is not None:
                found[f"concepts-images-{name}"] = (
                    f"Test images that activate each concept most, highest first: {method}, {at}, {after}, run "
                    f"{shown.run.folder.name}. Framed images lack the concept.",
                    lambda shown=shown: top_images_grid(
                        np.asarray(shown.pixels), shown.active, shown.outputs.concepts, shown.outputs.has["test"]
                    ),
                )
        firsts = {method: next(one for one in own if one.evaluation is not None) for method, own in methods.items()}
        concepts = next(iter(firsts.values())).outputs.concepts
        alike = {method: one for method, one in firsts.items() if one.outputs.concepts == concepts}
        found[f"concepts-separability{end}"] = (
            f"Similarity of the features of concepts, {at}: size of the mean cosine between images of two concepts, "
            "over those within each, which count each image with itself; the first network of each method.",
            lambda alike=alike, concepts=concepts: separability_maps(
                {method: one.evaluation.separate for method, one in alike.items() if one.evaluation}, concepts
            ),
        )
        found[f"concepts-correlations{end}"] = (
            f"Correlations |r| of the first axes of {at} over test images, those of the concepts first; the first "
            "network of each method.",
            lambda alike=alike, concepts=concepts: correlation_maps(
                {method: one.evaluation.correlations[:AXES, :AXES] for method, one in alike.items() if one.evaluation},
                concepts,
            ),
        )
        drifts = {method: over_tasks(own) for method, own in methods.items() if len({one.task for one in own}) > 1}
        drifts = {method: one for method, one in drifts.items() if one[0].shape[2] == len(concepts)}
        if drifts:
            after = sorted({one.task for method in drifts for one in methods[method]})
            found[f"concepts-drift{end}"] = (
                f"Purity of every concept after every task, {at}, on {where}. {MEANS}",
                lambda drifts=drifts, concepts=concepts, after=after: concepts_over_tasks(
                    {method: one[0] for method, one in drifts.items()}, concepts, after=after, along=along
                ),
            )
            found[f"concepts-angle{end}"] = (
                f"Angle between every concept's axis and the same axis after the first analysed task, {at}, in the "
                f"channels before the layer: 0 where a projection method or freeze protects the layer. {MEANS}",
                lambda drifts=drifts, concepts=concepts, after=after: concepts_over_tasks(
                    {method: one[1] for method, one in drifts.items()},
                    concepts,
                    "Angle of the axis (degrees)",
                    span=1.0,
                    after=after,
                    along=along,
                ),
            )
    return found


def level(evaluated: Sequence[ConceptNetwork]) -> float:
    """Of the intervals of purity."""
    return next(one.purity.auc.level for one in evaluated)


def by_detector(evaluated: Sequence[ConceptNetwork]) -> dict[str, list[Any]]:
    """Purity of every detector of concepts, of each network."""
    found = [one.evaluation for one in evaluated if one.evaluation is not None]
    return {
        "concept axis": [one.purity for one in evaluated],
        "best filter": [one.filter for one in found],
        "linear probe": [one.probe for one in found],
        "concept vector": [one.vector for one in found],
    }


def slug(name: str) -> str:
    """A name as part of a file's name.

    Example:
        >>> slug("hlop energy=0.97")
        'hlop-energy-0.97'
    """
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-") or "runs"
