"""How degenerate a layer is: how few directions it uses, and how far its units repeat each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from orthotrace.analysis.rdm.arrays import finite
from orthotrace.core.errors import UserError


def effective_rank(x: ArrayLike, centre: bool = False) -> float:
    """In how many directions a matrix reaches, each by its share of the singular values.

        exp(-sum_i p_i log p_i),   p_i = s_i / sum_j s_j

    Args:
        x: a matrix, (n, p): weights (units, inputs), or activations (stimuli, features).
        centre: take the mean of each column out first, as for activations.

    Returns:
        In [1, min(n, p)]: the rank where all singular values that are not 0 are equal, and less where they are not. 0
        where all entries are 0, or are equal within a column that is centred.

    Raises:
        UserError: what is no matrix of finite numbers.

    Source: Roy & Vetterli, The effective rank, EUSIPCO 2007, eq. 4 to 6.

    Example:
        >>> [round(effective_rank(np.diag(sizes)), 2) for sizes in ([1, 1, 1], [1, 0.1, 0])]
        [3.0, 1.36]
    """
    values = _matrix(x)
    # Sizes that float64 cannot square have singular values all the same.
    largest = np.abs(values).max()
    if not largest:
        return 0.0
    values = values / largest
    if centre:
        values = values - values.mean(axis=0)
        # What rounding leaves of columns that do not vary.
        values[:, np.abs(values).max(axis=0) <= 4 * np.finfo(float).eps] = 0
    sizes = np.linalg.svd(values, compute_uv=False)
    sizes = sizes[sizes > sizes[0] * max(values.shape) * np.finfo(float).eps]
    if not len(sizes):
        return 0.0
    shares = sizes / sizes.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def unit_overlap(weights: ArrayLike) -> float:
    """How far the units of a layer repeat each other: the mean |cosine| of the incoming weights of two of them.

    Args:
        weights: (units, inputs); further dimensions, as of convolutions, are inputs too.

    Returns:
        In [0, 1]: 1 where all units have the same direction, 0 where they are orthogonal. Units without weights repeat
        nobody, and do not count; 0 where fewer than two are left.

    Raises:
        UserError: what is no matrix of finite numbers.

    Source: the overlap singularities of Orhan & Pitkow, Skip Connections Eliminate Singularities, ICLR 2018, sect. 2.

    Example:
        >>> unit_overlap([[1.0, 0.0], [2.0, 0.0]]), unit_overlap([[1.0, 0.0], [0.0, 1.0]])
        (1.0, 0.0)
    """
    values = finite(weights, "weights")
    if values.ndim < 2 or not values.size:
        raise UserError(f"weights (units, inputs) are needed, got shape {values.shape}", "weights")
    values = values.reshape(len(values), -1)
    values = values[np.abs(values).max(axis=1) > 0]
    if len(values) < 2:
        return 0.0
    values = values / np.abs(values).max(axis=1, keepdims=True)
    values = values / np.linalg.norm(values, axis=1, keepdims=True)
    cosines = np.abs(values @ values.T)[np.triu_indices(len(values), 1)]
    return float(np.minimum(cosines, 1).mean())


def silent_share(activations: ArrayLike) -> float:
    """The share of units that answer all stimuli alike, as if they were not there.

    Args:
        activations: (stimuli, units).

    Returns:
        In [0, 1].

    Raises:
        UserError: what is no matrix of finite numbers.

    Source: the elimination singularities of Orhan & Pitkow, ICLR 2018, sect. 2, by what units do.

    Example:
        >>> silent_share([[0.0, 1.0], [0.0, 2.0]])
        0.5
    """
    values = _matrix(activations, "activations")
    return float((values == values[:1]).all(axis=0).mean())


def _matrix(x: ArrayLike, name: str = "x") -> np.ndarray:
    values = finite(x, name)
    if values.ndim != 2 or not values.size:
        raise UserError(f"a matrix is needed, got shape {values.shape}", name)
    return values
