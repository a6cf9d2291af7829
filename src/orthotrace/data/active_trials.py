"""The outputs of a network that answers at each step of a trial: their loss and their score."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from orthotrace.data.active_targets import LOSSES, ActiveTargets, comparable

# Of the circle: the largest error of a direction that is right, to each side.
WITHIN = 0.2 * math.pi
# The share of the trials in which one and the same direction is right.
CHANCE = WITHIN / math.pi


@dataclass(frozen=True)
class ActiveTrials(ActiveTargets):
    """The active outputs of trials: as ActiveTargets, with a target for each step, and the weight of the step.

    Outputs are (n, k, steps). The labels of trials, (n, k + 1, steps), are the targets of the k outputs of a task, of
    which the first is fixation, and last the weights of the steps.

    Example:
        >>> labels = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 3.0]]])
        >>> active = ActiveTrials("domain", (range(0, 3),))
        >>> active.score_of(labels[:, :3], labels), float(active.loss(labels[:, :3] + 2, labels, task=0))
        (1.0, 16.0)
    """

    score: ClassVar[str] = "performance"

    def _loss(self, logits: Tensor, labels: Tensor, part: range) -> Tensor:
        return trial_loss(logits[:, part.start : part.stop], labels, LOSSES[self.error])

    def predicted(self, logits: Tensor, task: int, tasks: Tensor | None = None) -> Tensor:
        """The values of the active outputs, (n, k, steps)."""
        if tasks is None or self.scenario != "task":
            part = self.for_training(task)
            return logits[:, part.start : part.stop]
        found = torch.empty(len(logits), len(self.by_task[task]), logits.shape[2], dtype=logits.dtype)
        found = found.to(logits.device)
        for part, chosen in self._groups(tasks):
            found[chosen] = logits[chosen, part.start : part.stop]
        return found

    def score_of(
        self, predicted: Tensor, labels: Tensor, reduce: Callable[[Tensor], None] = lambda sums: None
    ) -> float:
        """The share of the trials that are performed, see performed."""
        right = performed(predicted, labels).sum().double().cpu()
        sums = torch.stack([right, right.new_tensor(len(labels))]).to(labels.device)
        reduce(sums)
        found, total = sums.tolist()
        return found / total


def trial_loss(outputs: Tensor, labels: Tensor, error: Callable[..., Tensor]) -> Tensor:
    """The weighted error, mean over trials, outputs and steps: an error of fixation counts twice.

    Source: Yang et al., Nature Neuroscience 22, 2019, whose cost is the mean square of weight times error.
    """
    values, wanted = comparable(outputs, labels)
    each = error(values, wanted[:, :-1], reduction="none") * wanted[:, -1:]
    # A mask of 2 on the error is a weight of 4 on its square.
    factor = torch.ones(each.shape[1], 1, dtype=each.dtype, device=each.device)
    factor[0] = 4
    return (each * factor).mean()


def performed(outputs: Tensor, labels: Tensor) -> Tensor:
    """Whether each trial ends right: the last step that has a weight tells.

    Where the target is to fixate the first output must be above 1/2; else it must be below, and the direction of the
    two outputs (cos, sin) within pi / 5 of the target's.

    Args:
        outputs: (n, 3, steps).
        labels: (n, 4, steps), see ActiveTrials.

    Returns:
        (n,), boolean.

    Source: Yang et al., Nature Neuroscience 22, 2019; Duncker et al., NeurIPS 2020.

    Example:
        >>> labels = torch.tensor([[[0.0], [1.0], [0.0], [1.0]]])
        >>> ends = [[0.1, 2.0, 1.0], [0.1, 1.0, 2.0], [0.9, 2.0, 1.0]]
        >>> [bool(performed(torch.tensor([end])[..., None], labels)) for end in ends]
        [True, False, False]
    """
    steps = torch.arange(labels.shape[2], device=labels.device)
    last = torch.where(labels[:, -1] > 0, steps, -1).amax(1)
    place = last[:, None, None].expand(-1, 3, 1)
    fixation, cosine, sine = outputs.gather(2, place)[..., 0].unbind(1)
    wanted, cosine_wanted, sine_wanted = labels[:, :3].gather(2, place)[..., 0].unbind(1)
    apart = torch.atan2(sine, cosine) - torch.atan2(sine_wanted, cosine_wanted)
    apart = torch.remainder(apart + math.pi, 2 * math.pi) - math.pi
    return torch.where(wanted > 0.5, fixation > 0.5, (fixation < 0.5) & (apart.abs() < WITHIN))
