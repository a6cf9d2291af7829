"""Who is near whom in two representations: mutual nearest neighbours, and the alignment of their kernels there."""

import math

import numpy as np
from numpy.typing import NDArray

from orthotrace.analysis.rdm.arguments import number
from orthotrace.analysis.rdm.dissimilarity import cosine
from orthotrace.analysis.rdm.triangles import square
from orthotrace.analysis.similarity.invariances import declare
from orthotrace.analysis.similarity.pairs import Activations, plain_pair
from orthotrace.core.errors import UserError

Matrix = NDArray[np.float64]


@declare("orthogonal", "permutation", "scaling")
def mutual_knn(x: Activations, y: Activations, neighbours: int = 10) -> float:
    """Mutual nearest neighbours: the share of the nearest stimuli that two representations have in common.

        mean_i |N_x(i) and N_y(i)| / k

    with N(i) the k stimuli whose patterns have the highest cosine with that of stimulus i, itself left out. Of those
    that are as near the first counts, in the order of the stimuli. Of unrelated representations of n stimuli it is
    k / (n - 1) on average.

    Args:
        x: activations (n, ...) of the same stimuli, n >= 3, flattened.
        y: likewise.
        neighbours: k, from 1 to n - 2.

    Returns:
        In [0, 1].

    Raises:
        UserError: different numbers of stimuli, entries that are not finite, a pattern of zeros, which has no
            direction, or a number of neighbours out of its range.

    Source: Huh, Cheung, Wang & Isola, The Platonic Representation Hypothesis, ICML 2024, appendix A.

    Example:
        >>> import torch
        >>> x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
        >>> mutual_knn(x, 3 * x)
        1.0
    """
    first, second = (_nearest(one, neighbours) for one in _distances(x, y, neighbours))
    return float((first & second).sum(axis=1).mean() / neighbours)


@declare("orthogonal", "permutation", "scaling")
def cknna(x: Activations, y: Activations, neighbours: int = 10) -> float:
    """Centred kernel nearest-neighbour alignment: CKA over pairs of mutual neighbours.

        A(K, L) / sqrt(A(K, K) A(L, L)),  A(K, L) = sum_ij a_ij (K_ij - mean_l K_il) (L_ij - mean_l L_il)

    with K and L the cosines of the patterns, and a_ij = 1 where j is among the k nearest of i in both, else 0: see
    mutual_knn. This is the formula of the paper; the code deposited with it takes the kernels without centring where
    a_ij = 1 and 0 elsewhere, and the debiased HSIC of these.

    Args, Raises: as mutual_knn; kernels in which all stimuli are equally near.

    Returns:
        In [-1, 1]; 1 for representations that agree on all neighbours and their cosines.

    Source: Huh, Cheung, Wang & Isola, The Platonic Representation Hypothesis, ICML 2024, appendix A.

    Example:
        >>> import torch
        >>> x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
        >>> round(cknna(x, 3 * x), 6)
        1.0
    """
    pair = _distances(x, y, neighbours)
    near = [_nearest(one, neighbours) for one in pair]
    # Kernels 1 - D, their rows centred.
    kernels = [one.mean(axis=1, keepdims=True) - one for one in pair]
    own = [float((kernel[mine] ** 2).sum()) for kernel, mine in zip(kernels, near, strict=True)]
    for name, value, distances in zip(("first", "second"), own, pair, strict=True):
        if math.sqrt(value) <= 1e-12 * float(distances.max()) or not value:
            raise UserError(f"the {name} representation has all stimuli equally near: it has no neighbours")
    both = near[0] & near[1]
    return float(np.clip((kernels[0][both] * kernels[1][both]).sum() / math.sqrt(own[0]) / math.sqrt(own[1]), -1, 1))


def _distances(x: Activations, y: Activations, neighbours: int) -> list[Matrix]:
    """1 - cosine of all stimuli, (n, n), of both; also of patterns that are nearly parallel to all digits."""
    pair = plain_pair(x, y)
    n = len(pair[0])
    needed = f"a whole number of neighbours from 1 to {n - 2} of {n} stimuli"
    number(neighbours, "neighbours", needed, lambda one: one == int(one) and 1 <= one <= n - 2)
    return [square(cosine(one)) for one in pair]


def _nearest(distances: Matrix, neighbours: int) -> NDArray[np.bool_]:
    """Which are among the nearest of each, (n, n)."""
    apart = distances + np.diag(np.full(len(distances), math.inf))
    found = np.zeros(apart.shape, dtype=bool)
    np.put_along_axis(found, np.argsort(apart, axis=1, kind="stable")[:, : int(neighbours)], True, axis=1)
    return found
