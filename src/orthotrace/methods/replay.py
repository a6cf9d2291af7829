"""Methods that replay images of earlier tasks."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from orthotrace.core.errors import UserError, checked
from orthotrace.core.seeds import Seeds, derived
from orthotrace.data.images import Batch
from orthotrace.data.streams import Stream
from orthotrace.methods.base import Forward, Method, trainable
from orthotrace.methods.memory import Memory, MemoryOptions


class Replay(Method):
    """Trains on a batch of the memory beside each batch of the task: loss = (loss of the task + of the memory) / 2.

    Nothing is replayed in the first task. In the task-incremental scenario each image counts over its own task's
    outputs. Images enter the memory when they are first seen.

    Args:
        memory: its options; of size 0 nothing is replayed.

    Raises:
        UserError: at setup, a memory that is smaller than the number of classes.
    """

    keeps_logits = False

    @checked
    def __init__(self, memory: MemoryOptions = MemoryOptions()) -> None:  # noqa: B008 (immutable)
        super().__init__()
        self.memory_options = memory
        self.memory: Memory | None = None

    def setup(self, model: nn.Module, seeds: Seeds, stream: Stream) -> None:
        """Make the memory."""
        super().setup(model, seeds, stream)
        size = self.memory_options.size
        if not size:
            return
        if size < len(stream.classes):
            raise UserError(
                f"{size} images cannot hold one of each of the {len(stream.classes)} classes", "memory.size"
            )
        outputs = self.active.outputs if self.keeps_logits else 0
        seed = derived(seeds.method, 3)
        self.memory = Memory(self.memory_options, stream.shape, stream.test(0).store.dtype, seed, outputs)
        self.memory.to(next(model.parameters()).device)
        self.distinct = stream.distinct

    def loss(self, network: Forward, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss of the batch and of one of the memory, half each."""
        loss, logits = super().loss(network, batch)
        if self.memory is None:
            return loss, logits
        extra = self.replayed(network, len(batch.labels)) if self.number else None
        self.remember(batch, logits)
        return (loss if extra is None else (loss + extra) / 2), logits

    def replayed(self, network: Forward, count: int) -> Tensor | None:
        """Loss of a batch of the memory."""
        assert self.memory is not None
        drawn = self.memory.draw(count)
        if drawn is None:
            return None
        logits = network(self.prepare(drawn.pixels))
        return self.active.loss(logits, drawn.labels, self.number, drawn.tasks)

    def remember(self, batch: Batch, logits: Tensor) -> None:
        """Offer the batch to the memory."""
        assert self.memory is not None
        if self.epoch == 0:
            # A task that comes again shows the same images.
            self.memory.offer(self.part, batch.places, self.number % self.distinct, logits.detach(), batch.tasks)
        elif self.keeps_logits:
            self.memory.refresh(self.part, batch.places, self.number % self.distinct, logits.detach())


class ExperienceReplay(Replay):
    """Experience replay.

    Args:
        memory: its options, of size 1 at least.

    Raises:
        UserError: a memory of size 0; at setup, one that is smaller than the number of classes.

    Source: Chaudhry et al., On Tiny Episodic Memories in Continual Learning, 2019, arXiv 1902.10486.
    """

    @checked
    def __init__(self, memory: MemoryOptions) -> None:
        if not memory.size:
            raise UserError("replay needs a memory of at least one image for each class", "memory.size")
        super().__init__(memory)


class DarkExperienceReplay(ExperienceReplay):
    """DER++: replays the network's logits beside the labels.

    loss = loss of the task + alpha |z' - z|^2 / outputs + beta (loss of the memory), the two terms over two draws
    from the memory, with z' the logits kept. Those of a task's images are kept up to date while the task is trained.

    Args:
        memory: its options, of size 1 at least.
        alpha: weight of the logits, at least 0.
        beta: weight of the labels, at least 0.

    Raises:
        UserError: a weight below 0; as for ExperienceReplay.

    Source: Buzzega et al., Dark Experience for General Continual Learning, NeurIPS 2020, eq. 6.
    """

    keeps_logits = True

    @checked
    def __init__(
        self,
        memory: MemoryOptions,
        alpha: Annotated[float, Field(ge=0)] = 0.5,
        beta: Annotated[float, Field(ge=0)] = 0.5,
    ) -> None:
        super().__init__(memory)
        self.alpha = alpha
        self.beta = beta

    def loss(self, network: Forward, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss of the batch, and the two terms of the memory."""
        loss, logits = Method.loss(self, network, batch)
        assert self.memory is not None
        drawn = self.memory.draw(len(batch.labels)) if self.number else None
        if drawn is not None:
            loss = loss + self.alpha * mse_loss(network(self.prepare(drawn.pixels)), drawn.logits.to(logits.dtype))
            labels = self.replayed(network, len(batch.labels))
            assert labels is not None
            loss = loss + self.beta * labels
        self.remember(batch, logits)
        return loss, logits


class AveragedGem(ExperienceReplay):
    """A-GEM: no step may raise the loss on the memory, to first order.

    g <- g - (g . r) / (r . r) r where g . r < 0, with r the gradient of a batch of the memory. In the paper the memory
    is of earlier tasks alone; here it is the one that all replay shares, which holds images of the running task too.

    Args:
        memory: its options, of size 1 at least.

    Source: Chaudhry et al., Efficient Lifelong Learning with A-GEM, ICLR 2019, eq. 11.
    """

    def loss(self, network: Forward, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss of the batch alone; the memory comes in with the gradients."""
        loss, logits = Method.loss(self, network, batch)
        # In a tuple: the network must not become part of the method's state.
        self._step = (network, len(batch.labels))
        self.remember(batch, logits)
        return loss, logits

    def on_gradients(self) -> None:
        """Take the component against the memory's gradient."""
        if not self.number:
            return
        with torch.enable_grad():
            loss = self.replayed(*self._step)
            if loss is None:
                return
            parameters = trainable(self.model)
            reference = torch.autograd.grad(loss, parameters, allow_unused=True)
        pairs = [
            (parameter.grad, against)
            for parameter, against in zip(parameters, reference, strict=True)
            if parameter.grad is not None and against is not None
        ]
        against = sum(float(gradient.flatten() @ other.flatten()) for gradient, other in pairs)
        if against < 0:
            size = sum(float(other.square().sum()) for _, other in pairs)
            for gradient, other in pairs:
                gradient.sub_(other, alpha=against / size)
