"""Figures of what the runs scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import OmegaConf

from orthotrace.analysis.figures.accuracy import accuracy_over_tasks
from orthotrace.analysis.figures.activity import activity_by_layer
from orthotrace.analysis.figures.capacity import capacity_by_layer
from orthotrace.analysis.figures.facets import Facets
from orthotrace.analysis.figures.inside import accuracy_inside, course_of
from orthotrace.analysis.figures.matrices import accuracy_matrices
from orthotrace.analysis.figures.ranged import loss_over_rates, range_test_of
from orthotrace.analysis.figures.swept import score_by_value
from orthotrace.analysis.figures.tradeoff import stability_against_plasticity
from orthotrace.analysis.studies.group_names import numeric, varied
from orthotrace.results.columns import WORDS, in_common, titled
from orthotrace.results.heat_map import untaught

if TYPE_CHECKING:
    from orthotrace.results.groups import Group
    from orthotrace.results.run_folder import Run

# Name -> caption, and what draws it.
Drawings = dict[str, tuple[str, Any]]


def drawings_of_scores(grouped: Sequence[Group], facets: Facets, level: float) -> Drawings:
    """Accuracy over tasks and inside them, matrices, capacity, and scores against what was swept; none without runs."""
    if not grouped:
        return {}
    score = in_common(group.score for group in grouped)
    word = WORDS[score]
    several = any(len(group.runs) > 1 for group in grouped)
    seeds = "over seeds" if several else "of one seed"
    matrices = {group.label: [np.array(run.scores["accuracy"], dtype=float) for run in group.runs] for group in grouped}
    blank = {group.label: blank_of(group.runs[0]) for group in grouped}
    white = (
        " Blank cells are tasks whose classes were not taught yet: nothing can be known of them."
        if any(one.any() for one in blank.values())
        else ""
    )
    letters = "abcdefghijklmnopqrstuvwxyz"[: 2 * len(facets.panels)]
    first, second = (f"{', '.join(letters[start::2])}, " for start in (0, 1))
    drawings: Drawings = {
        "accuracy": (
            f"{word.capitalize()} over the tasks. {first}mean test {word} on the tasks learned so far. "
            f"{second}test {word} on the first task. Lines are means {seeds}{', bars ± 1 s.d.' if several else '.'}"
            f"{facets.caption}",
            lambda: accuracy_over_tasks(matrices, facets, score),
        ),
        "matrices": (
            f"Test {word} on every task (columns) after every task (rows), mean {seeds}.{white}",
            lambda: accuracy_matrices(facets.ordered(matrices), blank, score),
        ),
    }
    courses = {group.label: [one for run in group.runs if (one := course_of(run))] for group in grouped}
    if courses := {label: found for label, found in courses.items() if found}:
        within = facets.within(courses)
        letters = "abcdefghijklmnopqrstuvwxyz"[: 2 * len(within)]
        drawings["inside"] = (
            f"Test {word} inside tasks, over the steps of the optimizer: {', '.join(letters[::2])}, mean on the "
            f"tasks so far; {', '.join(letters[1::2])}, on the first task. Grey lines and markers stand at the ends of "
            f"tasks, markers beside each other. Lines are means {seeds}"
            f"{', bars at the ends ± 1 s.d.' if several else '.'}{facets.caption}",
            lambda: accuracy_inside(courses, facets, score),
        )
    ranged = {group.label: [one for run in group.runs if (one := range_test_of(run))] for group in grouped}
    if ranged := {label: found for label, found in ranged.items() if found}:
        drawings["range-test"] = (
            f"Learning-rate range tests: training loss, a mean over a twentieth of the steps, and "
            f"{word} of the batch, over the rate of the step. A line for each seed; dotted lines stand at the bounds "
            f"that it found.{facets.caption}",
            lambda: loss_over_rates(ranged, facets, score),
        )
    with_capacity = [group for group in grouped if group.runs[0].scores["capacity"]]
    if capacities := {group.label: [run.scores["capacity"] for run in group.runs] for group in with_capacity}:
        drawings["capacity"] = (
            f"Capacity: the share of each layer's input dimensions that is protected after each task (colour); numbers "
            f"are ranks, means {seeds}, rounded.",
            lambda: capacity_by_layer(facets.ordered(capacities)),
        )
    spiking = {group.label: [run.scores.get("activity") for run in group.runs] for group in grouped}
    if spiking := {label: found for label, found in spiking.items() if all(found)}:
        drawings["activity"] = (
            "What neurons do, and what it costs: spikes of a neuron in a step, by layer, and synaptic operations of an "
            "image (for each input that is not 0 one for each weight that it meets, over all steps) beside the "
            f"multiply-adds of the layers of an ordinary network. Lines are means {seeds}"
            f"{', bars ± 1 s.d.' if several else '.'}",
            lambda: activity_by_layer(facets.ordered(spiking)),
        )
    # Of one task nothing can be forgotten.
    if all(group.values("forgetting") for group in grouped):
        learned = {group.label: group.values("learning_accuracy") for group in grouped}
        kept = {group.label: [1 - one for one in group.values("forgetting")] for group in grouped}
        paths = paths_of(grouped)
        # Where no panel has two groups of a path, one panel has all groups.
        panels = [{*of} for of in facets.panels.values()]
        whole = any(len(panel & {*path}) > 1 for of in paths.values() for path in of for panel in panels)
        shown = Facets.one(learned) if paths and not whole else facets
        drawings["tradeoff"] = (
            "Stability against plasticity: 1 − forgetting over the mean accuracy on each task just after it was "
            "learned. Small marks are seeds, large ones means, bars ± 1 s.d.; up and right is best."
            f"{_of_paths(paths)}{shown.caption}",
            lambda: stability_against_plasticity(learned, kept, shown, [path for of in paths.values() for path in of]),
        )
    return drawings | _of_sweeps(grouped, level)


def blank_of(run: Run) -> np.ndarray:
    """Cells of a run's accuracy matrix whose tasks were not taught yet."""
    repeats, blur = (OmegaConf.select(run.config, f"stream.{key}") for key in ("repeats", "blur"))
    return untaught(len(run.scores["accuracy"]), run.scores["scenario"], repeats or 1, blur or 0.0)


def paths_of(grouped: Sequence[Group]) -> dict[str, list[list[str]]]:
    """Key with three numbers or more -> labels of the groups that differ in it alone, in the order of the numbers."""
    paths: dict[str, list[list[str]]] = {}
    for key, values in numeric(varied(grouped)).items():
        alike: dict[Any, list[tuple[float, str]]] = {}
        for group, value in zip(grouped, values, strict=True):
            if value is not None:
                alike.setdefault(tuple(part for part in group.parts if part[0] != key), []).append((value, group.label))
        if long := [[label for _, label in sorted(of)] for of in alike.values() if len(of) > 2]:
            paths[key] = long
    return paths


def _of_paths(paths: Mapping[str, Any]) -> str:
    """What a caption says of them."""
    return f" Grey lines join groups that differ in {' or '.join(paths)} alone, in its order." if paths else ""


def _of_sweeps(grouped: Sequence[Group], level: float) -> Drawings:
    """A figure for each key with three numbers or more."""
    drawings: Drawings = {}
    score = in_common(group.score for group in grouped)
    for key, values in numeric(varied(grouped)).items():
        lines: dict[str, dict[float, dict[str, list[float]]]] = {}
        for group, value in zip(grouped, values, strict=True):
            if value is not None:
                name = ", ".join(text for of, text in group.parts if of != key) or group.label
                scores = lines.setdefault(name, {}).setdefault(value, {"acc": [], "bwt": []})
                for kind, of in scores.items():
                    of += group.values(kind)
        drawings[f"sweep-{key}"] = (
            f"{titled('acc', score)}, the mean test {WORDS[score]} after all tasks, and BWT, backward transfer, against"
            f" {key}. Markers are means over seeds, bars {100 * level:g} % intervals by Student's t; a group of one "
            "seed has none. Each line has what the legend says in common.",
            lambda lines=lines, key=key: score_by_value(lines, key, level, score),
        )
    return drawings
