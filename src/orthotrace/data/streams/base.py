"""What a stream of tasks is, and what every stream can do: scenarios, repetition, blurred boundaries, noise."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from orthotrace.core.errors import UserError, checked
from orthotrace.core.seeds import generator
from orthotrace.data.active_outputs import ActiveOutputs, Scenario
from orthotrace.data.active_targets import ActiveTargets
from orthotrace.data.active_trials import ActiveTrials
from orthotrace.data.images import Images, Scaling
from orthotrace.data.sources.base import PartName

# Accuracies of all tasks after each task are kept: a square of this side takes 800 MB.
MOST = 10_000
Tasks = Annotated[int, Field(ge=1, le=MOST)]


@dataclass(frozen=True)
class Task:
    """One task of a stream: three disjoint parts."""

    train: Images
    validation: Images
    test: Images


class Stream(ABC):
    """A sequence of tasks.

    Subclasses give the distinct tasks (``images`` and ``names``); the rest is the same for every stream.

    Args:
        names: of the classes of each distinct task, in order of their labels.
        sizes: number of training images of each distinct task.
        shape: of one image, (channels, height, width).
        scaling: of all images.
        scenario: task-, domain- or class-incremental.
        validation: share of each task's training images that is held out for validation, in [0, 1).
        repeats: how often the sequence of tasks is repeated, with the same tasks.
        blur: share of each task's training images that is exchanged with other tasks, in [0, 1).
        label_noise: share of the training labels replaced by another label of the task, in [0, 1]; with blurred
            boundaries by any other label.
        input_noise: standard deviation of Gaussian noise on the training images, 1 being the range of pixels; drawn
            once.
        outputs: of the network, at least one for each class; None for just as many. More leave room for the classes of
            tasks that come later. Tasks that share their outputs need none.
        online: every training image is seen once: one epoch for each task.
        seed: of validation parts, permutations, orders and noise.

    Raises:
        UserError: an argument out of its range, or a scenario that the stream does not allow.

    Attributes:
        name: of the stream.
        scenario: one of the three.
        shared_head: whether all tasks share one head, which forward transfer needs.
        distinct: number of distinct tasks.
        tasks: number of tasks with their repetitions.
        shape: of one image.
        classes: names by output.
        names: of the classes of each distinct task.
        active: which outputs are active for which task.
        fewest_validation: number of validation images of the task with the fewest.
        steady: whether a task stays the same where more tasks follow; a class says so.
        regression: whether images have targets in the place of labels; set before this is called.
        trials: whether these are for each step of a sequence; likewise.
    """

    name: ClassVar[str]
    steady: ClassVar[bool] = False
    regression: bool = False
    trials: bool = False

    @checked
    def __init__(
        self,
        names: Sequence[tuple[str, ...]],
        sizes: Sequence[int],
        shape: tuple[int, ...],
        scaling: Scaling,
        scenario: Scenario = "task",
        validation: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        repeats: Tasks = 1,
        blur: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        label_noise: Annotated[float, Field(ge=0, le=1)] = 0.0,
        input_noise: Annotated[float, Field(ge=0)] = 0.0,
        outputs: Annotated[int, Field(ge=1)] | None = None,
        online: bool = False,
        seed: int = 0,
    ) -> None:
        self.names = tuple(tuple(of_task) for of_task in names)
        self.distinct = len(names)
        self.tasks = self.distinct * repeats
        if self.tasks > MOST:
            raise UserError(f"{self.tasks} tasks with their repetitions, where {MOST} are the most", "repeats")
        self.shape = tuple(shape)
        self.scaling = scaling
        self.scenario = scenario
        self.validation = validation
        self.blur = blur
        self.label_noise = label_noise
        self.input_noise = input_noise
        self.online = online
        self.seed = seed
        for count in sizes:
            if round(validation * count) >= count:
                raise UserError(f"{validation} of {count} images leaves none for training", "validation")
        self.fewest_validation = min(round(validation * count) for count in sizes)
        counts = [len(of_task) for of_task in names]
        if self.regression:
            _check_regression(counts, scenario, label_noise)
        if label_noise and min(counts) < 2:
            raise UserError("a task of one class has no other label", "label_noise")
        if scenario == "domain" and len(set(counts)) > 1:
            raise UserError(
                f"the tasks have {', '.join(str(count) for count in counts)} classes: domain-incremental tasks share "
                "their labels, so each needs as many",
                "scenario",
            )
        if scenario == "task" and blur:
            raise UserError(
                "where boundaries are blurred no batch is of one task: take the domain or class scenario, or blur=0",
                "scenario",
            )
        if blur and self.distinct < 2:
            raise UserError("one task alone has no boundaries to blur", "blur")
        if scenario == "domain":
            own = [range(counts[0])] * self.distinct
            self.classes = tuple("/".join(dict.fromkeys(same)) for same in zip(*names, strict=True))
        else:
            stops = [sum(counts[: number + 1]) for number in range(self.distinct)]
            own = [range(stop - count, stop) for stop, count in zip(stops, counts, strict=True)]
            self.classes = distinct(names)
        self._leave_room(outputs)
        kind = ActiveTrials if self.trials else ActiveTargets if self.regression else ActiveOutputs
        self.active = kind(scenario, tuple(own * repeats), blurred=blur > 0, room=len(self.classes))

    def _leave_room(self, outputs: int | None) -> None:
        if outputs is None:
            return
        if self.scenario == "domain" or self.blur:
            what = "domain-incremental tasks share" if self.scenario == "domain" else "blurred tasks teach"
            raise UserError(f"{what} all outputs, so there is no room to leave: set null", "outputs")
        if outputs < (count := len(self.classes)):
            raise UserError(f"{outputs} outputs, but the tasks have {count} classes", "outputs")
        self.classes += tuple(f"output {number + 1}" for number in range(count, outputs))

    def differs_from(self, shorter: Stream) -> str | None:
        """Why the first tasks are not those of a shorter stream of the same source and seed; None where they are.

        Example:
            >>> from orthotrace.data.sources import digits
            >>> from orthotrace.data.streams import Permuted, Split
            >>> Permuted(digits(), tasks=3).differs_from(Permuted(digits(), tasks=2))
            >>> Split(digits(), tasks=5).differs_from(Split(digits(), tasks=2))
            'the tasks have other classes'
        """
        if not self.steady:
            return f"a task of stream={self.name} may change when others follow"
        if self.blur:
            return "where boundaries are blurred a task has images of all others"
        if shorter.tasks != shorter.distinct:
            return "the tasks come again before the new ones"
        if self.names[: shorter.distinct] != shorter.names:
            return "the tasks have other classes"
        if (there := shorter.active.outputs) != (here := self.active.outputs):
            return f"its network has {there} outputs, not {here}; stream.outputs={here} from the start leaves room"
        return None

    @property
    def shared_head(self) -> bool:
        """Whether all tasks share one head."""
        return self.scenario == "domain"

    @abstractmethod
    def images(self, number: int, part: PartName) -> Images:
        """The images of a part of a distinct task, from 0, with its labels from 0."""

    @abstractmethod
    def original(self) -> tuple[Images, tuple[str, ...]]:
        """The test images of the data sets, before any transformation, and names by label."""

    def task(self, index: int) -> Task:
        """The task at an index, from 0; made when asked for, so that only one need be in memory."""
        number = index % self.distinct
        train, validation = self._parts(number)
        if self.blur:
            train = self._blurred(number, train)
        if self.label_noise:
            train = self._mislabelled(number, train)
        if self.input_noise:
            train = self._noisy(number, train)
        return Task(train, validation, self.test(index))

    def held_out(self, index: int) -> Images:
        """The validation part of a task alone."""
        return self._parts(index % self.distinct)[1]

    def test(self, index: int) -> Images:
        """The test part of a task alone."""
        number = index % self.distinct
        return self._labelled(number, self.images(number, "test"))

    def as_in_task(self, images: Images, index: int) -> Images:
        """Images from elsewhere, with the scaling of the stream and transformed as in a task."""
        store = self.transformed(images.images, index)
        return Images(store, images.labels, scaling=self.scaling, tasks=images.tasks)

    def transformed(self, pixels: Tensor, index: int) -> Tensor:
        """Pixels (n, channels, height, width) transformed as in a task; here they stay as they are."""
        return pixels

    def _parts(self, number: int) -> tuple[Images, Images]:
        """Training and validation part of a distinct task."""
        train = self._labelled(number, self.images(number, "train"))
        held = round(self.validation * len(train))
        shuffled = torch.randperm(len(train), generator=generator(self.seed, 0))
        return train.take(shuffled[held:]), train.take(shuffled[:held])

    def _labelled(self, number: int, part: Images) -> Images:
        """With the numbers of outputs as labels; targets stay."""
        if self.regression:
            # The tasks that a data set tells of are not those of the stream.
            return replace(part, tasks=None)
        start = self.active.by_task[number].start
        return replace(part, labels=part.labels + start) if start else part

    def _blurred(self, number: int, own: Images) -> Images:
        """A share of the images, dealt out to the other tasks, for a share of theirs."""
        parts = [own if other == number else self._parts(other)[0] for other in range(self.distinct)]
        kept = []
        for other, part in enumerate(parts):
            order = torch.randperm(len(part), generator=generator(self.seed, 3, other))
            leaving, staying = order.tensor_split([round(self.blur * len(part))])
            if other == number:
                kept.insert(0, part.take(staying))
                continue
            # The images that leave a task go to the others in equal shares.
            receivers = [receiver for receiver in range(self.distinct) if receiver != other]
            kept.append(part.take(leaving.tensor_split(len(receivers))[receivers.index(number)]))
        return Images.joined(kept)

    def _mislabelled(self, number: int, part: Images) -> Images:
        draws = generator(self.seed, 4, number)
        own = range(self.active.outputs) if self.blur else self.active.by_task[number]
        chosen = torch.randperm(len(part), generator=draws)[: round(self.label_noise * len(part))]
        # A step of 1 to k - 1 around the circle of labels never ends where it began.
        steps = torch.randint(1, len(own), (len(chosen),), generator=draws)
        labels = part.labels.clone()
        labels[chosen] = (labels[chosen] - own.start + steps) % len(own) + own.start
        return replace(part, labels=labels)

    def _noisy(self, number: int, part: Images) -> Images:
        draws = generator(self.seed, 5, number)
        whole = part.store.dtype == torch.uint8
        store = torch.empty_like(part.images)
        # The range of pixels is not always that of their type: those of the digits end at 16.
        highest = float(part.store.max())
        for places in torch.arange(len(part)).split(1024):
            pixels = part.pixels(places).float()
            pixels = pixels + highest * self.input_noise * torch.randn(pixels.shape, generator=draws)
            store[places] = pixels.round().clamp(0, highest).to(torch.uint8) if whole else pixels.to(store.dtype)
        return replace(part, store=store, index=None, mapped=False)


def _check_regression(counts: Sequence[int], scenario: Scenario, label_noise: float) -> None:
    """Refuse what only classes have."""
    if scenario == "class":
        raise UserError(
            "class-incremental tasks teach classes one after another, and a regression has none: choose domain or task",
            "scenario",
        )
    if label_noise:
        raise UserError("takes another class for the right one, and a regression has none: set 0", "label_noise")
    if len(set(counts)) > 1:
        raise UserError(f"the tasks have {', '.join(map(str, counts))} targets: give each as many", "source")


def distinct(names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Names of all outputs; those that several tasks use get the number of their task."""
    every = [name for of_task in names for name in of_task]
    if len(set(every)) == len(every):
        return tuple(every)
    return tuple(f"{name} (task {task})" for task, of_task in enumerate(names, start=1) for name in of_task)


def divided(count: int, tasks: int, what: str = "classes") -> int:
    """Classes of each of several tasks.

    Raises:
        UserError: they do not divide.
    """
    if tasks > count:
        raise UserError(f"{tasks} tasks, but there are only {count} {what}", "tasks")
    if count % tasks:
        fitting = [number for number in range(1, count + 1) if count % number == 0]
        nearest = min(fitting, key=lambda number: abs(math.log(number / tasks)))
        raise UserError(
            f"{count} {what} do not divide into {tasks} tasks (into {nearest} they do); give the {what} of each by "
            "classes_per_task=[...]",
            "tasks",
        )
    return count // tasks
