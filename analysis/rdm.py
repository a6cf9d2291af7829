"""Representational dissimilarity matrices: from activations, as condensed vectors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


def correlation(patterns: Tensor | ArrayLike, block: int = 8192) -> NDArray[np.float64]:
    """Correlation distance between the patterns of each pair of stimuli.

        D_ij = 1 - r(x_i, x_j)

    Not invariant to a shift or a rotation of the features, but to a shift and a scaling of each pattern.

    Args:
        patterns: activations (n, ...), flattened to (n, p), p >= 2; the features are read in blocks.
        block: features at once: memory stays at one n x n matrix and one block.

    Returns:
        The upper triangle, row by row, n (n - 1) / 2 numbers in [0, 2].

    Raises:
        ValueError: fewer than three stimuli or two features, entries that are not finite real numbers, or a pattern
            that is constant, so that its correlation is undefined; names the first such stimulus.

    Source: Kriegeskorte, Mur & Bandettini, Frontiers in Systems Neuroscience 2:4 (2008).

    Example:
        >>> correlation([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 2.0, 1.0]]).round(6)
        array([0., 2., 2.])
    """
    if not isinstance(patterns, Tensor):
        array = np.asarray(patterns)
        if array.dtype.kind not in "biuf":
            raise ValueError(f"patterns of real numbers are needed, got {array.dtype}")
        patterns = torch.from_numpy(array if array.dtype.kind == "f" else array.astype(np.float64))
    x = patterns.detach()
    if x.is_complex():
        raise ValueError(f"patterns of real numbers are needed, got {x.dtype}")
    if x.ndim < 2 or len(x) < 3 or x[0].numel() < 2:
        raise ValueError(f"an RDM needs at least three stimuli with two features, got shape {tuple(x.shape)}")
    x = x.reshape(len(x), -1)
    x = x if x.is_floating_point() else x.double()
    finite = torch.isfinite(x).all(dim=1)
    if not finite.all():
        raise ValueError(f"the pattern of stimulus {int((~finite).nonzero()[0])} is not finite")
    # Every pattern in units of its largest entry: squares of 1e200 and 1e-200 are no numbers.
    size = x.abs().amax(dim=1).double()[:, None]
    size[size == 0] = 1
    total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for part in x.split(block, dim=1):
        total += (part.double() / size).sum(dim=1)
    mean = (total / x.shape[1])[:, None]
    gram = torch.zeros(len(x), len(x), dtype=torch.float64, device=x.device)
    for part in x.split(block, dim=1):
        centred = part.double() / size - mean
        gram.addmm_(centred, centred.T)
    spread = gram.diagonal().sqrt()
    # What rounding leaves of a constant pattern.
    constant = spread <= 1e-12 * x.shape[1] ** 0.5
    if constant.any():
        raise ValueError(
            f"the pattern of stimulus {int(constant.nonzero()[0])} is constant: its correlation is undefined"
        )
    similarity = (gram / spread[:, None] / spread[None, :]).clamp(-1, 1)
    rows, columns = torch.triu_indices(len(x), len(x), offset=1)
    return (1 - similarity[rows.to(x.device), columns.to(x.device)]).cpu().numpy()


def square(condensed: ArrayLike) -> NDArray[np.float64]:
    """The full symmetric matrix of a condensed vector.

    Example:
        >>> square([1.0, 2.0, 3.0])[2]
        array([2., 3., 0.])
    """
    from scipy.spatial.distance import squareform

    return squareform(np.asarray(condensed, dtype=np.float64))
