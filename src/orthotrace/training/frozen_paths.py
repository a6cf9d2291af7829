"""Parts of a network that later tasks leave as they are, because the network says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol, runtime_checkable

import torch
from torch import nn
from torch.optim import Optimizer

from orthotrace.methods.base import after_steps


@runtime_checkable
class Freezes(Protocol):
    """A network that freezes parts of itself from task to task.

    Attributes:
        freeze_path: whether it does.
    """

    freeze_path: bool

    def freeze(self, tasks: int) -> list[nn.Parameter]:
        """Freeze what so many learned tasks leave frozen, and nothing else; the parameters that must not move."""
        ...


def freeze_paths(model: nn.Module, tasks: int, optimizers: Sequence[Optimizer]) -> Callable[[], None]:
    """Freeze what so many learned tasks leave frozen in a network, until the function returned is called.

    It depends on the number alone, so that it is the same wherever a run continues.

    Example:
        >>> freeze_paths(nn.Linear(3, 2), 1, [])()
    """
    if not isinstance(model, Freezes):
        return lambda: None
    release = hold(model.freeze(tasks), optimizers)

    def thaw() -> None:
        release()
        model.freeze(0)

    return thaw


def hold(parameters: Sequence[nn.Parameter], optimizers: Sequence[Optimizer]) -> Callable[[], None]:
    """Keep parameters as they are, whatever the optimizers do, until the function returned is called.

    Their gradients are 0, so that they count neither for a clipped norm nor for what a method makes of gradients.
    Weight decay or a penalty may still move them: they are put back after each step. They stay trainable parameters,
    since methods keep something for each of these.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> before, optimizer = layer.weight.clone(), torch.optim.SGD(layer.parameters(), 0.1, weight_decay=0.5)
        >>> release = hold([layer.weight], [optimizer])
        >>> layer(torch.ones(1, 2)).sum().backward()
        >>> optimizer.step()
        >>> release()
        >>> torch.equal(layer.weight, before)
        True
    """
    kept = [(value, value.detach().clone()) for value in parameters if value.requires_grad]

    @torch.no_grad()
    def put_back() -> None:
        for value, before in kept:
            value.copy_(before)

    with ExitStack() as handles:
        for value, _ in kept:
            handles.callback(value.register_hook(torch.zeros_like).remove)
        if kept:
            handles.callback(after_steps(optimizers, put_back))
        return handles.pop_all().close
