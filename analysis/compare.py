"""Comparisons between RDMs, all pairs at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pearson(rdms: ArrayLike) -> NDArray[np.float64]:
    """Pearson correlation of every pair of RDMs.

    Args:
        rdms: condensed vectors, (k, m).

    Returns:
        (k, k), in [-1, 1], with ones on the diagonal.

    Raises:
        ValueError: not a stack of vectors, entries that are not finite, or an RDM that is constant; names the first.

    Example:
        >>> pearson([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]).round(6)
        array([[ 1., -1.],
               [-1.,  1.]])
    """
    stack = np.asarray(rdms, dtype=np.float64)
    if stack.ndim != 2:
        raise ValueError(f"a stack (k, m) of condensed RDMs is needed, got shape {stack.shape}")
    finite = np.isfinite(stack).all(axis=1)
    if not finite.all():
        raise ValueError(f"RDM {int(np.argmin(finite))} has entries that are not finite")
    # In units of the largest entry: squares of 1e200 and 1e-200 are no numbers.
    size = np.abs(stack).max(axis=1, initial=0, keepdims=True)
    stack = stack / np.where(size > 0, size, 1)
    centred = stack - stack.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1)
    constant = norms <= 1e-12 * stack.shape[1] ** 0.5
    if constant.any():
        raise ValueError(f"RDM {int(np.argmax(constant))} is constant: its correlation is undefined")
    unit = centred / norms[:, None]
    result = np.clip(unit @ unit.T, -1, 1)
    np.fill_diagonal(result, 1.0)
    return result


def consistency(rdms: ArrayLike) -> NDArray[np.float64]:
    """Representational consistency of every pair of RDMs: the shared variance, r^2.

    Args:
        rdms: condensed vectors, (k, m).

    Returns:
        (k, k), in [0, 1].

    Raises:
        ValueError: as pearson.

    Source: Mehrer et al., Nature Communications 11:5725 (2020).

    Example:
        >>> float(consistency([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])[0, 1].round(6))
        1.0
    """
    return pearson(rdms) ** 2
