"""The classes of one data set, split into tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from orthotrace.core.errors import UserError, checked, nearest, refuse_unknown
from orthotrace.core.seeds import generator
from orthotrace.data.images import Images
from orthotrace.data.sources import Source
from orthotrace.data.sources.base import PartName
from orthotrace.data.streams.base import Stream, divided


class Split(Stream):
    """Each task has some of the classes of a data set.

    In the domain-incremental scenario the label is the place of a class within its task. A regression has no classes:
    what is split there are the tasks that its data set tells of each image, with all targets in each.

    Args:
        source: where the images come from.
        tasks: how many, at least 1.
        classes_per_task: of each task; None divides all classes equally.
        class_order: "seed" for an order drawn from the seed, "natural" for that of the data set, or names or numbers
            of the classes in order; those left out are not used.
        seed: of the order of the classes and the validation parts.
        **options: as for Stream.

    Raises:
        UserError: more classes than there are, classes that do not divide, an unknown class, one named twice, a
            class without training or test images, or a regression whose data set tells of no tasks.

    Source: Zenke, Poole & Ganguli, Continual Learning Through Synaptic Intelligence, ICML 2017.

    Example:
        >>> from orthotrace.data.sources import digits
        >>> stream = Split(digits(), tasks=5, class_order="natural", scenario="class")
        >>> stream.classes[:4], stream.active.by_task[1], stream.task(1).train.labels.unique().tolist()
        (('0', '1', '2', '3'), range(2, 4), [2, 3])
    """

    name = "split"
    steady = True

    @checked
    def __init__(
        self,
        source: Source,
        tasks: Annotated[int, Field(ge=1)] = 5,
        classes_per_task: Annotated[int, Field(ge=1)] | list[Annotated[int, Field(ge=1)]] | None = None,
        class_order: Literal["seed", "natural"] | list[int | str] = "seed",
        seed: int = 0,
        **options: Any,
    ) -> None:
        what, names = parts_of(source)
        order = _order(names, what, class_order, seed)
        counts = _counts(len(order), what, tasks, classes_per_task)
        stops = [sum(counts[: number + 1]) for number in range(tasks)]
        groups = [order[stop - count : stop] for stop, count in zip(stops, counts, strict=True)]
        self._set(source, groups, seed, options)

    def _set(self, source: Source, groups: list[list[int]], seed: int, options: dict[str, Any]) -> None:
        self.regression, self.trials = source.regression, source.trials
        what, whole = parts_of(source)
        names = [source.classes if self.regression else tuple(whole[label] for label in group) for group in groups]
        counts: dict[str, list[int]] = {}
        for part, name in ((source.train, "training"), (source.test, "test")):
            counts[name] = torch.bincount(_members(part), minlength=len(whole)).tolist()
            empty = [label for group in groups for label in group if not counts[name][label]]
            if empty:
                raise UserError(f"the {what} {whole[empty[0]]} of {source.name} has no {name} images", "class_order")
        images = [sum(counts["training"][label] for label in group) for group in groups]
        super().__init__(names, images, source.shape, source.train.scaling, seed=seed, **options)
        self.source = source
        self.groups = groups

    def images(self, number: int, part: PartName) -> Images:
        """The images of the task's classes."""
        images = self.source.part(part)
        group = self.groups[number]
        label = torch.full((len(parts_of(self.source)[1]),), -1)
        label[group] = torch.arange(len(group))
        labels = label[_members(images)]
        taken = images.take((labels >= 0).nonzero().flatten())
        return replace(taken, labels=taken.labels if self.regression else labels[labels >= 0], tasks=None)

    def differs_from(self, shorter: Stream) -> str | None:
        """Also where a regression has other tasks of its data set, whose targets have the same names."""
        assert isinstance(shorter, Split)
        if self.regression and self.groups[: shorter.distinct] != shorter.groups:
            return "the tasks are others; give stream.classes_per_task"
        return super().differs_from(shorter)

    def original(self) -> tuple[Images, tuple[str, ...]]:
        """The test images of the source."""
        return self.source.test, self.source.classes


class Superclasses(Split):
    """Each task has the classes of one superclass.

    Args:
        source: with superclasses, such as CIFAR-100.
        tasks: how many of the superclasses; None for all.
        class_order: of the superclasses: "seed", "natural" (by name), or names in order.
        seed: of their order and the validation parts.
        **options: as for Stream.

    Raises:
        UserError: the source has no superclasses, or not as many; as for Split.

    Source: Yoon et al., Scalable and Order-robust Continual Learning with Additive Parameter Decomposition, ICLR
    2020, for CIFAR-100's 20 superclasses as tasks.
    """

    name = "superclasses"

    @checked
    def __init__(
        self,
        source: Source,
        tasks: Annotated[int, Field(ge=1)] | None = None,
        class_order: Literal["seed", "natural"] | list[str] = "seed",
        seed: int = 0,
        **options: Any,
    ) -> None:
        if source.superclasses is None:
            raise UserError(
                f"{source.name} has no superclasses: take dataset=cifar100, or a table whose column of superclasses "
                "is named by dataset.superclass",
                "source",
            )
        there = sorted(set(source.superclasses))
        if isinstance(class_order, list):
            refuse_unknown(class_order, there, "there is no superclass", "class_order")
            if len(set(class_order)) < len(class_order) or not class_order:
                raise UserError("name each superclass once, and at least one", "class_order")
            chosen = class_order
        elif class_order == "natural":
            chosen = there
        else:
            chosen = [there[place] for place in torch.randperm(len(there), generator=generator(seed, 2)).tolist()]
        if tasks is not None and tasks > len(chosen):
            raise UserError(f"{tasks} tasks, but there are only {len(chosen)} superclasses", "tasks")
        groups = [
            [label for label, name in enumerate(source.superclasses) if name == group] for group in chosen[:tasks]
        ]
        self._set(source, groups, seed, options)


def parts_of(source: Source) -> tuple[str, tuple[str, ...]]:
    """What a split divides among its tasks, and the names of all: classes, or of a regression the tasks it tells of.

    Raises:
        UserError: a regression that tells of none.
    """
    if not source.regression:
        return "class", source.classes
    if source.tasks is None:
        raise UserError(
            f"{source.name} is a regression, which has no classes to split: give the task of each image "
            "(train_tasks, test_tasks), or take stream=permuted or rotated",
            "source",
        )
    return "task", source.tasks


def _members(images: Images) -> Tensor:
    """(n,), of which class, or of which task of a regression, each image is."""
    if not images.regression:
        return images.labels
    assert images.tasks is not None
    return images.tasks


def _order(names: Sequence[str], what: str, given: str | Sequence[int | str], seed: int) -> list[int]:
    """Labels of the source in the order in which tasks take them."""
    if given == "natural":
        return list(range(len(names)))
    if given == "seed":
        return torch.randperm(len(names), generator=generator(seed, 2)).tolist()
    order = []
    for one in given:
        # Names of classes may be numbers: a number means the name where there is one.
        if str(one) in names:
            order.append(names.index(str(one)))
        elif isinstance(one, int) and 0 <= one < len(names):
            order.append(one)
        else:
            raise UserError(f"there is no {what} '{one}'; {nearest(str(one), names)}", "class_order")
    twice = [names[label] for label in order if order.count(label) > 1]
    if twice:
        raise UserError(f"the {what} {twice[0]} is named twice", "class_order")
    return order


def _counts(count: int, what: str, tasks: int, given: int | list[int] | None) -> list[int]:
    """Classes of each task."""
    whole = "classes" if what == "class" else "tasks of the data set"
    if given is None:
        return [divided(count, tasks, whole)] * tasks
    counts = [given] * tasks if isinstance(given, int) else given
    if len(counts) != tasks:
        raise UserError(f"{len(counts)} numbers for {tasks} tasks", "classes_per_task")
    if sum(counts) > count:
        raise UserError(f"{sum(counts)} {whole} asked, but there are only {count}", "classes_per_task")
    return counts
