"""What moves outputs beside weights: buffers of modules, frozen parameters, and those made trainable meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from orthotrace.core.errors import UserError
from orthotrace.layers.normalisation import drifts
from orthotrace.linalg import AT_ONCE
from orthotrace.protection.matrices import where

# Integers of as many bytes.
WHOLE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Still:
    """Notices what has moved since it was made, and is neither a weight that is held nor a normalisation.

    Statistics of normalisation layers and their affine are frozen, see Normalisation. A module of a user's own may keep
    others: a running mean, the scale of a quantisation that follows its inputs.

    Args:
        model: whose buffers and parameters.
        layers: whose parameters are held, whether they are trained or not.
        values: others that are held.
        when: since it was made, in the message.
        flags: whether buffers of integers, such as flags, are looked at too.
        marks: of another one, to go on from; None for what the model has now.

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

    def __init__(
        self,
        model: nn.Module,
        layers: Iterable[nn.Module],
        values: Iterable[Tensor] = (),
        when: str = "while a later task was trained",
        flags: bool = True,
        marks: dict[str, list[int]] | None = None,
    ) -> None:
        self._model = model
        self._layers = list(layers)
        self._others = list(values)
        self._when = when
        self._flags = flags
        self.marks = marks or {f"{name}.{key}": mark(value) for name, _, key, value in self._values()}
        self._trained = {name for name, value in model.named_parameters() if value.requires_grad}

    def _held(self) -> set[int]:
        values = [value for layer in self._layers for value in layer.parameters()]
        return {id(value) for value in [*values, *self._others]}

    def _values(self) -> Iterator[tuple[str, nn.Module, str, Tensor]]:
        """Buffers, and frozen parameters that nothing holds: module and name."""
        inside = tuple(f"{name}." for name, module in self._model.named_modules() if drifts(module))
        held = self._held()
        for name, module in self._model.named_modules():
            # What hardware holds follows the weights, which are held.
            if drifts(module) or name.startswith(inside) or getattr(module, "passes_updates", False) is True:
                continue
            for key, value in module.named_buffers(recurse=False):
                if key in module._non_persistent_buffers_set:
                    # Made anew from what is saved: masks and positions of the longest sequence so far, keys and values.
                    continue
                # What counts steps says nothing about outputs.
                if value.is_floating_point() or value.is_complex() or (value.ndim and self._flags):
                    yield name, module, key, value
            for key, value in module.named_parameters(recurse=False):
                if not value.requires_grad and id(value) not in held:
                    yield name, module, key, value

    def check(self) -> None:
        """See whether all is as it was.

        Raises:
            UserError: a buffer or frozen parameter has moved, or one that nothing holds was made trainable.
        """
        for name, module, key, value in self._values():
            if self.marks.get(f"{name}.{key}") != mark(value):
                what = "parameter" if isinstance(value, nn.Parameter) else "buffer"
                raise UserError(
                    f"the {what} {key} of {where(name)} ({type(module).__name__}) has moved {self._when}, "
                    "and outputs on earlier tasks with it: freeze it after the first task (evaluation mode, "
                    "an observer switched off), register it with persistent=False if it is a cache that says nothing "
                    "of earlier batches, or use another method"
                )
        held = self._held()
        for name, value in self._model.named_parameters():
            if value.requires_grad and name not in self._trained and id(value) not in held:
                raise UserError(
                    f"the parameter {name} was made trainable while the task ran: nothing holds it, so it would change "
                    "unprotected; do so before the guard is made, or leave it frozen (requires_grad_(False))"
                )


def mark(value: Tensor) -> list[int]:
    """By which values that moved are recognised: shape, and sums of bits, which are the same on every processor.

    Example:
        >>> mark(torch.tensor([1, 2], dtype=torch.int8))
        [2, 3, 5]
    """
    shape, value = value.shape, value.detach()
    if value.is_sparse:
        value = value.coalesce()
        return [*shape, *mark(value.indices()), *mark(value.values())]
    value = torch.view_as_real(value.resolve_conj()) if value.is_complex() else value
    total = places = 0
    bits = value.contiguous().view(WHOLE[value.element_size()]).flatten()
    for number, some in enumerate(bits.split(AT_ONCE)):
        some = some.to(torch.int64)
        # By place too: values that only change theirs have the same sums.
        place = torch.arange(1, len(some) + 1, device=some.device) + number * AT_ONCE
        total, places = total + int(some.sum()), places + int((some * place).sum())
    # Integers of a file have 64 bits.
    return [*shape, total % 2**63, places % 2**63]
