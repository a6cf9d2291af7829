"""Learning without forgetting."""

from __future__ import annotations

import copy
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import kl_div, mse_loss

from orthotrace.core.errors import checked
from orthotrace.core.seeds import Seeds
from orthotrace.data.active_targets import comparable
from orthotrace.data.images import Batch
from orthotrace.data.streams import Stream
from orthotrace.methods.base import Method
from orthotrace.methods.context import Forward, TaskContext


class LwF(Method):
    """Keeps the network's earlier answers on the images of the new task.

    loss = loss of the task + strength temperature^2 mean over earlier heads KL(p_old || p_new), with p the softmax of
    logits / temperature over the outputs that earlier tasks taught: head by head in the task-incremental scenario,
    all together else. p_old is the network as it was before the task. In a regression the second term is strength mean
    over earlier heads of the mean squared change of the outputs, which needs no temperature.

    Args:
        strength: of the second term, at least 0.
        temperature: above 0.

    Raises:
        UserError: an argument out of its range.

    Source: Li & Hoiem, Learning without Forgetting, ECCV 2016; temperature 2 as there.
    """

    @checked
    def __init__(
        self, strength: Annotated[float, Field(ge=0)] = 1.0, temperature: Annotated[float, Field(gt=0)] = 2.0
    ) -> None:
        super().__init__()
        self.strength = strength
        self.temperature = temperature

    def setup(self, model: nn.Module, seeds: Seeds, stream: Stream) -> None:
        """Make room for the network before a task."""
        super().setup(model, seeds, stream)
        self.teacher = copy.deepcopy(model).requires_grad_(False)

    def begin_task(self, context: TaskContext) -> None:
        """Keep the network as it is."""
        self.teacher.load_state_dict(self.model.state_dict())

    def loss(self, network: Forward, batch: Batch, context: TaskContext) -> tuple[Tensor, Tensor]:
        """Loss of the batch, and of the change of its answers."""
        loss, logits = super().loss(network, batch, context)
        heads = context.outputs.of_earlier_tasks(context.number)
        if not heads:
            return loss, logits
        # Here, not when training starts: Lightning warns of modules that are in evaluation mode then.
        if self.teacher.training:
            self.teacher.eval()
        with torch.no_grad():
            expected = self.teacher(batch.inputs)
        of_head = squared_change if batch.labels.is_floating_point() else distillation
        change = sum(
            (of_head(logits[:, head.start : head.stop], expected[:, head.start : head.stop], self.temperature))
            for head in heads
        )
        return loss + self.strength / len(heads) * change, logits


def distillation(logits: Tensor, expected: Tensor, temperature: float) -> Tensor:
    """temperature^2 KL(softmax(expected / temperature) || softmax(logits / temperature)), mean over samples.

    Source: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015, for the factor.

    Example:
        >>> float(distillation(torch.ones(3, 2), torch.zeros(3, 2), 2.0))
        0.0
    """
    ours = (logits / temperature).log_softmax(1)
    theirs = (expected / temperature).log_softmax(1)
    return temperature**2 * kl_div(ours, theirs, reduction="batchmean", log_target=True)


def squared_change(outputs: Tensor, expected: Tensor, temperature: float) -> Tensor:
    """The same for the outputs of a regression: mean squared difference, at any temperature.

    Example:
        >>> float(squared_change(torch.ones(3, 2), torch.zeros(3, 2), 2.0))
        1.0
    """
    return mse_loss(*comparable(outputs, expected))
