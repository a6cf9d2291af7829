"""Methods that replay images of earlier tasks."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from orthotrace.core.errors import UserError, checked
from orthotrace.core.seeds import Seeds
from orthotrace.data.images import Batch
from orthotrace.data.streams import Stream
from orthotrace.methods.base import Method, trainable
from orthotrace.methods.context import Forward, TaskContext
from orthotrace.methods.memory import Memory, MemoryOptions


class ExperienceReplay(Method):
    """Experience replay: loss = (loss of the task + of a batch of the memory) / 2.

    Nothing is replayed in the first task. In the task-incremental scenario each image counts over its own task's
    outputs. Images enter the memory when they are first seen.

    Args:
        memory: its options, of size 1 at least.

    Raises:
        UserError: a memory of size 0; at setup, one that is smaller than the number of classes.

    Source: Chaudhry et al., On Tiny Episodic Memories in Continual Learning, 2019, arXiv 1902.10486.
    """

    keeps_logits = False
    memory: Memory

    @checked
    def __init__(self, memory: MemoryOptions) -> None:
        super().__init__()
        if not memory.size:
            raise UserError("replay needs a memory of at least one image for each class", "memory.size")
        self.memory_options = memory

    def setup(self, model: nn.Module, seeds: Seeds, stream: Stream) -> None:
        """Make the memory."""
        super().setup(model, seeds, stream)
        memory = Memory.of(self.memory_options, model, seeds, stream, self.keeps_logits)
        assert memory is not None
        self.memory = memory

    def loss(self, network: Forward, batch: Batch, context: TaskContext) -> tuple[Tensor, Tensor]:
        """Loss of the batch and of one of the memory, half each."""
        loss, logits = super().loss(network, batch, context)
        return self.memory.mixed_loss(loss, logits, network, batch, context), logits


class AsymmetricReplay(ExperienceReplay):
    """ER-ACE: new images compete with the classes of their own batch alone, so that they do not push old ones away.

    loss = cross-entropy of the batch over the classes in it + cross-entropy of a batch of the memory over all classes
    so far. In a regression, which has no classes, both are the ordinary loss. In the task-incremental scenario an image
    of the memory counts over its own task's outputs.

    Args:
        memory: its options, of size 1 at least.

    Raises:
        UserError: as for ExperienceReplay.

    Source: Caccia et al., New Insights on Reducing Abrupt Representation Change in Online Continual Learning, ICLR
    2022, section 4.
    """

    def setup(self, model: nn.Module, seeds: Seeds, stream: Stream) -> None:
        """Make the memory."""
        super().setup(model, seeds, stream)
        self._classes = not stream.regression

    def loss(self, network: Forward, batch: Batch, context: TaskContext) -> tuple[Tensor, Tensor]:
        """Loss of the batch over its own classes, and of one of the memory over all."""
        if self._classes:
            logits = self.training_forward(network, batch.inputs, context)
            loss = context.outputs.loss_among_present(logits, batch.labels)
        else:
            loss, logits = Method.loss(self, network, batch, context)
        extra = self.memory.loss(network, len(batch.labels), context) if context.number else None
        self.memory.remember(batch, logits, context)
        return (loss if extra is None else loss + extra), logits


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

    def loss(self, network: Forward, batch: Batch, context: TaskContext) -> tuple[Tensor, Tensor]:
        """Loss of the batch, and the two terms of the memory."""
        loss, logits = Method.loss(self, network, batch, context)
        drawn = self.memory.draw(len(batch.labels)) if context.number else None
        if drawn is not None:
            replayed = network(context.prepare(drawn.pixels))
            loss = loss + self.alpha * mse_loss(replayed, drawn.logits.to(logits.dtype))
            labels = self.memory.loss(network, len(batch.labels), context)
            assert labels is not None
            loss = loss + self.beta * labels
        self.memory.remember(batch, logits, context)
        return loss, logits


class AveragedGem(ExperienceReplay):
    """A-GEM: no step may raise the loss on the memory, to first order.

    g <- g - (g . r) / (r . r) r where g . r < 0, with r the gradient of a batch of the memory. In the paper the memory
    is of earlier tasks alone; here it is the one that all replay shares, which holds images of the running task too.

    Args:
        memory: its options, of size 1 at least.

    Source: Chaudhry et al., Efficient Lifelong Learning with A-GEM, ICLR 2019, eq. 11.
    """

    def loss(self, network: Forward, batch: Batch, context: TaskContext) -> tuple[Tensor, Tensor]:
        """Loss of the batch alone; the memory comes in with the gradients."""
        loss, logits = Method.loss(self, network, batch, context)
        # In a tuple: the network must not become part of the method's state.
        self._step = (network, len(batch.labels))
        self.memory.remember(batch, logits, context)
        return loss, logits

    def on_gradients(self, context: TaskContext) -> None:
        """Take the component against the memory's gradient."""
        if not context.number:
            return
        with torch.enable_grad():
            loss = self.memory.loss(*self._step, context)
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
