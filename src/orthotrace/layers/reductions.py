"""From the map of an axis to one number: how active it is."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, max_pool1d, max_pool2d, max_pool3d

from orthotrace.core.errors import UserError

Reduction = Literal["mean", "max", "pos_mean", "pool_max"]
_POOLS = (max_pool1d, max_pool2d, max_pool3d)


def reduced(maps: Tensor, reduction: Reduction, mask: Tensor | None = None) -> Tensor:
    """How active each axis is, over its positions: the same for any shape, convex and homogeneous in the map.

    ``mean``; ``max``; ``pos_mean``: mean of the positive part; ``pool_max``: maximum over windows of 3 along each side,
    then the mean of the windows, the last of which may be smaller.

    Args:
        maps: (n, axes, places...); (n, axes) are maps of one place.
        reduction: of the four.
        mask: where each image shows what is meant, weights in [0, 1], (n, places...), not all zero. A mean is weighted
            with it, a maximum is of the places above half of its largest weight.

    Returns:
        (n, axes).

    Source: Chen, Bei & Rudin, Nature Machine Intelligence 2020.

    Example:
        >>> maps = torch.tensor([[[[4.0, -1.0], [-1.0, -2.0]]]])
        >>> [float(reduced(maps, one)) for one in ("mean", "max", "pos_mean", "pool_max")]
        [0.0, 4.0, 1.0, 4.0]
    """
    if maps.ndim == 2:
        return maps.relu() if reduction == "pos_mean" else maps
    weights = None if mask is None else _weights(mask, maps)
    if reduction == "pool_max":
        maps, weights = _pooled(maps, weights)
        reduction = "mean"
    if reduction == "max":
        if weights is not None:
            maps = maps.masked_fill(
                weights <= 0.5 * weights.flatten(2).amax(2).view(-1, *[1] * (maps.ndim - 1)), -torch.inf
            )
        return maps.flatten(2).amax(2)
    if reduction == "pos_mean":
        maps = maps.relu()
    if weights is None:
        return maps.flatten(2).mean(2)
    return (maps * weights).flatten(2).sum(2) / weights.flatten(2).sum(2)


def shrunk(masks: Tensor, sides: tuple[int, int]) -> Tensor:
    """Masks of images in the size of a layer's maps; one that is empty counts everywhere.

    Args:
        masks: (n, height, width), at least 0.
        sides: of the maps.

    Example:
        >>> shrunk(torch.stack([torch.eye(4), torch.zeros(4, 4)]), (2, 2)).tolist()
        [[[0.5, 0.0], [0.0, 0.5]], [[1.0, 1.0], [1.0, 1.0]]]
    """
    found = adaptive_avg_pool2d(masks[:, None], sides)[:, 0]
    found[found.flatten(1).amax(1) <= 0] = 1.0
    return found


def _weights(mask: Tensor, maps: Tensor) -> Tensor:
    """A mask as weights of the maps, (n, 1, places...)."""
    if mask.shape != (len(maps), *maps.shape[2:]):
        raise UserError(
            f"masks of the shape {(len(maps), *maps.shape[2:])} are needed (got {tuple(mask.shape)})", "masks"
        )
    if not bool((mask.flatten(1).amax(1) > 0).all()) or bool((mask < 0).any()):
        raise UserError("a mask must have weights of at least 0, and one above 0", "masks")
    return mask[:, None].to(maps.dtype)


def _pooled(maps: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Maxima over windows of 3 along each side, and of their weights."""
    pool = _POOLS[maps.ndim - 3]
    if weights is None:
        return pool(maps, 3, 3, ceil_mode=True), None
    # What lies outside the mask must not be the maximum of a window that the mask touches.
    inside = maps.masked_fill(weights <= 0, torch.finfo(maps.dtype).min)
    weights = pool(weights, 3, 3, ceil_mode=True)
    return pool(inside, 3, 3, ceil_mode=True).where(weights > 0, 0.0), weights
