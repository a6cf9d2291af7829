"""Elastic weight consolidation."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from orthotrace.core.errors import checked
from orthotrace.core.seeds import Seeds, generator
from orthotrace.data.images import Images
from orthotrace.data.streams import Stream
from orthotrace.methods.base import Method, Outcome, Slots, trainable
from orthotrace.methods.context import TaskContext

# Numbers of the gradients of single images that are in memory at once: 64 MB in float32.
GRADIENTS = 2**24


class EWC(Method):
    """A quadratic penalty on the distance from the weights of earlier tasks, weighted by Fisher information.

    penalty = strength / 2 sum_t sum_k F_tk (theta_k - theta_tk)^2, with F_t the diagonal of the Fisher information
    after task t and theta_t the weights then. The sum over tasks is one quadratic, of which two numbers for each
    weight are kept, sum_t F_t and sum_t F_t theta_t: a step costs the same after any number of tasks. Its gradient
    is added to that of the loss. In a regression p(y | x) is normal about the outputs, with variance 1; of trials it is
    so at each step, with variance 1 / weight.

    Args:
        strength: of the penalty, at least 0.
        samples: training images over which the Fisher information is averaged, at least 1.
        fisher: "sampled" draws each image's label (or targets) from the network's own prediction, "empirical" takes
            the right one.

    Raises:
        UserError: an argument out of its range.

    Source: Kirkpatrick et al., Overcoming catastrophic forgetting in neural networks, PNAS 2017, eq. 3.
    """

    @checked
    def __init__(
        self,
        strength: Annotated[float, Field(ge=0)] = 100.0,
        samples: Annotated[int, Field(ge=1)] = 1000,
        fisher: Literal["sampled", "empirical"] = "sampled",
    ) -> None:
        super().__init__()
        self.strength = strength
        self.samples = samples
        self.fisher = fisher

    def setup(self, model: nn.Module, seeds: Seeds, stream: Stream) -> None:
        """Make room for the quadratic."""
        super().setup(model, seeds, stream)
        # sum_t F_t, and sum_t F_t theta_t.
        self.importance = Slots(model)
        self.centre = Slots(model)

    def on_gradients(self, context: TaskContext) -> None:
        """Add the gradient of the penalty."""
        if not context.number:
            return
        for parameter, importance, centre in zip(trainable(self.model), self.importance, self.centre, strict=True):
            slope = torch.addcmul(centre, importance, parameter.detach(), value=-1)
            add_gradient(parameter, slope, -self.strength)

    @torch.no_grad()
    def end_task(self, context: TaskContext) -> Outcome:
        """Measure the task's Fisher information, and merge it."""
        number, seed, part = context.number, context.seeds.method, context.part
        order = torch.randperm(len(part), generator=generator(seed, 4, number))
        measured = fisher_diagonal(
            self.model,
            part.take(order[: self.samples].to(part.labels.device)),
            context.outputs.for_training(number),
            generator(seed, 5, number) if self.fisher == "sampled" else None,
        )
        for values, importance, centre, parameter in zip(
            measured, self.importance, self.centre, trainable(self.model), strict=True
        ):
            self.merge(values, importance, centre, parameter.detach())
        return Outcome()

    def merge(self, values: Tensor, importance: Tensor, centre: Tensor, weights: Tensor) -> None:
        """Add a task's quadratic to that of the tasks before."""
        importance.add_(values)
        centre.addcmul_(values, weights)


class OnlineEWC(EWC):
    """One running penalty around the newest weights.

    penalty = strength / 2 sum_k F_k (theta_k - theta*_k)^2, with F <- decay F + F_t and theta* the weights after the
    latest task.

    Args:
        strength: of the penalty, at least 0.
        decay: of the Fisher information of earlier tasks, in [0, 1].
        samples, fisher: as for EWC.

    Raises:
        UserError: an argument out of its range.

    Source: Schwarz et al., Progress & Compress, ICML 2018, section 4.
    """

    @checked
    def __init__(
        self,
        strength: Annotated[float, Field(ge=0)] = 100.0,
        decay: Annotated[float, Field(ge=0, le=1)] = 1.0,
        samples: Annotated[int, Field(ge=1)] = 1000,
        fisher: Literal["sampled", "empirical"] = "sampled",
    ) -> None:
        super().__init__(strength, samples, fisher)
        self.decay = decay

    def merge(self, values: Tensor, importance: Tensor, centre: Tensor, weights: Tensor) -> None:
        """Let the past fade, and move to the newest weights."""
        importance.mul_(self.decay).add_(values)
        torch.mul(importance, weights, out=centre)


def add_gradient(parameter: Tensor, slope: Tensor, factor: float) -> None:
    """Add to a parameter's gradient, also where the loss gave it none."""
    if parameter.grad is None:
        parameter.grad = slope.mul(factor)
    else:
        parameter.grad.add_(slope, alpha=factor)


def fisher_diagonal(
    model: nn.Module,
    part: Images,
    outputs: range,
    labels_from: torch.Generator | None = None,
    chunk: int | None = None,
) -> list[Tensor]:
    """The diagonal of the Fisher information, mean_x (d log p(y | x) / d theta)^2, for each trainable parameter.

    Args:
        model: in evaluation mode.
        part: images x, with labels or targets.
        outputs: over which p is normalised; with targets p is normal about these outputs, with variance 1.
        labels_from: draws y from p(y | x); None takes the labels of the images (the empirical Fisher).
        chunk: images at once, each with gradients of its own; None for 32, or as many as have 16 million of them.

    Example:
        >>> model = nn.Linear(1, 2, bias=False)
        >>> _ = nn.init.zeros_(model.weight)
        >>> part = Images(torch.ones(4, 1), torch.tensor([0, 1, 0, 1]))
        >>> fisher_diagonal(model, part, range(2))[0].flatten()
        tensor([0.2500, 0.2500])
    """
    named = {name: value for name, value in model.named_parameters() if value.requires_grad}
    values = {name: value.detach() for name, value in named.items()}
    fixed = {name: value for name, value in model.named_parameters() if not value.requires_grad}
    fixed |= dict(model.named_buffers())

    def loss(values: dict[str, Tensor], inputs: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(model, (values, fixed), (inputs[None],))[:, outputs.start : outputs.stop]
        if part.trials:
            return (label[-1] * (logits[0] - label[:-1]).square()).sum() / 2
        if part.regression:
            return (logits[0] - label).square().sum() / 2
        return cross_entropy(logits, label[None])

    each_alone = grad(loss)
    gradients = vmap(each_alone, in_dims=(None, 0, 0))
    # torch cannot map a recurrent layer over samples.
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    total = {name: torch.zeros_like(value) for name, value in values.items()}
    chunk = chunk or max(1, min(32, int(GRADIENTS / max(1, sum(value.numel() for value in values.values())))))
    like = next(iter(values.values()))
    for inputs, right in part.split(chunk, like):
        if labels_from is None:
            labels = right.to(like.dtype) if part.regression else right - outputs.start
        else:
            with torch.no_grad():
                answers = model(inputs)[:, outputs.start : outputs.stop]
                labels = _drawn(answers, labels_from, part.regression).to(like.device)
                if part.trials:
                    # The weight of a step is the precision of its outputs.
                    spread = right[:, -1:].clamp_min(1e-12).rsqrt()
                    labels = torch.cat([answers + (labels - answers) * spread, right[:, -1:]], dim=1)
        if recurrent:
            # cuDNN goes back through a recurrent layer in training mode only.
            with torch.backends.cudnn.flags(enabled=False):
                for one, label in zip(inputs, labels, strict=True):
                    for name, each in each_alone(values, one, label).items():
                        total[name] += each.square_()
            continue
        # Nor the fused kernels of attention; what they compute it can map.
        with sdpa_kernel(SDPBackend.MATH):
            for name, each in gradients(values, inputs, labels).items():
                total[name] += each.square_().sum(0)
    return [total[name] / len(part) for name in named]


def _drawn(answers: Tensor, draws: torch.Generator, regression: bool) -> Tensor:
    """Labels, or targets, as the network's outputs say that they may be."""
    if regression:
        answers = answers.cpu()
        return answers + torch.randn(answers.shape, generator=draws, dtype=answers.dtype)
    return torch.multinomial(answers.softmax(1).cpu(), 1, generator=draws).flatten()
