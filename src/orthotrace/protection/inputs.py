"""The inputs of a task, as users give them: tensors, tuples of them, or loaders of batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves, tree_map

from orthotrace.core.errors import UserError


def check_inputs(given: Iterable[object]) -> None:
    """See whether these can be inputs; the batches of a loader are looked at as they come.

    Raises:
        UserError: one is none.
    """
    for one in given:
        if isinstance(one, (str, bytes, Mapping)) or (isinstance(one, tuple) and not one):
            raise _no_inputs(one)
        if not isinstance(one, (Tensor, Iterable)):
            raise _no_inputs(one)
        for batch in one if isinstance(one, list) else ():
            inputs_of(batch)


def inputs_of(batch: object) -> Tensor | tuple[Any, ...]:
    """The inputs of a batch that an iterable gives: of a list, as loaders make them, the first; labels follow it.

    Raises:
        UserError: it has none.

    Example:
        >>> inputs_of([torch.ones(2), torch.tensor([0, 1])])
        tensor([1., 1.])
    """
    found = batch[0] if isinstance(batch, list) and batch else batch
    if isinstance(found, Tensor) or (isinstance(found, tuple) and found):
        return found
    raise _no_inputs(found)


def arguments(given: Iterable[Any], model: nn.Module) -> Iterator[tuple[Any, ...]]:
    """The arguments of a model, batch by batch, on its device.

    Args:
        given: tensors, tuples for a model of several inputs, or iterables of batches. A packed sequence is one input.
        model: if all of it is on one device, a batch of which nothing is there is moved there. One of which something
            is there was placed by hand, such as lengths that stay on the CPU.

    Raises:
        UserError: a batch of an iterable has no inputs.

    Example:
        >>> loader = [[torch.ones(1, 2), torch.tensor([0])]]
        >>> list(arguments([loader], nn.Linear(2, 1)))
        [(tensor([[1., 1.]]),)]
    """
    devices = {value.device for value in model.parameters()}
    device = devices.pop() if len(devices) == 1 else None
    for one in given:
        batches: Iterable[Any] = [one] if isinstance(one, (Tensor, tuple)) else map(inputs_of, one)
        for batch in batches:
            several = isinstance(batch, tuple) and not isinstance(batch, PackedSequence)
            inputs = batch if several else (batch,)
            yield inputs if device is None or device in _devices(inputs) else _moved(inputs, device)


def _is_input(value: object) -> bool:
    return isinstance(value, (Tensor, PackedSequence))


def _devices(inputs: tuple[Any, ...]) -> set[torch.device]:
    """Where the tensors of a batch are."""
    found = [value for value in tree_leaves(inputs, is_leaf=_is_input) if _is_input(value)]
    return {(value.data if isinstance(value, PackedSequence) else value).device for value in found}


def _moved(inputs: tuple[Any, ...], device: torch.device) -> tuple[Any, ...]:
    return tree_map(lambda value: value.to(device=device) if _is_input(value) else value, inputs, is_leaf=_is_input)


def _no_inputs(given: object) -> UserError:
    return UserError(
        f"tensors of inputs are needed, tuples of them, or a loader of batches [inputs, labels] (got "
        f"{type(given).__name__}); of other batches: guard.remember(model, (batch[...] for batch in loader))"
    )
