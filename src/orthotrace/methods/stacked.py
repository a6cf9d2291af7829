"""The step of five methods for several networks at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import derived
from orthotrace.data.active_outputs import ActiveOutputs
from orthotrace.data.images import Batch
from orthotrace.layers.stack import Stack
from orthotrace.methods.base import Method, trainable
from orthotrace.methods.context import TaskContext
from orthotrace.methods.ewc import EWC, add_gradient
from orthotrace.methods.finetune import Finetune
from orthotrace.methods.gpm import GPM
from orthotrace.methods.hlop import HLOP
from orthotrace.methods.memory import Memory
from orthotrace.methods.projection import ProjectionMethod
from orthotrace.methods.replay import ExperienceReplay
from orthotrace.protection.stacked import StackedProjector, check_stackable_guard

KINDS = (Finetune, GPM, HLOP, ExperienceReplay, EWC)


def check_stackable_method(method: Method) -> None:
    """See whether several networks can learn by a method at once.

    Args:
        method: already set up.

    Raises:
        UserError: it is none of the five, or one of its options is not done for several at once.
    """
    if type(method) not in KINDS:
        raise UserError(
            f"{type(method).__name__} trains one network at a time: take finetune, gpm, hlop, er or ewc, or leave "
            "seeds_at_once at 1",
            "method",
        )
    if isinstance(method, ProjectionMethod):
        try:
            check_stackable_guard(method.guard)
        except UserError as error:
            raise error.below("method") from error


@dataclass(frozen=True)
class StackedBatch:
    """A batch of each network.

    Attributes:
        inputs: (S, n, ...).
        labels: (S, n).
        each: as each network alone would have it.
    """

    inputs: Tensor
    labels: Tensor
    each: tuple[Batch, ...]

    @classmethod
    def of(cls, each: Sequence[Batch]) -> StackedBatch:
        """From a batch of each network, all of one size."""
        inputs, labels = ([getattr(batch, name) for batch in each] for name in ("inputs", "labels"))
        return cls(torch.stack(inputs), torch.stack(labels), tuple(each))


class StackedMethod:
    """What methods of one kind do in a step, each for its own network, for all of them at once.

    It reads what the methods keep, and lets them observe and remember what is their networks'; what they do before and
    after a task they do themselves.

    Args:
        methods: of the networks, in their order, at the same task, which has begun.
        contexts: of the task, likewise.
        stack: the networks.

    Attributes:
        failed: number of a network -> why what its layers were given could not be learned from.
    """

    def __init__(self, methods: Sequence[Method], contexts: Sequence[TaskContext], stack: Stack) -> None:
        self.methods = list(methods)
        self.stack = stack
        self.failed: dict[int, UserError] = {}
        self.contexts = list(contexts)
        found = [getattr(method, "memory", None) for method in methods]
        self._memories: list[Memory] = [memory for memory in found if memory is not None]
        projecting = [method for method in methods if isinstance(method, ProjectionMethod)]
        self._guards = [method.guard for method in projecting]
        self._projector = StackedProjector(self._guards, stack.parameters) if projecting else None
        self._draws: list[torch.Generator] = []
        self._quadratic = self._joined() if contexts[0].number else []

    def _joined(self) -> list[tuple[Tensor, Tensor, Tensor, float]]:
        """Of EWC: parameters, importance, centre, each (S, ...), and the strength."""
        methods = [method for method in self.methods if isinstance(method, EWC)]
        if not methods:
            return []
        names = [name for name, value in self.stack.models[0].named_parameters() if value.requires_grad]
        assert len(names) == len(trainable(self.stack.models[0]))
        pairs = [
            [torch.stack(values) for values in zip(*slots, strict=True)]
            for slots in ([one.importance for one in methods], [one.centre for one in methods])
        ]
        parameters = [self.stack.parameters[name] for name in names]
        return [(*values, methods[0].strength) for values in zip(parameters, *pairs, strict=True)]

    def begin_epoch(self, contexts: Sequence[TaskContext], seeds: Sequence[int]) -> None:
        """An epoch begins.

        Args:
            contexts: of each network.
            seeds: of what each draws within a step.
        """
        self.contexts = list(contexts)
        self._draws = [torch.Generator(memory.keys.device) for memory in self._memories]
        for draws, seed, context in zip(self._draws, seeds, contexts, strict=False):
            draws.manual_seed(derived(seed, 1, context.number, context.epoch))

    @property
    def _watches(self) -> bool:
        method = self.methods[0]
        return (
            isinstance(method, ProjectionMethod) and method.watches and self.contexts[0].epoch + 1 >= method.start_epoch
        )

    def loss(self, batch: StackedBatch) -> tuple[Tensor, Tensor]:
        """Loss of each network's batch, (S,), and the logits (S, n, outputs)."""
        watches = self._watches
        logits, calls = self.stack(batch.inputs, watch=watches)
        if watches:
            self._observe(calls)
        context = self.contexts[0]
        tasks = [one.tasks for one in batch.each]
        losses = losses_of(context.outputs, logits, batch.labels, context.number, tasks)
        if not self._memories:
            return losses, logits
        extra = self._replayed(len(batch.each[0].labels)) if context.number else None
        for memory, one, values, own in zip(self._memories, batch.each, logits, self.contexts, strict=True):
            memory.remember(one, values, own)
        return (losses if extra is None else (losses + extra) / 2), logits

    def _replayed(self, count: int) -> Tensor | None:
        """Loss of a batch of each memory, (S,); None while they are empty."""
        drawn = [memory.draw(count, draws) for memory, draws in zip(self._memories, self._draws, strict=True)]
        there = [one for one in drawn if one is not None]
        if len(there) < len(drawn):
            return None
        # Each augments its own.
        inputs = [context.prepare(one.pixels) for context, one in zip(self.contexts, there, strict=True)]
        logits, _ = self.stack(torch.stack(inputs))
        context = self.contexts[0]
        labels = torch.stack([one.labels for one in there])
        return losses_of(context.outputs, logits, labels, context.number, [one.tasks for one in there])

    def _observe(self, calls: Mapping[str, Sequence[Tensor]]) -> None:
        """Let the subspaces of each network observe what its layers were given."""
        for number, guard in enumerate(self._guards):
            if number in self.failed:
                continue
            try:
                guard.observe(guard.rows_of({name: [one[number] for one in given] for name, given in calls.items()}))
            except UserError as error:
                # The others are not concerned: nothing of one network enters another.
                self.failed[number] = error

    def on_gradients(self) -> None:
        """Add the gradient of EWC's penalty."""
        for parameter, importance, centre, strength in self._quadratic:
            slope = torch.addcmul(centre, importance, parameter.detach(), value=-1)
            add_gradient(parameter, slope, -strength)  # pyright: ignore[reportArgumentType] (a tensor has a gradient)

    def after_step(self) -> None:
        """Project what the optimizer applied."""
        if self._projector is not None:
            self._projector.enforce()


def losses_of(
    outputs: ActiveOutputs, logits: Tensor, labels: Tensor, number: int, tasks: Sequence[Tensor | None]
) -> Tensor:
    """Loss of each network over its active outputs, (S,).

    Args:
        outputs: which are active, for all networks alike.
        logits: (S, n, outputs).
        labels: (S, n).
        number: of the task in training.
        tasks: of each network the task of each image, (n,); None where all are of the task in training.

    Example:
        >>> active = ActiveOutputs("class", (range(0, 2),))
        >>> losses_of(active, torch.zeros(3, 5, 2), torch.zeros(3, 5, dtype=torch.int64), 0, [None] * 3)
        tensor([0.6931, 0.6931, 0.6931])
    """

    def alone(one: Tensor, targets: Tensor) -> Any:
        return outputs.loss(one, targets, number)

    if outputs.scenario != "task" or all(of is None for of in tasks):
        return vmap(alone)(logits, labels)
    # By task: what is in a group is for each network to tell.
    each = zip(logits, labels, tasks, strict=True)
    return torch.stack([outputs.loss(one, targets, number, of) for one, targets, of in each])
