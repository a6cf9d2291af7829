"""The concept layers of all runs of an analysis, after every chosen task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from orthotrace.analysis.concepts.drift import concept_drift
from orthotrace.analysis.concepts.images import ConceptImageLoader, concept_layers, reduction
from orthotrace.analysis.concepts.importance import Importance
from orthotrace.analysis.concepts.layer_outputs import (
    PARTS,
    ConceptEvaluation,
    LayerOutputs,
    axis_purity,
    concept_importance,
    evaluate_concepts,
    read_layer,
)
from orthotrace.analysis.concepts.purity import Purity
from orthotrace.analysis.networks.runs import tasks_of
from orthotrace.analysis.networks.spread import Spreading
from orthotrace.core.errors import UserError
from orthotrace.data.images import extremes

if TYPE_CHECKING:
    from orthotrace.results.groups import Group
    from orthotrace.results.run_folder import Run

# Test images by which the importance of a concept is measured.
IMPORTANT = 1000


@dataclass(frozen=True, eq=False)
class ConceptNetwork:
    """A concept layer of one network after one task.

    Attributes:
        method: label of its group.
        run: where it comes from.
        task: after how many tasks.
        layer: name.
        outputs: for its concept images.
        purity: of its axes.
        evaluation: of its axes beside other detectors; only after the last of the chosen tasks.
        importance: of its concepts, likewise.
        classes: names of those of the importance.
        pixels: of the test images, in [0, 1], likewise; empty where it is not the first of its method.
    """

    method: str
    run: Run
    task: int
    layer: str
    outputs: LayerOutputs
    purity: Purity
    evaluation: ConceptEvaluation | None = None
    importance: Importance | None = None
    classes: tuple[str, ...] = ()
    pixels: NDArray[np.float64] | None = None

    @property
    def axes(self) -> tuple[NDArray[np.float64], ...]:
        """Rows of the axes of each concept, (axes, channels)."""
        assert self.outputs.axes is not None
        return self.outputs.axes

    @property
    def active(self) -> NDArray[np.float64]:
        """How active each concept is, for the test images, (n, concepts)."""
        assert self.outputs.active is not None
        return self.outputs.active["test"]


def read_concepts(
    grouped: Sequence[Group],
    tasks: str | list[int],
    shown: int | None,
    limit: int | None,
    level: float,
    spreading: Spreading | None = None,
) -> list[ConceptNetwork]:
    """Read every concept layer of every run, after the tasks of runs.tasks_of; none where no run has one.

    Images are shown as a task shows them, from 1 (None: the first), at most `limit` of each part; `level` is that of
    intervals.

    Raises:
        UserError: a checkpoint that is damaged, or a concept of which the limit leaves no images.
    """
    runs: list[tuple[str, Run, tuple[str, ...]]] = []
    drawn: set[tuple[str, str]] = set()
    for group in grouped:
        for run in group.runs:
            if layers := concept_layers(run):
                # Images are shown once for each method and layer.
                first = tuple(layer for layer in layers if (group.label, layer) not in drawn)
                drawn.update((group.label, layer) for layer in first)
                runs.append((group.label, run, first))
    # In this process runs of one data set need not make its images again.
    loader = ConceptImageLoader(limit) if spreading is None or spreading.jobs == 1 else None
    made = (spreading or Spreading()).each(_of_run, runs, tasks, shown, limit, level, loader)
    return [one for of in track(made, "concepts", len(runs), transient=True, disable=not Console().is_terminal)
            for one in of]  # fmt: skip


def _of_run(
    method: str,
    run: Run,
    first: Sequence[str],
    tasks: str | list[int],
    shown: int | None,
    limit: int | None,
    level: float,
    loader: ConceptImageLoader | None,
) -> list[ConceptNetwork]:
    """The concept layers of one run; images themselves of those that are the first of their method."""
    images = ConceptImageLoader(limit) if loader is None else loader
    found: list[ConceptNetwork] = []
    sets, stream = images.of(run, shown or 1)
    chosen = tasks_of(run, tasks)
    for task in chosen:
        model = run.network(task)
        last = task == chosen[-1]
        parts = images.parts(sets, PARTS if last else ("test",))
        for layer in concept_layers(run):
            try:
                read = read_layer(model, layer, parts, sets.names, reduction(model.get_submodule(layer)))
                purity = axis_purity(read, level)
                assert purity is not None
                more: dict[str, Any] = {}
                if last:
                    test = stream.test((shown or 1) - 1)
                    some = test.take(torch.arange(min(len(test), IMPORTANT)))
                    outputs = stream.active.for_evaluation((shown or 1) - 1, task)
                    importance = concept_importance(model, layer, some.inputs(), some.labels, outputs, sets.names)
                    more = {
                        "evaluation": evaluate_concepts(read, level),
                        "importance": importance,
                        "classes": tuple(stream.classes[label] for label in importance.classes),
                        "pixels": _pixels(sets, len(parts["test"].inputs)) if layer in first else None,
                    }
            except UserError as error:
                raise UserError(f"{run.folder.name}, after task {task}, layer {layer}: {error}", "concepts") from error
            found.append(ConceptNetwork(method, run, task, layer, read, purity, **more))
    return found


def _pixels(sets: Any, count: int) -> NDArray[np.float64]:
    pixels = sets.test.images.images[:count].double()
    dark, bright = extremes(pixels)
    return ((pixels - dark) / (bright - dark).clamp_min(1e-12)).numpy()


def same(networks: Sequence[ConceptNetwork], method: str, layer: str) -> list[ConceptNetwork]:
    """The networks of one method, a concept layer of theirs, in order of runs and tasks."""
    return [one for one in networks if (one.method, one.layer) == (method, layer)]


def kinds(networks: Sequence[ConceptNetwork]) -> list[tuple[str, str]]:
    """Method and layer of all networks, each once."""
    return list(dict.fromkeys((one.method, one.layer) for one in networks))


def over_tasks(networks: Sequence[ConceptNetwork]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Purities, and angles to the axes after the first task, of one method and layer, (seeds, tasks, concepts)."""
    runs = dict.fromkeys(one.run.folder for one in networks)
    purities, angles = [], []
    for folder in runs:
        own = [one for one in networks if one.run.folder == folder]
        values = np.stack([one.purity.auc.value for one in own])
        purities.append(values)
        rows = [np.stack(of) for of in zip(*(one.axes for one in own), strict=True)]
        angles.append(concept_drift(values, rows).angle)
    return np.stack(purities), np.stack(angles)


def concept_rows(networks: Sequence[ConceptNetwork]) -> list[dict[str, Any]]:
    """The numbers of every concept, network by network."""
    rows = []
    for method, layer in kinds(networks):
        own = same(networks, method, layer)
        _, angles = over_tasks(own)
        for place, one in enumerate(own):
            seed, task = divmod(place, angles.shape[1])
            auc, found = one.purity.auc, one.evaluation
            for number, concept in enumerate(one.outputs.concepts):
                rows.append(
                    {
                        "method": method, "run": one.run.folder.name, "task": one.task, "layer": layer,
                        "concept": concept, "purity": float(auc.value[number]), "low": float(auc.low[number]),
                        "high": float(auc.high[number]), "angle": float(angles[seed, task, number]),
                        **{
                            key: None if found is None else float(getattr(found, key).auc.value[number])
                            for key in ("filter", "probe", "vector")
                        },
                        "importance": None if one.importance is None else float(one.importance.ratio[number]),
                    }
                )  # fmt: skip
    return rows


def layer_rows(networks: Sequence[ConceptNetwork]) -> list[dict[str, Any]]:
    """Whiteness and separability of every network that was evaluated."""
    return [
        {
            "method": one.method, "run": one.run.folder.name, "task": one.task, "layer": one.layer,
            "whiteness": found.white, "inter": found.separate.inter, "intra": found.separate.intra,
            "similarity": None if np.isnan(found.separate.similarity) else found.separate.similarity,
        }
        for one in networks
        if (found := one.evaluation) is not None
    ]  # fmt: skip
