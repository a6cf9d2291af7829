"""Images with their channels last in memory, as the convolutions of a CPU work fastest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from orthotrace.layers.neurons import LIF

# Numbers of an image: of fewer the copy costs more than it gains.
LEAST = 512


def take_channels_last(model: nn.Module) -> bool:
    """Let a network lay out the images that it is given with their channels last, wherever it runs on a CPU.

    Its convolutions keep that order from layer to layer, in two thirds to nine tenths of the time. Values change by
    rounding, since sums are made in another order; shapes and weights stay as they are. It goes for images (n,
    channels, height, width) in float32 of 512 numbers or more, and for networks with convolutions and without spiking
    neurons: these gain nothing. docs/results/speed.md has what was measured.

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
    kinds = [type(module) for module in model.modules()]
    found = any(issubclass(kind, nn.Conv2d) for kind in kinds) and not any(issubclass(kind, LIF) for kind in kinds)
    if found:
        model.register_forward_pre_hook(_first_moved)
    return found


def _first_moved(model: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
    return (_moved(given[0]), *given[1:]) if given and isinstance(given[0], Tensor) else None


def _moved(images: Tensor) -> Tensor:
    if images.ndim != 4 or images.dtype != torch.float32 or images.device.type != "cpu":
        return images
    if images[:1].numel() < LEAST or images.stride(1) == 1:
        return images
    # Not by contiguous: of one channel it would say that both orders are the same, and so would the layer.
    return torch.empty_like(images, memory_format=torch.channels_last).copy_(images)
