"""Attributes that are measured on images."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import interpolate, pad

from orthotrace.core.errors import UserError

Values = NDArray[np.float64]
# Factor by which an image is enlarged to measure the width of strokes.
FINER = 4


@dataclass(frozen=True)
class Attribute:
    """A measurement on images, and which values of it have the attribute.

    Attributes:
        measure: pixels (n, channels, height, width) in [0, 1] to values (n,).
        lowest: the lowest values have the attribute, not the highest.
        exactly: only this value has the attribute.
    """

    measure: Callable[[Tensor], Values]
    lowest: bool = False
    exactly: float | None = None


def _grey(pixels: Tensor) -> Values:
    """Brightness (n, height, width)."""
    return pixels.double().mean(1).numpy()


def thickness(pixels: Tensor) -> Values:
    """Thickness of strokes in pixels: twice the mean distance to the background along their centre lines.

    Strokes are brighter than half, in the image enlarged FINER times, which resolves fractions of a pixel; centre lines
    are the local maxima of the distance. Beyond the border is background.

    Source: after Castro et al., Morpho-MNIST, JMLR 2019, section 3.1.

    Example:
        >>> import torch
        >>> bar = torch.zeros(2, 1, 7, 7)
        >>> bar[0, ..., 2:5] = 1
        >>> bar[1, ..., :2] = 1
        >>> thickness(bar)
        array([3., 2.])
    """
    found = np.zeros(len(pixels))
    for number, image in enumerate(pixels.float().mean(1)):
        if not image.any():
            continue
        rows, columns = (image.any(dim).nonzero().flatten() for dim in (1, 0))
        ink = pad(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], (1, 1, 1, 1))
        stroke = interpolate(ink[None, None], scale_factor=FINER, mode="bilinear")[0, 0].numpy() > 0.5
        distance = np.asarray(ndimage.distance_transform_edt(stroke))
        middle = stroke & (distance >= ndimage.maximum_filter(distance, 3))
        if middle.any():
            found[number] = 2 * distance[middle].mean() / FINER
    return found


def slant(pixels: Tensor) -> Values:
    """Slant of strokes in degrees, positive to the right: arctan of the shear -mu_rc / mu_rr, by moments of brightness.

    Source: after Castro et al., Morpho-MNIST, JMLR 2019, section 3.1.

    Example:
        >>> import torch
        >>> slant(torch.eye(9)[None, None].flip(-1)).round(6)
        array([45.])
    """
    grey = _grey(pixels)
    rows, columns = np.mgrid[: grey.shape[1], : grey.shape[2]]
    ink = np.maximum(grey.sum((1, 2)), 1e-12)[:, None, None]
    down = rows - (grey * rows).sum((1, 2))[:, None, None] / ink
    right = columns - (grey * columns).sum((1, 2))[:, None, None] / ink
    return np.degrees(np.arctan2(-(grey * down * right).sum((1, 2)), np.maximum((grey * down**2).sum((1, 2)), 1e-12)))


def holes(pixels: Tensor) -> Values:
    """Number of holes: regions of background enclosed by strokes, of at least two pixels.

    Example:
        >>> import torch
        >>> ring = torch.ones(1, 1, 6, 6)
        >>> ring[..., 2:4, 2:4] = 0
        >>> holes(ring)
        array([1.])
    """
    found = np.zeros(len(pixels))
    for number, image in enumerate(_grey(pixels) > 0.5):
        # A border makes all background outside one region.
        # Scipy's stubs know only a number as the result.
        regions = np.asarray(ndimage.label(np.pad(~image, 1, constant_values=True))[0])  # type: ignore[index]
        sizes = np.bincount(regions.ravel())[1:]
        found[number] = int((sizes >= 2).sum()) - 1
    return found


def brightness(pixels: Tensor) -> Values:
    """Mean brightness in [0, 1].

    Example:
        >>> import torch
        >>> brightness(torch.stack([torch.ones(3, 2, 2), torch.zeros(3, 2, 2)]))
        array([1., 0.])
    """
    return _grey(pixels).mean((1, 2))


def _excess(channel: int) -> Callable[[Tensor], Values]:
    """The mean of a colour over an image, minus the larger mean of the other two."""

    def measure(pixels: Tensor) -> Values:
        if pixels.shape[1] != 3:
            raise UserError(f"a colour needs images of three channels (they have {pixels.shape[1]})", "attributes")
        means = pixels.double().mean((2, 3)).numpy()
        return means[:, channel] - np.delete(means, channel, axis=1).max(1)

    return measure


def edges(pixels: Tensor) -> Values:
    """Direction of edges in [-1, 1] by Sobel gradients: 1 where all are horizontal, -1 where all are vertical.

    Example:
        >>> import torch
        >>> stripes = (torch.arange(8) % 4 < 2).float().expand(1, 1, 8, 8)
        >>> edges(stripes), edges(stripes.mT)
        (array([-1.]), array([1.]))
    """
    grey = _grey(pixels)
    down = (ndimage.sobel(grey, axis=1) ** 2).sum((1, 2))
    right = (ndimage.sobel(grey, axis=2) ** 2).sum((1, 2))
    return (down - right) / np.maximum(down + right, 1e-12)


ATTRIBUTES: dict[str, Attribute] = {
    "thick": Attribute(thickness),
    "thin": Attribute(thickness, lowest=True),
    "slanted left": Attribute(slant, lowest=True),
    "slanted right": Attribute(slant),
    "no hole": Attribute(holes, exactly=0),
    "one hole": Attribute(holes, exactly=1),
    "two holes": Attribute(holes, exactly=2),
    "bright": Attribute(brightness),
    "dark": Attribute(brightness, lowest=True),
    "red": Attribute(_excess(0)),
    "green": Attribute(_excess(1)),
    "blue": Attribute(_excess(2)),
    "horizontal edges": Attribute(edges),
    "vertical edges": Attribute(edges, lowest=True),
}
