"""Figures of forgetting taken apart: readouts after every task, and what they see of the drift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from orthotrace.analysis.figures.concept_study import slug
from orthotrace.analysis.figures.readout import readout_diagnosis
from orthotrace.analysis.studies.readouts import of_first_task

if TYPE_CHECKING:
    from orthotrace.analysis.figures.facets import Facets
    from orthotrace.analysis.figures.scores import Drawings
    from orthotrace.analysis.studies.readouts import ForgettingOfGroup

# Group -> line -> (networks, tasks).
Panels = dict[str, dict[str, np.ndarray]]
SHOWN = {name: name for name in ("trained", "kept", "aligned", "refitted")}
DRIFT = {"seen": "of the drift", "expected": "if it were in all directions alike"}


def drawings_of_forgetting(rows: Sequence[ForgettingOfGroup], facets: Facets) -> Drawings:
    """The first task by four readouts after every task, at the networks' own readout and at each layer; the drift."""
    first = of_first_task(rows)
    drawings: Drawings = {}
    for layer, own in dict.fromkeys((one.layer, one.own) for one in first):
        of = [one for one in first if (one.layer, one.own) == (layer, own)]
        found = _panels(of, SHOWN, facets)
        if not found:
            continue
        task, classes = of[0].task, {one.classes for one in of}
        name = "readout" if own else f"readout-{slug(layer)}"
        where = f"the inputs of {layer}, the networks' own readout" if own else layer
        old = f"the readout as it was after task {task}" if own else f"a readout that was fitted after task {task}"
        alone = len(classes) == 1
        line = f" The dashed line is chance among the {of[0].classes} classes." if alone else ""
        several = any(len(one.values) > 1 for one in of)
        drawings[name] = (
            f"Forgetting of task {task} taken apart at {where}: accuracy on its test images after every task, of the "
            f"whole network (trained), of {old} on the activations of now (kept), of the same on activations that are "
            f"turned back by the best rotation (aligned), and of a readout that is fitted again (refitted). What "
            f"refitted has and kept lacks is there still. Trained is of all test images and of all classes that the "
            f"network was asked for, the others are of some images and of the classes of task {task}. Lines are means "
            f"{'over seeds, bars ± 1 s.d.' if several else 'of one seed.'}{line}",
            lambda found=found, task=task, of=of, alone=alone: readout_diagnosis(
                found, f"Accuracy on task {task}", chance=1 / of[0].classes if alone else None
            ),
        )
    moved = [one for one in first if one.own and one.after > one.task]
    if found := _panels(moved, DRIFT, facets):
        drawings["readout-drift"] = (
            f"How much of the drift the networks' own readout sees: the share of the squared movement of its inputs, "
            f"for test images of task {moved[0].task}, that lies in the range of the readout as it was after that "
            f"task, beside the share that a movement in all directions alike would have. Lines are means over seeds"
            f"{', bars ± 1 s.d.' if any(len(one.values) > 1 for one in moved) else '.'}",
            lambda: readout_diagnosis(found, "Share in the range of the readout", first=moved[0].task + 1),
        )
    return drawings


def _panels(rows: Sequence[ForgettingOfGroup], lines: dict[str, str], facets: Facets) -> Panels:
    """What is drawn of groups whose networks all have a number after every task."""
    found: Panels = {}
    for group in facets.labels:
        own = [one for one in rows if one.method == group]
        of = {
            line: [one.values for one in sorted(own, key=lambda one: one.after) if one.quantity == name]
            for name, line in lines.items()
        }
        if len({len(values) for by_task in of.values() for values in by_task}) == 1 and all(of.values()):
            found[group] = {line: np.array(by_task).T for line, by_task in of.items()}
    return found
