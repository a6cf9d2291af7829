"""How well a network does on images."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrize

from orthotrace.core.errors import UserError
from orthotrace.data.active_outputs import Loss, predicted
from orthotrace.data.active_targets import LOSSES, comparable, r2
from orthotrace.data.active_trials import CHANCE, performed, trial_loss
from orthotrace.data.images import Images
from orthotrace.data.streams import Stream
from orthotrace.methods import Method
from orthotrace.methods.nearest_mean import NearestMean


@dataclass(frozen=True)
class EvaluationResult:
    """What a network gets right, averaged over samples, not over batches.

    Attributes:
        accuracy: share of the images classified correctly, or of the trials performed, in [0, 1]; of a regression R^2,
            in (-inf, 1].
        right: images classified correctly, by label; of a regression R^2 by output.
        count: images, by label; of a regression 1 for each output that was tested.
        loss: mean cross-entropy, or the error of a regression; None where it was not asked for.
    """

    accuracy: float
    right: Tensor
    count: Tensor
    loss: float | None = None


@torch.no_grad()
def evaluate(
    model: nn.Module,
    part: Images,
    outputs: range | None = None,
    batch_size: int | None = None,
    loss: bool = False,
    error: Loss = "mse",
) -> EvaluationResult:
    """Test a network in evaluation mode; its own mode is kept.

    Args:
        model: inputs to logits.
        part: at least one image.
        outputs: over which the network decides; None for all. An image of another label counts as wrong.
        batch_size: images at once; None for as many as suit the device, see at_once.
        loss: measure it too; then every label must be among the outputs.
        error: which loss, of a regression.

    Raises:
        UserError: outputs of a regression that are not finite.

    Example:
        >>> part = Images(torch.eye(3)[:, :2], torch.tensor([0, 1, 1]))
        >>> found = evaluate(nn.Identity(), part, batch_size=2)
        >>> round(found.accuracy, 4), found.right.tolist(), found.count.tolist()
        (0.6667, [1, 1], [1, 2])
    """
    like = next(model.parameters(), part.store)
    training = model.training
    model.eval()
    width, total = 1, 0.0
    right, chosen = [], outputs or range(1)
    # A parametrised weight is computed once, not for every batch.
    with parametrize.cached():
        for inputs, labels in part.split(batch_size or at_once(part, like.device), like):
            logits = model(inputs)
            width = logits.shape[1]
            chosen = outputs or range(width)
            of = logits[:, chosen.start : chosen.stop]
            right.append(of if part.regression else predicted(logits, chosen) == labels)
            if loss and part.trials:
                total += float(trial_loss(of, labels, LOSSES[error])) * len(labels)
            elif loss and part.regression:
                total += float(LOSSES[error](*comparable(of, labels), reduction="sum")) / len(chosen)
            elif loss:
                total += float(cross_entropy(of, labels - chosen.start, reduction="sum"))
    model.train(training)
    if part.regression:
        return _explained(torch.cat(right), part.labels, chosen, width, total / len(part) if loss else None)
    correct, labels = torch.cat(right).cpu(), part.labels.cpu()
    found, count = (torch.bincount(values, minlength=width) for values in (labels[correct], labels))
    return EvaluationResult(int(found.sum()) / len(part), found, count, total / len(part) if loss else None)


def at_once(part: Images, device: torch.device) -> int:
    """Images that are tested at once: on a CPU few enough that what layers give of them stays in its cache.

    A convolutional net took twice as long with 1,024 images of 3 x 32 x 32 as with 64.

    Example:
        >>> at_once(Images(torch.zeros(5, 3, 32, 32), torch.zeros(5)), torch.device("cpu"))
        64
    """
    numbers = part.store[:1].numel()
    return max(64, min(1024, 2**17 // numbers)) if device.type == "cpu" and numbers > 1024 else 1024


def _explained(values: Tensor, targets: Tensor, outputs: range, width: int, loss: float | None) -> EvaluationResult:
    """What the values of the active outputs, (n, k), explain of the targets."""
    values, targets = values.cpu(), targets.cpu()
    if not bool(values.isfinite().all()):
        raise UserError("the outputs of the network are not finite: lower the learning rate, or strengths", "optimizer")
    if targets.ndim == 3:
        none = torch.zeros(width, dtype=torch.int64)
        return EvaluationResult(float(performed(values, targets).double().mean()), none.double(), none, loss)
    found = r2(values, targets)
    right, count = torch.zeros(width, dtype=torch.float64), torch.zeros(width, dtype=torch.int64)
    right[outputs.start : outputs.stop], count[outputs.start : outputs.stop] = found, 1
    return EvaluationResult(float(found.mean()), right, count, loss)


class Evaluator:
    """Tests a network on the tasks of a stream, as its method wants it tested.

    Args:
        model: the network.
        method: that has trained it.
        stream: of the tasks.
        nearest: the means that decide in the place of the readout, once a task was learned; None for the readout.
    """

    def __init__(self, model: nn.Module, method: Method, stream: Stream, nearest: NearestMean | None = None) -> None:
        self.model = model
        self.method = method
        self.stream = stream
        self.nearest = nearest

    def _tested(self, index: int, after: int) -> EvaluationResult:
        outputs = self.stream.active.for_evaluation(index, after)
        return evaluate(self._network(index, after), self.stream.test(index), outputs)

    def _network(self, index: int, after: int) -> nn.Module:
        """What is tested on a task."""
        network = self.method.network(self.model, index)
        return self.nearest.over(network) if self.nearest is not None and after else network

    def untrained(self) -> list[float]:
        """Accuracy on each task before training; in a regression R^2."""
        return [self._tested(index, 0).accuracy for index in range(self.stream.tasks)]

    def __call__(self, after: int, tasks: int | None = None) -> tuple[list[float | None], list[float | None]]:
        """Accuracy on each task, and on each class over the images of all tasks so far.

        In a regression R^2, and that of each output, mean over the tasks so far that have it. Tasks whose outputs were
        not taught yet are not tested: their accuracy is 0 where no class of theirs can be chosen, and None where they
        have a head of their own, which is untrained.

        Args:
            after: tasks that have taught their classes.
            tasks: how many are tested; None for all.
        """
        stream, active = self.stream, self.stream.active
        asked = range(stream.tasks if tasks is None else tasks)
        found = {index: self._tested(index, after) for index in asked if active.taught(index, after)}
        so_far = [one for index, one in found.items() if index < after]
        none = torch.zeros(active.outputs, dtype=torch.int64)
        right = sum((one.right for one in so_far), none).tolist()
        count = sum((one.count for one in so_far), none).tolist()
        by_class = [correct / images if images else None for correct, images in zip(right, count, strict=True)]
        unknown = None if active.scenario == "task" else 0.0
        return [found[index].accuracy if index in found else unknown for index in asked], by_class

    def on_validation(self, after: int) -> list[float]:
        """Accuracy on the validation part of each task; nothing where a task has none.

        Args:
            after: tasks that have taught their classes.
        """
        stream = self.stream
        if not stream.fewest_validation:
            return []
        return [
            evaluate(
                self._network(index, after), stream.held_out(index), stream.active.for_evaluation(index, after)
            ).accuracy
            for index in range(stream.tasks)
        ]

    def chances(self) -> tuple[list[float], list[int]]:
        """Of each task the share of its most frequent class among its test images, and their number.

        In a regression one and the same answer, the mean, has an R^2 of 0; in trials one direction is right in a fifth.
        """
        parts = [self.stream.test(index).labels for index in range(self.stream.tasks)]
        if self.stream.trials:
            return [CHANCE] * len(parts), [len(targets) for targets in parts]
        if self.stream.regression:
            return [0.0] * len(parts), [len(targets) for targets in parts]
        return [int(torch.bincount(labels).max()) / len(labels) for labels in parts], [len(labels) for labels in parts]
