"""Activations of the layers of a network for a set of stimuli."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from orthotrace.analysis.rdm.arguments import whole
from orthotrace.analysis.rdm.arrays import numbers, strided
from orthotrace.core.errors import UserError, one_line

NONLINEAR = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.GLU,
    nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Softsign,
)  # fmt: skip


def readable_layers(model: nn.Module) -> list[str]:
    """The layers that are read unless others are named: every nonlinearity, and the last linear layer.

    A network without modules for its nonlinearities is read at its linear and convolutional layers.

    Example:
        >>> readable_layers(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
        ['1', '2']
    """
    modules = list(model.named_modules())
    weighted = [name for name, module in modules if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))]
    nonlinear = [name for name, module in modules if isinstance(module, NONLINEAR)]
    return [*nonlinear, *weighted[-1:]] if nonlinear else weighted


def activations(
    model: nn.Module, images: Tensor | ArrayLike, layers: Sequence[str], batch_size: int = 256
) -> Iterator[tuple[str, Tensor]]:
    """Activations of each layer, one layer after the other; each is freed when the next is read.

    Args:
        model: in evaluation mode.
        images: the stimuli, (n, ...): a tensor, or any array that arrays.real takes.
        layers: names of modules.
        batch_size: stimuli at once.

    Yields:
        Layer and activations (n, features).

    Raises:
        UserError: there is no such layer, or it is not called, or more than once in a forward pass, or gives no tensor;
            images that are no array of finite numbers, or that the network does not take.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        >>> [(name, values.shape) for name, values in activations(model, torch.ones(5, 4), ["1"])]
        [('1', torch.Size([5, 3]))]
    """
    modules = dict(model.named_modules())
    for name in layers:
        if name not in modules:
            there = ", ".join(key for key in modules if key)
            raise UserError(f"there is no layer '{name}'; there are: {there}", "layers")
    if not isinstance(images, Tensor):
        images = torch.tensor(np.ascontiguousarray(numbers(images, "images")))
    shown = strided(images, "images")
    if not shown.ndim or not len(shown):
        raise UserError(f"stimuli (n, ...) are needed, got shape {tuple(shown.shape)}", "images")
    if not torch.isfinite(shown).all():
        raise UserError("some are not finite: a network gives nothing for them", "images")
    whole(batch_size, "batch_size", 1)
    collected: dict[str, list[Tensor]] = {name: [] for name in layers}

    def keep(name: str):
        def hook(module: nn.Module, args: object, output: Tensor) -> None:
            if not isinstance(output, Tensor) or output.ndim < 1:
                raise UserError(f"layer '{name}' gives no tensor (n, ...): {type(output).__name__}", "layers")
            # A copy: an in-place operation later in the network would overwrite the output.
            collected[name].append(output.detach().reshape(len(output), -1).clone())

        return hook

    handles = [modules[name].register_forward_hook(keep(name)) for name in layers]
    parameter = next(model.parameters(), shown)
    batches = shown.split(batch_size)
    try:
        with torch.no_grad():
            for batch in batches:
                try:
                    model(batch.to(parameter))
                except (RuntimeError, ValueError, TypeError, IndexError) as error:
                    raise UserError(
                        f"the network does not take a batch of shape {tuple(batch.shape)}: {one_line(error)}", "images"
                    ) from error
    finally:
        for handle in handles:
            handle.remove()
    for name in layers:
        values = collected.pop(name)
        if len(values) != len(batches):
            raise UserError(
                f"layer '{name}' is called {len(values) / len(batches):g} times in a forward pass, not once", "layers"
            )
        yield name, torch.cat(values)
