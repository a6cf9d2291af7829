"""Which outputs of a network count for which task, and the loss over them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

Scenario = Literal["task", "domain", "class"]


@dataclass(frozen=True)
class ActiveOutputs:
    """The outputs that a network may use, by scenario.

    Labels are numbers of outputs. In the task-incremental scenario a task has outputs of its own, and is trained and
    tested over them alone: the others might as well be the heads of other networks. In the domain-incremental one
    all tasks share all outputs. In the class-incremental one a task is trained and tested over the outputs of all
    classes so far: nothing tells which task an image is of.

    Attributes:
        scenario: of the three.
        own: outputs of each task, in order of the tasks; a task that comes again has the same ones again.
        blurred: images of later tasks may come early, so that all outputs count from the start.
        smoothing: of the labels, in [0, 1).

    Source: van de Ven, Tuytelaars & Tolias, Three types of incremental learning, Nature Machine Intelligence 2022.

    Example:
        >>> readout = ActiveOutputs("class", (range(0, 2), range(2, 4)))
        >>> readout.trained(0), readout.trained(1), readout.evaluated(0, after=2)
        (range(0, 2), range(0, 4), range(0, 4))
    """

    scenario: Scenario
    own: tuple[range, ...]
    blurred: bool = False
    smoothing: float = 0.0

    @cached_property
    def outputs(self) -> int:
        """Of the network."""
        return max(part.stop for part in self.own)

    def trained(self, task: int) -> range:
        """The outputs over which a task is trained, from 0."""
        if self.scenario == "task":
            return self.own[task]
        if self.scenario == "class" and not self.blurred:
            return range(max(part.stop for part in self.own[: task + 1]))
        return range(self.outputs)

    def evaluated(self, task: int, after: int) -> range:
        """The outputs over which a task is tested, after so many tasks.

        The untrained network has seen no class: it is judged over all.
        """
        if self.scenario == "task" or after == 0:
            return self.trained(task) if self.scenario == "task" else range(self.outputs)
        return self.trained(after - 1)

    def earlier(self, task: int) -> list[range]:
        """The outputs that tasks before this one have taught, as heads of their own where they are."""
        if self.scenario == "task":
            return list(dict.fromkeys(self.own[:task]))
        return [self.trained(task - 1)] if task else []

    def loss(self, logits: Tensor, labels: Tensor, task: int, tasks: Tensor | None = None) -> Tensor:
        """Mean cross-entropy over the outputs that count.

        Args:
            logits: (n, outputs).
            labels: (n,), numbers of outputs.
            task: that is trained.
            tasks: (n,), of which task each image is; where None, of the one that is trained.
        """
        if tasks is None or self.scenario != "task":
            return self._loss(logits, labels, self.trained(task))
        total = logits.new_zeros(())
        for part, chosen in self._groups(tasks):
            total = total + self._loss(logits[chosen], labels[chosen], part) * (len(chosen) / len(labels))
        return total

    def _loss(self, logits: Tensor, labels: Tensor, part: range) -> Tensor:
        if len(part) < logits.shape[1]:
            logits, labels = logits[:, part.start : part.stop], labels - part.start
        return cross_entropy(logits, labels, label_smoothing=self.smoothing)

    def predicted(self, logits: Tensor, task: int, tasks: Tensor | None = None) -> Tensor:
        """The output with the largest logit among those that count, for each image, (n,)."""
        if tasks is None or self.scenario != "task":
            return predicted(logits, self.trained(task))
        told = torch.empty(len(logits), dtype=torch.int64, device=logits.device)
        for part, chosen in self._groups(tasks):
            told[chosen] = predicted(logits[chosen], part)
        return told

    def _groups(self, tasks: Tensor) -> Iterator[tuple[range, Tensor]]:
        """The outputs of each task that occurs, and the places of its images."""
        for number in tasks.unique().tolist():
            yield self.own[number], (tasks == number).nonzero().flatten()


def predicted(logits: Tensor, part: range) -> Tensor:
    """The output with the largest logit among those of a range.

    Example:
        >>> predicted(torch.tensor([[9.0, 1.0, 2.0]]), range(1, 3))
        tensor([2])
    """
    if len(part) == logits.shape[1]:
        return logits.argmax(1)
    return logits[:, part.start : part.stop].argmax(1) + part.start
