"""Layers that are one product: Linear, convolutions and transposed convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from orthotrace.protection.matrices import WeightMatrix, trained

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)
# Linear layers of other libraries whose weight has its inputs first: (features, out).
TURNED = ("transformers.pytorch_utils.Conv1D",)


def is_turned(layer: object) -> bool:
    """Whether a layer is a Linear layer of another library whose weight has its inputs first, as GPT-2 has them."""
    return f"{type(layer).__module__}.{type(layer).__qualname__}" in TURNED


def has_inputs_first(layer: object) -> bool:
    """Whether the weight of a layer has its inputs first: of a transposed convolution, or as GPT-2 has them.

    Example:
        >>> has_inputs_first(nn.ConvTranspose2d(2, 3, 1)), has_inputs_first(nn.Conv2d(2, 3, 1))
        (True, False)
    """
    return isinstance(layer, TRANSPOSED) or is_turned(layer)


def matrices(name: str, layer: Any) -> list[WeightMatrix]:
    """The matrices of a layer, one for each group.

    Example:
        >>> [(part.label, part.features) for part in matrices("conv", nn.Conv2d(4, 6, 3, groups=2))]
        [('conv[1]', 18), ('conv[2]', 18)]
    """
    groups, turned = getattr(layer, "groups", 1), has_inputs_first(layer)
    weight = trained(layer, "weight")
    width = weight.shape[0] // groups
    # Of a transposed convolution the weight begins with the inputs, and an output has a row for each place it reaches.
    features, repeats = (width, weight[0, 0].numel()) if turned else (weight[0].numel(), 1)
    maps = weight.shape[1] if turned else width
    return [
        WeightMatrix(
            name if groups == 1 else f"{name}[{group + 1}]",
            name,
            layer,
            group,
            slice(group * width, (group + 1) * width),
            features,
            turned=turned,
            biases=slice(group * maps, (group + 1) * maps) if turned else None,
            repeats=repeats,
        )
        for group in range(groups)
    ]


def rows(layer: Any, inputs: Tensor, budget: int | None = None, generator: torch.Generator | None = None) -> Tensor:
    """The rows that a layer's matrices are multiplied with.

    Of a Linear layer its inputs; of a convolution the patches as it sees them, with its padding, stride, dilation and
    groups: ``rows(layer, x)[g] @ part.weight.T`` are the outputs of group g without the bias, place by place. Of a
    transposed convolution the maps of a group at each place.

    Args:
        layer: Linear or convolution.
        inputs: of the layer, batched or not, or with time before the batch.
        budget: patches at most, drawn evenly from all places of all images; None for all.
        generator: of the draw.

    Returns:
        (groups, n, features).

    Example:
        >>> rows(nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), torch.ones(5, 4, 8, 8)).shape
        torch.Size([2, 80, 18])
    """
    if isinstance(layer, nn.Linear) or is_turned(layer):
        return inputs.detach().reshape(1, -1, inputs.shape[-1])
    size = layer.kernel_size
    inputs = inputs.detach()
    if inputs.ndim == len(size) + 1:
        inputs = inputs[None]
    if inputs.ndim > len(size) + 2:
        # Layers of networks over time fold it into the batch.
        inputs = inputs.flatten(0, -len(size) - 2)
    if isinstance(layer, TRANSPOSED):
        found = inputs.movedim(1, -1).flatten(0, -2).unflatten(1, (layer.groups, -1))
        chosen = _drawn(len(found), budget, generator)
        return (found if chosen is None else found[chosen.to(found.device)]).transpose(0, 1)
    border = layer._reversed_padding_repeated_twice
    if any(border):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        inputs = pad(inputs, border, mode=mode)
    windows = _windows(inputs, size, layer.stride, layer.dilation)
    places = windows.shape[: len(size) + 1]
    count = math.prod(places)
    if not count:
        return inputs.new_zeros(layer.groups, 0, trained(layer, "weight")[0].numel())
    chosen = _drawn(count, budget, generator)
    if chosen is None:
        found = windows.reshape(count, layer.groups, -1)
    else:
        index = torch.unravel_index(chosen.to(inputs.device), places)
        found = windows[index].reshape(len(chosen), layer.groups, -1)
    return found.transpose(0, 1)


def _drawn(count: int, budget: int | None, generator: torch.Generator | None) -> Tensor | None:
    """Which of so many places are drawn; None for all."""
    if budget is None or count <= budget:
        return None
    # One place of each of so many equal stretches: no image is left out, and none comes twice.
    drawn = torch.arange(budget) + torch.rand(budget, generator=generator, dtype=torch.float64)
    return (drawn * (count / budget)).long().clamp_max(count - 1)


def _windows(inputs: Tensor, size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> Tensor:
    """A view (n, places..., channels, kernel...) of padded inputs (n, channels, sides...)."""
    sides, steps = inputs.shape[2:], inputs.stride()[2:]
    reach = [step * (width - 1) + 1 for step, width in zip(dilation, size, strict=True)]
    places = [(side - one) // step + 1 for side, one, step in zip(sides, reach, stride, strict=True)]
    moves = [step * by for step, by in zip(steps, stride, strict=True)]
    inside = [step * by for step, by in zip(steps, dilation, strict=True)]
    return inputs.as_strided(
        (len(inputs), *places, inputs.shape[1], *size), (inputs.stride(0), *moves, inputs.stride(1), *inside)
    )


def kept(layer: Any, args: Sequence[Any], kwargs: dict[str, Any], output: object) -> Tensor:
    """What is kept of a call until its rows are asked for: a copy of the inputs, which may be overwritten later."""
    return (args[0] if args else next(iter(kwargs.values()))).detach().clone()
