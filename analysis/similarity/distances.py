"""By the Euclidean distances between stimuli: their correlation, and who is near whom."""

import math

import numpy as np
import torch

from orthotrace.analysis.similarity.all_pairs import cosine_of
from orthotrace.analysis.similarity.invariances import declare
from orthotrace.analysis.similarity.pairs import Activations, double_centred, plain_one, plain_pair, squared_distances
from orthotrace.core.errors import UserError


def _distance_vector(x: Activations) -> torch.Tensor:
    return double_centred(squared_distances(plain_one(x)).sqrt()).flatten()


@cosine_of(_distance_vector, lambda cosines: cosines.clamp_min(0).sqrt())
@declare("orthogonal", "permutation", "scaling", "translation")
def distance_correlation(x: Activations, y: Activations) -> float:
    """Distance correlation: the correlation of the doubly centred matrices of Euclidean distances.

        sqrt(sum A o B / sqrt(sum A o A  sum B o B)), A and B doubly centred

    Args, Raises: as cka.linear_cka.

    Returns:
        In [0, 1].

    Source: Szekely, Rizzo & Bakirov, Annals of Statistics 35 (2007).

    Example:
        >>> x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
        >>> round(distance_correlation(x, -2 * x), 6)
        1.0
    """
    a, b = (double_centred(squared_distances(one).sqrt()) for one in plain_pair(x, y))
    return float(((a * b).sum() / (a.norm() * b.norm())).clamp_min(0).sqrt())


@declare("orthogonal", "permutation", "scaling", "translation")
def knn_jaccard(x: Activations, y: Activations, neighbours: int = 10) -> float:
    """Mean overlap of the nearest neighbours of each stimulus, by Euclidean distance.

        mean_i |N_x(i) and N_y(i)| / |N_x(i) or N_y(i)|

    Args:
        x: activations (n, ...) of the same stimuli.
        y: likewise.
        neighbours: of each, from 1 to n - 2.

    Returns:
        In [0, 1].

    Raises:
        UserError: as linear_cka; a number of neighbours out of its range.

    Example:
        >>> x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
        >>> knn_jaccard(x, x + 1)
        1.0
    """
    pair = plain_pair(x, y)
    n = len(pair[0])
    if not isinstance(neighbours, (int, np.integer)) or not 1 <= neighbours <= n - 2:
        raise UserError(f"from 1 to {n - 2} neighbours of {n} stimuli (got {neighbours})", "neighbours")
    near = []
    for one in pair:
        apart = squared_distances(one).fill_diagonal_(math.inf)
        chosen = apart.argsort(dim=1, stable=True)[:, :neighbours]
        near.append(torch.zeros_like(apart, dtype=torch.bool).scatter_(1, chosen, value=True))
    both = (near[0] & near[1]).sum(1).double()
    return float((both / (2 * neighbours - both)).mean())
