"""What methods are measured against: all tasks at once, and each task alone."""

import copy
from dataclasses import replace

import torch
from torch import nn

from orthotrace.core.seeds import Seeds
from orthotrace.data.images import Images
from orthotrace.data.streams import Stream, Task
from orthotrace.methods.base import Method, Outcome
from orthotrace.methods.context import TaskContext


class Joint(Method):
    """Trains on the images of all tasks so far, shuffled together (multitask): the upper reference."""

    def task(self, stream: Stream, number: int) -> Task:
        """All tasks up to this one as one."""
        tasks = [stream.task(index) for index in range(number + 1)]

        def joined(parts: list[Images]) -> Images:
            return Images.joined(
                [replace(part, tasks=torch.full((len(part),), index)) for index, part in enumerate(parts)]
            )

        return Task(joined([task.train for task in tasks]), joined([task.validation for task in tasks]), tasks[-1].test)


class Independent(Method):
    """Trains each task from the initial weights: the single-task reference.

    In the task-incremental scenario each task is tested with its own network. In the others nothing tells which
    network to take: the newest is tested on all tasks.
    """

    restarts = True

    def setup(self, model: nn.Module, seeds: Seeds, stream: Stream) -> None:
        """Keep the initial weights."""
        super().setup(model, seeds, stream)
        self.initial = copy.deepcopy(model).requires_grad_(False)
        own = stream.distinct if stream.scenario == "task" else 0
        self.distinct = stream.distinct
        self.trained = nn.ModuleList(copy.deepcopy(self.initial) for _ in range(own))

    def fresh(self, number: int) -> bool:
        """Every task, unless it comes again with a network of its own."""
        return not (self.trained and number >= self.distinct)

    def begin_task(self, context: TaskContext) -> None:
        """Start again; a task that comes again goes on where it was."""
        number = context.number
        start = self.initial if self.fresh(number) else self.trained[number % self.distinct]
        self.model.load_state_dict(start.state_dict())

    def end_task(self, context: TaskContext) -> Outcome:
        """Keep the task's network, where the test says which task it is of."""
        if self.trained:
            self.trained[context.number % self.distinct].load_state_dict(self.model.state_dict())
        return Outcome()

    def network(self, model: nn.Module, task: int) -> nn.Module:
        """The network of a task."""
        return self.trained[task % self.distinct] if self.trained else model
