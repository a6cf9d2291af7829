"""An average of a network's weights over the steps of a task."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from orthotrace.methods.base import after_steps

# Share of the weights of a task's start that is too much.
OLD = 0.2


class Average(nn.Module):
    """A moving average of weights and running statistics, A <- decay A + (1 - decay) W after each step.

    It begins anew with each task, from the weights of the task's start; it is what is tested, and what the next task
    starts from.

    Args:
        model: whose weights.
        decay: in [0, 1).

    Source: Polyak & Juditsky, SIAM Journal on Control and Optimization 1992; moving, as in Tarvainen & Valpola, NeurIPS
    2017.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> average = Average(model, 0.75)
        >>> average.restart()
        >>> start = float(model.weight.detach())
        >>> with torch.no_grad():
        ...     _ = model.weight.add_(4.0)
        >>> average.update()
        >>> with average.shown():
        ...     moved = float(model.weight.detach()) - start
        >>> round(moved, 5), round(float(model.weight.detach()) - start, 5)
        (1.0, 4.0)
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        # In a tuple: the network is not part of the average.
        self._model = (model,)
        self.decay = decay
        # Steps of the task; not known where a run was continued inside one.
        self._steps: int | None = None
        self._step = get_ema_multi_avg_fn(decay)
        for number, value in enumerate(self._values()):
            self.register_buffer(str(number), value.clone())

    def _values(self) -> list[Tensor]:
        # Each once: a module, or a weight, may have two names.
        model = self._model[0]
        # A module may say what no average may be taken of.
        left = {id(value) for module in model.modules() for value in getattr(module, "unaveraged", list)()}
        found = [*model.parameters(), *model.buffers()]
        return [value.detach() for value in found if value.is_floating_point() and id(value) not in left]

    @torch.no_grad()
    def restart(self) -> None:
        """Begin a task."""
        self._steps = 0
        for kept, value in zip(self.buffers(), self._values(), strict=True):
            kept.copy_(value)

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights of a step."""
        if self._steps is not None:
            self._steps += 1
        self._step(list(self.buffers()), self._values(), torch.tensor(0))

    def settle(self) -> None:
        """A task has been trained: the average is the network from now on.

        Warns where so few steps were taken that most of it is still the weights of the task's start.
        """
        if self._steps and (old := self.decay**self._steps) > OLD:
            warnings.warn(
                f"the average of the weights is to {old:.0%} what the task began with: {self._steps} steps are few for "
                f"a decay of {self.decay:g}; lower regularizer.average or train longer",
                stacklevel=2,
            )
        self.swap()

    @torch.no_grad()
    def swap(self) -> None:
        """The average becomes the network's weights, and these are kept in its place."""
        for kept, value in zip(self.buffers(), self._values(), strict=True):
            before = value.clone()
            value.copy_(kept)
            kept.copy_(before)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Within the block the network has the averaged weights."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def attach(self, optimizers: Sequence[Optimizer]) -> Callable[[], None]:
        """Take in every step of the optimizers; the function returned ends it."""
        return after_steps(optimizers, self.update)
