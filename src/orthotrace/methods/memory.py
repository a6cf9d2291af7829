"""Images of earlier tasks, kept to be replayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import UserError, checked
from orthotrace.core.seeds import Seeds, derived, generator
from orthotrace.data.images import Batch, Images, Scaling
from orthotrace.data.streams import Stream
from orthotrace.methods.context import Forward, TaskContext


@checked
@dataclass(frozen=True)
class MemoryOptions:
    """What a user sets of a memory.

    Attributes:
        size: images in it; 0 for none.
        sampling: "reservoir" keeps a uniform sample of all images seen, "balanced" one of each class alike.
        batch_size: images replayed with each batch; None for as many as the batch has.
    """

    size: Annotated[int, Field(ge=0, le=10**9)] = 0
    sampling: Literal["reservoir", "balanced"] = "reservoir"
    batch_size: Annotated[int, Field(ge=1)] | None = None


class Replayed(NamedTuple):
    """Images drawn from a memory: pixels as they are stored, labels, tasks, and the logits kept (n, 0 or outputs)."""

    pixels: Tensor
    labels: Tensor
    tasks: Tensor
    logits: Tensor


class Memory(nn.Module):
    """A sample of the images seen, stored as they are in their source (uint8).

    Every image gets a random key in [0, 1), once. A reservoir holds the images with the smallest keys of all: a
    uniform sample without replacement, whatever their order and however often they come. The balanced memory holds
    the smallest keys of each class, as many of one as of the other as far as there are.

    Args:
        options: size and sampling.
        shape: of one image.
        dtype: of its pixels.
        seed: of the keys.
        outputs: of the network, where its logits are kept beside the images; 0 where not.
        targets: of each image in a regression, or the shape of what a trial has; 0 or () where images have labels.
        distinct: tasks there are before the first comes again; None where none does.

    Source: Vitter, Random sampling with a reservoir, ACM TOMS 1985, for what a reservoir is.

    Example:
        >>> memory = Memory(MemoryOptions(size=4, sampling="balanced"), (1, 2, 2), torch.uint8, seed=0)
        >>> part = Images(torch.zeros(90, 1, 2, 2, dtype=torch.uint8), torch.tensor([0] * 80 + [1] * 10))
        >>> memory.offer(part, torch.arange(90), task=0)
        >>> memory.labels.tolist().count(1), len(memory)
        (2, 4)
    """

    pixels: Tensor
    labels: Tensor
    tasks: Tensor
    keys: Tensor
    logits: Tensor

    def __init__(
        self,
        options: MemoryOptions,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        seed: int,
        outputs: int = 0,
        distinct: int | None = None,
        targets: int | tuple[int, ...] = 0,
    ) -> None:
        super().__init__()
        self.options = options
        self.distinct = distinct
        self.seed = seed
        self.register_buffer("pixels", torch.zeros(options.size, *shape, dtype=dtype))
        sizes = (targets,) if isinstance(targets, int) else targets
        kept = torch.zeros(options.size, *sizes) if targets else torch.zeros(options.size, dtype=torch.int64)
        self.register_buffer("labels", kept)
        self.register_buffer("tasks", torch.zeros(options.size, dtype=torch.int64))
        # An empty place has a key that any image beats.
        self.register_buffer("keys", torch.full((options.size,), torch.inf, dtype=torch.float64))
        self.register_buffer("logits", torch.zeros(options.size, outputs))
        self._drawn: tuple[tuple[int, int], Tensor] | None = None

    @classmethod
    def of(
        cls, options: MemoryOptions, model: nn.Module, seeds: Seeds, stream: Stream, keeps_logits: bool = False
    ) -> Memory | None:
        """The memory for a network and a stream; None for one of size 0.

        Raises:
            UserError: a memory that is smaller than the number of classes, or balanced where there are none.
        """
        if not options.size:
            return None
        if stream.regression and options.sampling == "balanced":
            raise UserError("keeps as many of each class, and a regression has none: take reservoir", "memory.sampling")
        if not stream.regression and options.size < len(stream.classes):
            raise UserError(
                f"{options.size} images cannot hold one of each of the {len(stream.classes)} classes", "memory.size"
            )
        outputs = stream.active.outputs if keeps_logits else 0
        dtype = stream.test(0).store.dtype
        targets = tuple(stream.test(0).labels.shape[1:])
        if keeps_logits and stream.trials:
            raise UserError("keeps one answer of each trial, and there is one at each step: take er", "memory")
        made = cls(options, stream.shape, dtype, derived(seeds.method, 3), outputs, stream.distinct, targets)
        # Answers are kept as the network gives them.
        made.register_buffer("logits", made.logits.to(next(model.parameters()).dtype))
        return made.to(next(model.parameters()).device)

    def __len__(self) -> int:
        return int(self.keys.isfinite().sum())

    def images(self, scaling: Scaling) -> Images:
        """What is in it, with the tasks of the images, over the memory's own pixels."""
        there = self.keys.isfinite().nonzero().flatten()
        return Images(self.pixels, self.labels, scaling=scaling, tasks=self.tasks).take(there)

    def hold(self, parts: Sequence[Images], keys: Tensor) -> None:
        """Hold the images of these parts, which know their tasks, and no others; keys are finite, (n,)."""
        # All is read before anything is written: parts may be of this memory.
        device = self.keys.device
        values = {
            "pixels": torch.cat([part.images.to(device) for part in parts]),
            "labels": torch.cat([part.labels.to(device) for part in parts]),
            "tasks": torch.cat([part.tasks.to(device) for part in parts if part.tasks is not None]),
        }
        self.keys.fill_(torch.inf)
        self.keys[: len(keys)] = keys.to(self.keys)
        for name, found in values.items():
            self.get_buffer(name)[: len(found)] = found

    def _keys(self, task: int, count: int) -> Tensor:
        """The keys of all images of a task."""
        if self._drawn is None or self._drawn[0] != (task, count):
            drawn = torch.rand(count, generator=generator(self.seed, 2, task), dtype=torch.float64)
            self._drawn = ((task, count), drawn.to(self.keys.device))
        return self._drawn[1]

    def offer(
        self, part: Images, index: Tensor, task: int, logits: Tensor | None = None, tasks: Tensor | None = None
    ) -> None:
        """Show images of a task's training part; some of them are kept.

        Args:
            part: of the task.
            index: places in it.
            task: number of the task; it decides the keys.
            logits: of the network for these images, where they are kept.
            tasks: of which task each image is; None for the one given.
        """
        device = self.keys.device
        keys = self._keys(task, len(part))[index.to(device)]
        # What is in the memory already does not enter again.
        keys = torch.where(torch.isin(keys, self.keys), torch.inf, keys)
        labels = part.labels[index].to(device)
        every = torch.cat([self.keys, keys])
        kept = self._kept(every, torch.cat([self.labels, labels]))
        size = self.options.size
        stay = torch.zeros(len(every), dtype=torch.bool, device=device)
        stay[kept] = True
        entering = (stay[size:] & keys.isfinite()).nonzero().flatten()
        places = (~stay[:size]).nonzero().flatten()[: len(entering)]
        if not len(entering):
            return
        chosen = index.to(device)[entering]
        self.pixels[places] = part.pixels(chosen.to(part.labels.device)).to(device)
        self.labels[places] = labels[entering]
        self.tasks[places] = task if tasks is None else tasks.to(device)[entering]
        self.keys[places] = keys[entering]
        if self.logits.shape[1] and logits is not None:
            self.logits[places] = logits[entering].to(self.logits.dtype)

    def refresh(self, part: Images, index: Tensor, task: int, logits: Tensor) -> None:
        """Give images that are in the memory already the network's newest logits."""
        keys = self._keys(task, len(part))[index.to(self.keys.device)]
        place, image = (self.keys[:, None] == keys).nonzero(as_tuple=True)
        if len(place):
            self.logits[place] = logits[image].to(self.logits.dtype)

    def _kept(self, keys: Tensor, labels: Tensor) -> Tensor:
        """Places of the images that stay, among those in the memory and those offered."""
        if self.options.sampling == "balanced":
            order = keys.argsort()
            order = order[labels[order].argsort(stable=True)]
            grouped = labels[order]
            # Rank of an image among those of its class: rank 0 of every class comes before rank 1 of any.
            rank = torch.arange(len(order), device=keys.device) - torch.searchsorted(grouped, grouped)
            keys = keys.clone()
            keys[order] += rank
        return keys.topk(self.options.size, largest=False).indices

    def draw(self, count: int, draws: torch.Generator | None = None) -> Replayed | None:
        """Images drawn at random without replacement; None while there are none.

        Args:
            count: of images, where the options name no other.
            draws: of the memory's device; None for torch's own generator.
        """
        there = self.keys.isfinite().nonzero().flatten()
        if not len(there):
            return None
        wanted = self.options.batch_size or count
        chosen = there[torch.randperm(len(there), generator=draws, device=there.device)[:wanted]]
        return Replayed(self.pixels[chosen], self.labels[chosen], self.tasks[chosen], self.logits[chosen])

    def loss(self, network: Forward, count: int, context: TaskContext) -> Tensor | None:
        """Loss of a batch of the memory, each image over the outputs of its own task; None while it is empty."""
        drawn = self.draw(count)
        if drawn is None:
            return None
        logits = network(context.prepare(drawn.pixels))
        return context.outputs.loss(logits, drawn.labels, context.number, drawn.tasks)

    def remember(self, batch: Batch, logits: Tensor, context: TaskContext) -> None:
        """Take in images when they are first seen; where logits are kept, renew them in later epochs."""
        # A task that comes again shows the same images.
        task = context.number if self.distinct is None else context.number % self.distinct
        if context.epoch == 0:
            self.offer(context.part, batch.places, task, logits.detach(), batch.tasks)
        elif self.logits.shape[1]:
            self.refresh(context.part, batch.places, task, logits.detach())

    def mixed_loss(self, loss: Tensor, logits: Tensor, network: Forward, batch: Batch, context: TaskContext) -> Tensor:
        """(loss of the batch + loss of a batch of the memory) / 2, after the first task; remember the batch."""
        extra = self.loss(network, len(batch.labels), context) if context.number else None
        self.remember(batch, logits, context)
        return loss if extra is None else (loss + extra) / 2
