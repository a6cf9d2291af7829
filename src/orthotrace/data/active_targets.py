"""The outputs of a network that answers with numbers: which are active for which task, their loss and their score."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import huber_loss, l1_loss, mse_loss

from orthotrace.data.active_outputs import ActiveOutputs, Loss

LOSSES: dict[Loss, Callable[..., Tensor]] = {"mse": mse_loss, "l1": l1_loss, "huber": huber_loss}


@dataclass(frozen=True)
class ActiveTargets(ActiveOutputs):
    """The active outputs of a regression: as ActiveOutputs, with targets in the place of labels.

    The targets of an image, (n, k), are those of the k outputs of its task. No scenario is class-incremental.

    Attributes:
        error: "mse" (squared), "l1" (absolute) or "huber" (squared up to 1, absolute beyond), mean over images and
            outputs.

    Example:
        >>> active = ActiveTargets("task", (range(0, 1), range(1, 2)))
        >>> float(active.loss(torch.tensor([[9.0, 1.0]]), torch.tensor([[3.0]]), task=1))
        4.0
    """

    score: ClassVar[str] = "r2"
    error: Loss = "mse"

    def _loss(self, logits: Tensor, labels: Tensor, part: range) -> Tensor:
        values, targets = comparable(logits[:, part.start : part.stop], labels)
        return LOSSES[self.error](values, targets)

    def predicted(self, logits: Tensor, task: int, tasks: Tensor | None = None) -> Tensor:
        """The values of the active outputs, (n, k)."""
        if tasks is None or self.scenario != "task":
            part = self.for_training(task)
            return logits[:, part.start : part.stop]
        found = torch.empty(len(logits), len(self.by_task[task]), dtype=logits.dtype, device=logits.device)
        for part, chosen in self._groups(tasks):
            found[chosen] = logits[chosen, part.start : part.stop]
        return found

    def score_of(
        self, predicted: Tensor, labels: Tensor, reduce: Callable[[Tensor], None] = lambda sums: None
    ) -> float:
        """R^2, mean over targets, see r2."""
        return float(r2(predicted, labels, reduce).mean())


def comparable(values: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Both in one type, of at least float32: under mixed precision outputs come in fewer bits."""
    dtype = torch.promote_types(values.dtype, torch.float32)
    return values.to(dtype), targets.to(dtype)


def r2(predicted: Tensor, targets: Tensor, reduce: Callable[[Tensor], None] = lambda sums: None) -> Tensor:
    """The share of the variance of each target that is explained, 1 - sum (y - y')^2 / sum (y - mean y)^2.

    In (-inf, 1]: 1 where all is right, 0 for the mean of the targets as answer, below 0 for worse. It is not clipped.
    Of a target that does not vary it is 1 where all is right, else 0, as in scikit-learn.

    Args:
        predicted: y', (n, k).
        targets: y, (n, k).
        reduce: sums up, in place, what several processes have; each of them has some of the images.

    Returns:
        (k,), in float64.

    Source: scikit-learn, r2_score.

    Example:
        >>> r2(torch.tensor([[1.0], [2.0], [2.0]]), torch.tensor([[1.0], [2.0], [3.0]]))
        tensor([0.5000], dtype=torch.float64)
    """
    device = targets.device
    values, wanted = predicted.double().cpu(), targets.double().cpu()
    sums = torch.cat([wanted.sum(0), wanted.new_tensor([len(wanted)])]).to(device)
    reduce(sums)
    mean = (sums[:-1] / sums[-1]).cpu()
    # About the mean: squares of large targets would cancel.
    squares = torch.stack([(wanted - values).square().sum(0), (wanted - mean).square().sum(0)]).to(device)
    reduce(squares)
    left, whole = squares.cpu()
    exact = torch.where(left == 0, 1.0, 0.0).double()
    return torch.where(whole > 0, 1 - left / whole, exact)
