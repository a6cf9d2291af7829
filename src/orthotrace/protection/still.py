"""What moves outputs beside weights: buffers of modules, and parameters that are made trainable meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from orthotrace.core.errors import UserError
from orthotrace.layers.normalisation import drifts
from orthotrace.protection.matrices import where


class Still:
    """Notices what has moved since it was made, and is neither a weight that is held nor a normalisation.

    Statistics of normalisation layers and their affine are frozen, see Normalisation. A module of a user's own may keep
    others: a running mean, the scale of a quantisation that follows its inputs.

    Args:
        model: whose buffers and parameters.
        layers: whose parameters are held, whether they are trained or not.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> model.register_buffer("mean", torch.zeros(2))
        >>> still = Still(model, [model])
        >>> model.mean += 1
        >>> still.check()
        Traceback (most recent call last):
        ...
        orthotrace.core.errors.UserError: the buffer mean of the model itself (Linear) has moved ...
    """

    def __init__(self, model: nn.Module, layers: Iterable[nn.Module]) -> None:
        self._model = model
        self._held = {id(value) for layer in layers for value in layer.parameters()}
        self._values = {(name, key): _mark(value) for name, _, key, value in self._buffers()}
        self._trained = {id(value) for value in model.parameters() if value.requires_grad}

    def _buffers(self) -> Iterator[tuple[str, nn.Module, str, Tensor]]:
        inside = tuple(f"{name}." for name, module in self._model.named_modules() if drifts(module))
        for name, module in self._model.named_modules():
            # What hardware holds follows the weights, which are held.
            if drifts(module) or name.startswith(inside) or getattr(module, "passes_updates", False) is True:
                continue
            for key, value in module.named_buffers(recurse=False):
                if key in module._non_persistent_buffers_set:
                    # Made anew from what is saved: masks and positions of the longest sequence so far, keys and values.
                    continue
                # What counts steps says nothing about outputs.
                if value.is_floating_point() or value.is_complex() or value.ndim:
                    yield name, module, key, value

    def check(self) -> None:
        """See whether all is as it was.

        Raises:
            UserError: a buffer has moved, or a parameter that nothing holds was made trainable.
        """
        for name, module, key, value in self._buffers():
            if self._values.get((name, key), "") != _mark(value):
                raise UserError(
                    f"the buffer {key} of {where(name)} ({type(module).__name__}) has moved while a later task was "
                    "trained, and outputs on earlier tasks with it: freeze it after the first task (evaluation mode, "
                    "an observer switched off), register it with persistent=False if it is a cache that says nothing "
                    "of earlier batches, or use another method"
                )
        for name, value in self._model.named_parameters():
            if value.requires_grad and id(value) not in self._trained | self._held:
                raise UserError(
                    f"the parameter {name} was made trainable while the task ran: nothing holds it, so it would change "
                    "unprotected; do so before the guard is made, or leave it frozen (requires_grad_(False))"
                )


def _mark(value: Tensor) -> str:
    """By which values that moved are recognised: shape, sums; as text, since NaN is not equal to NaN."""
    values = value.detach().to(torch.complex128 if value.is_complex() else torch.float64)
    # By place too: values that only change theirs have the same sums.
    places = torch.arange(1, values.numel() + 1, dtype=torch.float64, device=values.device).reshape(values.shape)
    sums = [one.sum().item() for one in (values, values.square(), values * places)]
    return f"{tuple(value.shape)} {sums}"
