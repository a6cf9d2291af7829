"""Images with their channels last in memory, as the convolutions of a CPU work fastest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor as is_transformed

# Numbers of an image: of fewer the copy costs more than it gains.
LEAST = 512
# Channels, see _is_safe.
NARROW = 8


def take_channels_last(model: nn.Module) -> bool:
    """Let a network lay out the images that it is given with their channels last, wherever it runs on a CPU.

    Its layers keep that order, neurons over all steps too, in two thirds to nine tenths of the time. Values change by
    rounding, since sums are made in another order; shapes and weights stay as they are. It goes for images (n,
    channels, height, width) in float32 of 512 numbers or more, outside torch.func, and for networks with convolutions,
    all of them safe.
    docs/results/speed.md has what was measured.

    Args:
        model: inputs to logits; it is hooked.

    Returns:
        Whether it is a network for which it goes.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3))
        >>> take_channels_last(model), take_channels_last(nn.Sequential(nn.Flatten()))
        (True, False)
        >>> model(torch.zeros(2, 3, 16, 16)).is_contiguous(memory_format=torch.channels_last)
        True
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    found = bool(layers) and all(map(_is_safe, layers))
    if found:
        model.register_forward_pre_hook(_first_moved)
    return found


def _is_safe(layer: nn.Conv2d) -> bool:
    """Whether a layer can be trained so on every processor.

    In oneDNN 3.12, of torch 2.13, a gradient of very narrow layers writes beyond its memory on some, which may end the
    process.
    """
    narrow = layer.in_channels // layer.groups < NARROW
    return not (narrow and set(layer.kernel_size) == {1} and max(layer.stride) > 1)


def _first_moved(model: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
    return (_moved(given[0]), *given[1:]) if given and isinstance(given[0], Tensor) else None


def _moved(images: Tensor) -> Tensor:
    if images.ndim != 4 or images.dtype != torch.float32 or images.device.type != "cpu":
        return images
    # Of a batch that torch.func maps over, one image at a time is seen, which has no order of memory of its own.
    if is_transformed(images) or images[:1].numel() < LEAST or images.stride(1) == 1:
        return images
    # Not by contiguous: of one channel it would say that both orders are the same, and so would the layer.
    return torch.empty_like(images, memory_format=torch.channels_last).copy_(images)
