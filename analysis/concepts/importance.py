"""How much a network relies on each axis of a layer: its loss when the axis is permuted between images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from orthotrace.analysis.rdm.arguments import generator, whole
from orthotrace.analysis.rdm.arrays import kinds_of, numbers, real, same_index, strided
from orthotrace.analysis.rdm.arrays import labels as checked_labels
from orthotrace.core.errors import UserError

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Importance:
    """Loss with an axis permuted over the loss as it is; 1 where the network does not use the axis.

    Attributes:
        axes: which were permuted together.
        ratio: mean over repeats, (axes,).
        spread: standard deviation over repeats, (axes,); NaN with one repeat.
        classes: labels in their order; empty without labels.
        by_class: ratios over the images of one class, (classes, axes); NaN where the class has no loss.
        spread_by_class: over repeats, (classes, axes).
        loss: mean over images, nothing permuted.
        loss_by_class: (classes,).
        repeats: permutations of each axis.
    """

    axes: tuple[tuple[int, ...], ...]
    ratio: Matrix
    spread: Matrix
    classes: tuple[Any, ...]
    by_class: Matrix
    spread_by_class: Matrix
    loss: float
    loss_by_class: Matrix
    repeats: int


def importance(
    losses: Callable[[Any], Tensor | ArrayLike],
    features: Tensor | NDArray[Any],
    axes: Sequence[int | Sequence[int]],
    labels: ArrayLike | None = None,
    repeats: int = 5,
    seed: int = 0,
    dim: int = 1,
) -> Importance:
    """Importance of axes by permutation, overall and for each class.

        ratio_j = mean loss with axis j of every image from another image / mean loss

    Whole maps move, between all test images, of any class. Each repeat is one random cycle through the images, the same
    for all axes: no image keeps its own map, and each other is as likely, so that the mean over repeats tends to the
    mean over all pairs of images.

    Args:
        losses: the rest of the network: from the layer's output, of the kind and shape of features, to the loss of each
            image, (images,), at least 0. Each call gets a copy of its own.
        features: output of the layer for the test images, images first, at least two.
        axes: which of dim are permuted, one at a time; of several together, a sequence of them.
        labels: class of each image, (images,).
        repeats: at least 1.
        seed: of the cycles.
        dim: of features that has the axes, such as 1 of (images, channels, height, width) or -1 of tokens.

    Raises:
        UserError: fewer than two images, an axis that is not there, labels or losses of another number, losses that
            are not finite or below 0, no loss at all, or no repeats.

    Source: Fisher, Rudin & Dominici, JMLR 20:177 (2019), e_switch/e_orig; Chen, Bei & Rudin, Nature Machine
    Intelligence 2 (2020) 772, for concepts.

    Example:
        >>> x = np.random.default_rng(0).standard_normal((200, 3))
        >>> found = importance(lambda z: (z[:, 0] - x[:, 0] + 1) ** 2, x, axes=[0, 1])
        >>> found.ratio.round(1)
        array([3., 1.])
    """
    x = strided(features, "features") if isinstance(features, Tensor) else real(features, "features")
    together = [_together(one) for one in axes]
    _check(x, together, repeats, dim)
    same_index(features=features, labels=labels)
    given = np.zeros(len(x)) if labels is None else checked_labels(labels, "labels", len(x), "images")
    classes, which = kinds_of(given, "labels")
    # Row 0 takes all images, the others those of one class.
    groups = np.vstack([np.ones(len(x)), which == np.arange(len(classes))[:, None]])
    groups /= groups.sum(axis=1, keepdims=True)
    plain = groups @ _losses(losses, _copy(x))
    if plain[0] == 0:
        raise UserError("the loss is 0 for all images: there is no ratio to it")
    place = (slice(None),) * (dim % x.ndim)
    rng = generator(seed)
    ratios = np.empty((repeats, len(groups), len(together)))
    for repeat in range(repeats):
        order = rng.permutation(len(x))
        other = np.empty_like(order)
        other[order] = np.roll(order, 1)
        for number, some in enumerate(together):
            permuted = groups @ _losses(losses, _permuted(x, (*place, some), other))
            with np.errstate(over="ignore"):
                ratios[repeat, :, number] = permuted / np.where(plain > 0, plain, np.nan)
    if np.isinf(ratios).any():
        raise UserError("the loss is so small that the ratio to it is no number: scale the losses")
    mean = ratios.mean(axis=0)
    spread = ratios.std(axis=0, ddof=1) if repeats > 1 else np.full_like(mean, np.nan)
    known = 0 if labels is None else len(classes)
    return Importance(
        axes=tuple(map(tuple, together)),
        ratio=mean[0],
        spread=spread[0],
        classes=tuple(classes.tolist())[:known],
        by_class=mean[1 : known + 1],
        spread_by_class=spread[1 : known + 1],
        loss=float(plain[0]),
        loss_by_class=plain[1 : known + 1],
        repeats=repeats,
    )


def _together(axes: Any) -> list[int]:
    """Axes that are permuted together."""
    some = real(axes, "axes")
    if some.dtype.kind not in "iu" or some.ndim > 1:
        raise UserError(f"whole numbers, or sequences of them, are needed (got {some.tolist()})", "axes")
    return np.atleast_1d(some).tolist()


def _check(x: Tensor | NDArray[Any], axes: Sequence[Sequence[int]], repeats: int, dim: int) -> None:
    if x.ndim < 2 or len(x) < 2:
        raise UserError(f"features (images, ...) of at least two images are needed, got shape {tuple(x.shape)}")
    if not -x.ndim < dim < x.ndim or dim == 0:
        raise UserError(f"dimension {dim} of shape {tuple(x.shape)} has no axes: dimension 0 is the images")
    if wrong := [axis for some in axes for axis in some if not 0 <= axis < x.shape[dim]]:
        raise UserError(f"there is no axis {wrong[0]} of {x.shape[dim]}")
    whole(repeats, "repeats", 1, "at least one repeat is needed")


def _copy(x: Any) -> Any:
    """A copy for one call: a network that works in place would change the next."""
    return x.clone() if isinstance(x, Tensor) else x.copy()


def _permuted(x: Any, place: tuple[Any, ...], other: NDArray[np.intp]) -> Any:
    """A copy in which some axes come from other images."""
    given = _copy(x)
    given[place] = x[place][torch.from_numpy(other).to(x.device) if isinstance(x, Tensor) else other]
    return given


def _losses(losses: Callable[[Any], Tensor | ArrayLike], x: Any) -> Matrix:
    found = losses(x)
    values = numbers(found, "losses")
    if values.shape != (len(x),):
        raise UserError(f"a loss for each of {len(x)} images is needed, got shape {values.shape}")
    if not (np.isfinite(values) & (values >= 0)).all():
        raise UserError("losses must be finite and at least 0")
    return values
