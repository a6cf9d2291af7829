"""Finds runs, and makes the stimuli that their networks are shown."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from torch import Tensor

from orthotrace.analysis.networks.left_out import LeftOut
from orthotrace.config.build import build, plain
from orthotrace.config.dataset import build_dataset
from orthotrace.config.folder_names import leaves
from orthotrace.core.errors import UserError, nearest
from orthotrace.core.seeds import Seeds
from orthotrace.data.images import Images
from orthotrace.data.streams import Stream
from orthotrace.results.run_folder import Run, find


@dataclass(frozen=True)
class Stimuli:
    """A fixed set of labelled images.

    Attributes:
        images: inputs of a network, (n, channels, height, width), sorted by class.
        labels: (n,).
        classes: names of the classes that occur, in order.
        per_class: images of each.
        task: which shows them so, from 1; None for the images as their data set holds them.
        digest: SHA-256 of images and labels: equal for equal stimuli only.
        places: (n,), of the images among the test images, or among those that were given.
        order: (n,), their rows in files of activations; None where those are in this order.
        given: how many were given, of which these are some; None where that says nothing.
        named: whether they are of classes at all.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    per_class: int
    task: int | None
    digest: str
    places: Tensor
    order: Tensor | None = None
    given: int | None = None
    named: bool = True

    def descriptors(self) -> dict[str, NDArray[Any]]:
        """Of each stimulus: its class and label, and which test image it is."""
        names = np.repeat(self.classes, self.per_class)
        return {"class": names, "label": self.labels.numpy(), "test_image": self.places.numpy()}

    def rows(self) -> list[dict[str, Any]]:
        """Each stimulus by its place: external data must be in this order."""
        found = {"stimulus": np.arange(len(self.labels)), **self.descriptors()}
        columns = [values.tolist() for values in found.values()]
        return [dict(zip(found, row, strict=True)) for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class Network:
    """A network of a run, after some of its tasks.

    Attributes:
        method: label of its group.
        run: where it comes from: a Run, or a given.GivenNetwork.
        task: after how many tasks.
        rdms: layer -> RDM (upper triangle), missing entries NaN; of the layers that have one. Where memory has a bound
            they lie in files, and are read each time that one is asked for.
        centroids: layer -> RDM (upper triangle) of the mean activations of each class, likewise; none below three
            classes.
    """

    method: str
    run: Any
    task: int
    rdms: Mapping[str, NDArray[np.float64]]
    centroids: dict[str, NDArray[np.float64]]

    def left_out(self, layer: str, what: str, why: str) -> LeftOut:
        """What is left out of a layer of this network."""
        return LeftOut(self.method, self.run.folder.name, self.task, layer, what, why)


def select(folder: str, where: Mapping[str, Any], trust: Sequence[str] = ()) -> list[Run]:
    """Finished runs below a folder whose configuration matches.

    Args:
        folder: of runs.
        where: key -> value or values; "method" and "stream" are the names of the options, other keys those of the
            configuration. None matches all.
        trust: callables, modules or packages of your own that the runs' configurations may call.

    Raises:
        UserError: no runs, none that is finished, one that is damaged, none that matches, or a key that no run has.
    """
    runs = find(folder, trust)
    finished = [run for run in runs if run.finished]
    if not finished:
        raise UserError(f"none of the {len(runs)} runs in {folder} is finished: start them again to continue")
    for run in finished:
        # A damaged one would be taken for one of another group.
        run.check()
    chosen = finished
    # Keys may be nested: where.trainer.max_epochs is one of the configuration.
    for key, wanted in leaves(where):
        if wanted is None:
            continue
        values = {
            run.folder: run.scores[key] if key in ("method", "stream") else OmegaConf.select(run.config, key)
            for run in finished
        }
        if all(value is None for value in values.values()):
            known = [name for name, _ in leaves(plain(finished[0].config)) if "_target_" not in name]
            beside = [name for name in known if name.rpartition(".")[0] == key.rpartition(".")[0]]
            names = beside if "." in key else [*map(str, finished[0].config), "method", "stream"]
            raise UserError(f"no run has this key; {nearest(key, names)}", f"where.{key}")
        options = {str(option) for option in (wanted if isinstance(wanted, (list, tuple)) else [wanted])}
        chosen = [run for run in chosen if str(values[run.folder]) in options]
        if not chosen:
            found = ", ".join(sorted({str(value) for value in values.values()}))
            raise UserError(f"no run has {' or '.join(sorted(options))}; there are: {found}", f"where.{key}")
    kinds = {run.scores.get("score", "accuracy") for run in chosen}
    if len(kinds) > 1:
        raise UserError(
            "some runs are of classes, others of a regression, whose scores and stimuli cannot be shown together: "
            "choose those of one data set, by +where.dataset.path=FILE or by their folder",
            "where",
        )
    return chosen


def tasks_of(run: Any, tasks: str | int | Sequence[int]) -> list[int]:
    """The tasks after which a run's network is looked at: "last", "all", or one or more numbers from 1.

    Raises:
        UserError: a task that the run does not have, or no checkpoints.
    """
    there = run.tasks
    if isinstance(tasks, int):
        tasks = [tasks]
    if tasks == "last":
        return there[-1:]
    if tasks == "all":
        return there
    if isinstance(tasks, str) or not all(isinstance(task, int) for task in tasks):
        raise UserError(f"last, all or a list of numbers from 1 (got {tasks})", "tasks")
    missing = [task for task in tasks if task not in there]
    if missing:
        raise UserError(f"{run.folder.name} has no checkpoint of task {missing[0]}; there are: {there}", "tasks")
    return list(tasks)


def stream_of(run: Run, source: Any = None) -> Stream:
    """The stream of a run; of its data set, where that has been read already."""
    seeds = Seeds.of(**{key: int(value) for key, value in run.scores["seeds"].items()})
    config = run.trusted_config
    return build(config, "stream", source=source or build_dataset(config, seeds.stream), seed=seeds.stream)


def stimuli_of(run: Run, task: int | None, per_class: int | None, classes: Sequence[str] | None) -> Stimuli:
    """The first test images of each class, as their data set holds them or as a task of the run's stream shows them.

    In a regression the quarters of the images by their first target are the classes; of trials those by the direction
    of the answer.

    Args:
        run: whose stream.
        task: whose images, from 1; None for those of the data set, which are the same for every seed.
        per_class: images of each class, at least 1; None for 20.
        classes: names of the classes, or None for all.

    Raises:
        UserError: fewer than two classes, an unknown class or task, or too few images of one.
    """
    stream = stream_of(run)
    if task is not None and not 1 <= task <= stream.tasks:
        raise UserError(f"there are tasks 1 to {stream.tasks} (got {task})", "stimuli.task")
    test, there = stream.original() if task is None else (stream.test(task - 1), stream.classes)
    if stream.regression:
        there = tuple(f"{stream.names[0][0]}, quarter {number}" for number in (1, 2, 3, 4))
        # Of a trial the direction in which it is to be answered.
        told = answers(test.labels) if test.trials else test.labels[:, 0]
        test = replace(test, labels=quarters(told))
    return stimuli_from(test, there, 20 if per_class is None else per_class, classes, task)


def stimuli_from(
    test: Images, there: tuple[str, ...], per_class: int, classes: Sequence[str] | None = None, task: int | None = None
) -> Stimuli:
    """The first images of each class of a part of a data set, sorted by class.

    Raises:
        UserError: fewer than two classes, an unknown class, or too few images of one.
    """
    if per_class < 1:
        raise UserError(f"at least 1 image of each class (got {per_class})", "stimuli.per_class")
    # A task may have some of the classes only.
    shown = [there[label] for label in test.labels.unique().tolist()]
    names = shown if classes is None else [str(name) for name in classes]
    for name in names:
        if name not in there:
            raise UserError(f"there is no class '{name}'; {nearest(name, there)}", "stimuli.classes")
    if len(set(names)) < 2:
        raise UserError(f"stimuli of at least two classes are needed (got {len(set(names))})", "stimuli.classes")
    index = []
    for name in names:
        places = (test.labels == there.index(name)).nonzero().flatten()
        if len(places) < per_class:
            if name not in shown:
                raise UserError(f"task {task} has no class '{name}'; it has: {', '.join(shown)}", "stimuli.classes")
            most = min(int((test.labels == there.index(one)).sum()) for one in names if one in shown)
            raise UserError(
                f"class '{name}' has {len(places)} test images, not {per_class}; give stimuli.per_class={most} or less",
                "stimuli.per_class",
            )
        index.append(places[:per_class])
    places = torch.cat(index)
    chosen = test.take(places)
    inputs = chosen.inputs()
    return Stimuli(inputs, chosen.labels, tuple(names), per_class, task, digest_of(inputs, chosen.labels), places)


def digest_of(inputs: Tensor, labels: Tensor) -> str:
    """SHA-256 of stimuli and their labels."""
    return hashlib.sha256(inputs.contiguous().numpy().tobytes() + labels.numpy().tobytes()).hexdigest()


def answers(labels: Tensor) -> Tensor:
    """The direction of the answer of each trial, in (-pi, pi].

    Example:
        >>> answers(torch.tensor([[[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]]))
        tensor([1.5708])
    """
    # (cos, sin) are 0 but for the answer.
    return torch.atan2(labels[:, 2].sum(1), labels[:, 1].sum(1))


def quarters(values: Tensor) -> Tensor:
    """In which quarter of the values, by size, each of them is, from 0; equal ones in their order.

    Args:
        values: (n,).

    Returns:
        (n,), integers from 0 to 3.

    Example:
        >>> quarters(torch.tensor([0.4, 9.0, -1.0, 2.0])).tolist()
        [1, 3, 0, 2]
    """
    ranks = values.argsort(stable=True).argsort(stable=True)
    return ranks * 4 // len(values)
