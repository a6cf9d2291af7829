"""Which outputs of a network are active for which task, and the loss over them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

Scenario = Literal["task", "domain", "class"]
Loss = Literal["cross_entropy", "mse", "l1", "huber"]
# Targets that are partly the network's own answers, see bootstrapped.
Bootstrap = Literal["soft", "hard"]


@dataclass(frozen=True)
class ActiveOutputs:
    """The outputs (logits) that are active in training and evaluation, by scenario.

    - task: each task has a head of its own, and is trained and tested over its outputs alone.
    - domain: all tasks share all outputs.
    - class: a task is trained and tested over the outputs of all classes so far; the task of an image is not known.

    Labels are numbers of outputs.

    Attributes:
        scenario: one of the three.
        by_task: the outputs of each task's classes, in order of the tasks; a repeated task has the same ones again.
        blurred: images of later tasks may come early, so that all outputs are active from the start.
        smoothing: label smoothing, in [0, 1).
        room: outputs of the network, where it has more than the tasks need.
        error: the loss; cross-entropy for classes.
        bootstrap: targets that are partly the network's own answers, "soft" or "hard", see bootstrapped; None for none.
        beta: the share of the label in them; None for the published one.
        score: its name: accuracy, or what a regression has instead.

    Source: van de Ven, Tuytelaars & Tolias, Three types of incremental learning, Nature Machine Intelligence 2022.

    Example:
        >>> active = ActiveOutputs("class", (range(0, 2), range(2, 4)))
        >>> active.for_training(0), active.for_training(1), active.for_evaluation(0, after=2)
        (range(0, 2), range(0, 4), range(0, 4))
    """

    score: ClassVar[str] = "accuracy"
    scenario: Scenario
    by_task: tuple[range, ...]
    blurred: bool = False
    smoothing: float = 0.0
    room: int = 0
    error: Loss = "cross_entropy"
    bootstrap: Bootstrap | None = None
    beta: float | None = None

    @cached_property
    def outputs(self) -> int:
        """The number of outputs of the network."""
        return max(self.room, *(part.stop for part in self.by_task))

    def for_training(self, task: int) -> range:
        """The active outputs while a task is trained, from 0."""
        if self.scenario == "task":
            return self.by_task[task]
        if self.scenario == "class" and not self.blurred:
            return range(max(part.stop for part in self.by_task[: task + 1]))
        return range(self.outputs)

    def for_evaluation(self, task: int, after: int) -> range:
        """The active outputs while a task is tested, after training on so many tasks.

        The untrained network (after = 0) has seen no class: all its outputs are active, or those of the task's head.
        """
        if self.scenario == "task":
            return self.by_task[task]
        return self.for_training(after - 1) if after else range(self.outputs)

    def taught(self, task: int, after: int) -> bool:
        """Whether the outputs of a task have been trained, after training on so many tasks.

        Example:
            >>> active = ActiveOutputs("class", (range(0, 2), range(2, 4)))
            >>> active.taught(0, after=1), active.taught(1, after=1), active.taught(1, after=2)
            (True, False, True)
        """
        return self.blurred or self.by_task[task] in self.by_task[:after]

    def of_earlier_tasks(self, task: int) -> list[range]:
        """The outputs that earlier tasks have trained: one range for each head, each once."""
        if self.scenario == "task":
            return list(dict.fromkeys(self.by_task[:task]))
        return [self.for_training(task - 1)] if task else []

    def loss(self, logits: Tensor, labels: Tensor, task: int, tasks: Tensor | None = None) -> Tensor:
        """Mean cross-entropy over the active outputs.

        Args:
            logits: (n, outputs).
            labels: (n,), numbers of outputs.
            task: the task in training.
            tasks: (n,), the task of each image; None where all are of the task in training.

        Logits that are a mean over steps of time, of a network that learns online, have those of each step as
        ``over_steps``, (steps, n, outputs): the mean of their losses is taken.
        """
        over_steps = getattr(logits, "over_steps", None)
        if over_steps is not None:
            steps, logits = len(over_steps), over_steps.flatten(0, 1)
            labels = torch.cat([labels] * steps)
            tasks = None if tasks is None else torch.cat([tasks] * steps)
        if tasks is None or self.scenario != "task":
            return self._loss(logits, labels, self.for_training(task))
        total = logits.new_zeros(())
        for part, chosen in self._groups(tasks):
            total = total + self._loss(logits[chosen], labels[chosen], part) * (len(chosen) / len(labels))
        return total

    def loss_among_present(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy over the outputs that the labels of a batch name, and no others.

        Args:
            logits: (n, outputs), or with those of each step, as for loss.
            labels: (n,), numbers of outputs.

        Example:
            >>> active = ActiveOutputs("class", (range(0, 2), range(2, 4)))
            >>> float(active.loss_among_present(torch.tensor([[9.0, 9.0, 0.0, 0.0]] * 2), torch.tensor([2, 3])))
            0.6931...
        """
        over_steps = getattr(logits, "over_steps", None)
        if over_steps is not None:
            logits, labels = over_steps.flatten(0, 1), labels.repeat(len(over_steps))
        present, places = labels.unique(return_inverse=True)
        return self._entropy(logits[:, present], places)

    def _loss(self, logits: Tensor, labels: Tensor, part: range) -> Tensor:
        if len(part) < logits.shape[1]:
            logits, labels = logits[:, part.start : part.stop], labels - part.start
        return self._entropy(logits, labels)

    def _entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy with the targets that are wanted."""
        if self.bootstrap is None:
            return cross_entropy(logits, labels, label_smoothing=self.smoothing)
        from orthotrace.data.bootstrapped import bootstrapped

        return bootstrapped(logits, labels, self.bootstrap, self.beta, self.smoothing)

    def predicted(self, logits: Tensor, task: int, tasks: Tensor | None = None) -> Tensor:
        """For each image the active output with the largest logit, (n,)."""
        if tasks is None or self.scenario != "task":
            return predicted(logits, self.for_training(task))
        found = torch.empty(len(logits), dtype=torch.int64, device=logits.device)
        for part, chosen in self._groups(tasks):
            found[chosen] = predicted(logits[chosen], part)
        return found

    def score_of(
        self, predicted: Tensor, labels: Tensor, reduce: Callable[[Tensor], None] = lambda sums: None
    ) -> float:
        """The share of the images that are classified correctly.

        Args:
            predicted: as predicted gives them.
            labels: of the images.
            reduce: sums up, in place, what several processes have; each of them has some of the images.
        """
        right = (predicted == labels).sum().double().cpu()
        sums = torch.stack([right, right.new_tensor(len(labels))]).to(labels.device)
        reduce(sums)
        found, total = sums.tolist()
        return found / total

    def _groups(self, tasks: Tensor) -> Iterator[tuple[range, Tensor]]:
        """For each task that occurs: its outputs, and the indices of its images."""
        for number in tasks.unique().tolist():
            yield self.by_task[number], (tasks == number).nonzero().flatten()


def predicted(logits: Tensor, part: range) -> Tensor:
    """For each image the output with the largest logit within a range, (n,).

    Example:
        >>> predicted(torch.tensor([[9.0, 1.0, 2.0]]), range(1, 3))
        tensor([2])
    """
    if len(part) == logits.shape[1]:
        return logits.argmax(1)
    return logits[:, part.start : part.stop].argmax(1) + part.start
