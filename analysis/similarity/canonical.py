"""What linear maps have in common: canonical correlations (CCA, SVCCA, PWCCA) and linear regression."""

import math

import torch
from torch import Tensor

from orthotrace.analysis.rdm.arguments import number
from orthotrace.analysis.rdm.dissimilarity import BLOCK
from orthotrace.analysis.rdm.products import largest
from orthotrace.analysis.similarity.invariances import declare
from orthotrace.analysis.similarity.pairs import Activations, centred, centred_pair, plain_pair
from orthotrace.core.errors import UserError

# How much larger than their rounding singular values must be: a layer rounds more than its outputs.
MARGIN = 10


def _rounding(x: Tensor) -> float:
    """About the spectral norm of the rounding of float32, in units of the largest entry; 0 of values with more digits.

    Values in float64 may come from a network in float32: what counts is whether float32 has them.
    """
    if not all(bool((part == part.float()).all()) for part in x.split(BLOCK, dim=1)):
        return 0.0
    size = largest(x).amax().double()
    mean_square = sum(float((part.double() / size).square().sum()) for part in x.split(BLOCK, dim=1)) / x.numel()
    return torch.finfo(torch.float32).eps * math.sqrt(mean_square) * (math.sqrt(len(x)) + math.sqrt(x.shape[1]))


def _basis(x: Tensor, name: str) -> Tensor:
    """An orthonormal basis of the centred columns of x, (n, rank), without directions that are rounding.

    Refused where any two representations would correlate perfectly.
    """
    u, s, _ = torch.linalg.svd(centred(x), full_matrices=False)
    least = max(float(s[0]) * max(x.shape) * torch.finfo(torch.float64).eps, MARGIN * _rounding(x))
    rank = int((s > least).sum())
    if rank >= len(x) - 1:
        raise UserError(
            f"the {name} representation has as many dimensions as there are stimuli: any two would correlate "
            "perfectly; take more stimuli, fewer features, or svcca"
        )
    return u[:, :rank]


def canonical_correlations(x: Activations, y: Activations) -> Tensor:
    """The canonical correlations of two representations, largest first.

        rho = singular values of Q_x^T Q_y, with Q the orthonormal bases of the centred columns

    Directions that are rounding count in no basis: of a layer in float32 with more units than inputs they would be most
    of it.

    Args, Raises: as linear_cka; each must have fewer dimensions than there are stimuli.

    Returns:
        (min(rank x, rank y),), in [0, 1].

    Source: Bjorck & Golub, Mathematics of Computation 27 (1973).
    """
    a, b = plain_pair(x, y)
    return torch.linalg.svdvals(_basis(a, "first").T @ _basis(b, "second")).clamp_max(1)


@declare("orthogonal", "permutation", "scaling", "translation", "linear")
def cca(x: Activations, y: Activations) -> float:
    """Mean canonical correlation, see canonical_correlations.

    Example:
        >>> x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
        >>> round(cca(x, x @ torch.triu(torch.ones(4, 4))), 6)
        1.0
    """
    return float(canonical_correlations(x, y).mean())


@declare("orthogonal", "permutation", "scaling", "translation", "linear")
def cca_squared(x: Activations, y: Activations) -> float:
    """Mean squared canonical correlation, see canonical_correlations.

    Source: Kornblith, Norouzi, Lee & Hinton, ICML 2019, R^2_CCA.
    """
    return float(canonical_correlations(x, y).square().mean())


@declare("orthogonal", "permutation", "scaling", "translation")
def svcca(x: Activations, y: Activations, variance: float = 0.99) -> float:
    """Mean canonical correlation of the leading principal components of each representation.

    Kept are the first components whose squared singular values sum to the share of the variance.

    Args:
        x: activations (n, ...) of the same stimuli.
        y: likewise.
        variance: share to keep, in (0, 1].

    Returns:
        In [0, 1].

    Raises:
        UserError: as canonical_correlations; a share out of its range.

    Source: Raghu, Gilmer, Yosinski & Sohl-Dickstein, NeurIPS 2017.

    Example:
        >>> x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
        >>> round(svcca(x, 2 * x), 6)
        1.0
    """
    number(variance, "variance", "a share of the variance in (0, 1]", lambda one: 0 < one <= 1)
    return cca(*(_leading(one, variance) for one in centred_pair(x, y)))


def _leading(x: Tensor, variance: float) -> Tensor:
    u, s, _ = torch.linalg.svd(x.double(), full_matrices=False)
    shares = s.square().cumsum(0) / s.square().sum()
    kept = int((shares < variance * (1 - 1e-12)).sum()) + 1
    return (u * s)[:, :kept]


@declare("permutation", "scaling", "translation", symmetric=False)
def pwcca(x: Activations, y: Activations) -> float:
    """Canonical correlations weighted by how much of the first representation each canonical variable accounts for.

        sum_i a_i rho_i / sum_i a_i,  a_i = sum_j |<h_i, x_j>|

    with h_i the canonical variables of X and x_j its centred columns. Where canonical correlations coincide, as some do
    where both have together as many dimensions as there are stimuli, the h_i are not determined, nor is the value.

    Args, Raises: as canonical_correlations.

    Returns:
        In [0, 1]; not symmetric, see pwcca_mean.

    Source: Morcos, Raghu & Bengio, NeurIPS 2018.

    Example:
        >>> x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
        >>> round(pwcca(x, 2 * x), 6)
        1.0
    """
    a, b = plain_pair(x, y)
    basis = _basis(a, "first")
    left, rho, _ = torch.linalg.svd(basis.T @ _basis(b, "second"), full_matrices=False)
    weights = ((basis @ left).T @ centred(a)).abs().sum(1)
    return float((weights * rho.clamp_max(1)).sum() / weights.sum())


@declare("permutation", "scaling", "translation")
def pwcca_mean(x: Activations, y: Activations) -> float:
    """Mean of pwcca in both directions."""
    return (pwcca(x, y) + pwcca(y, x)) / 2


@declare("orthogonal", "permutation", "scaling", "translation", symmetric=False)
def regression(x: Activations, y: Activations) -> float:
    """Share of the variance of the second representation that a linear map of the first explains, R^2.

        |Q_x^T Y|_F^2 / |Y|_F^2

    Invariant to any invertible map of the first, and to orthogonal maps and scalings of the second.

    Args, Raises: as canonical_correlations, for the first.

    Returns:
        In [0, 1]; not symmetric.

    Source: Kornblith, Norouzi, Lee & Hinton, ICML 2019, R^2_LR.

    Example:
        >>> x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
        >>> round(regression(x, x[:, :2] - x[:, 2:]), 6)
        1.0
    """
    a, b = plain_pair(x, y)
    b = centred(b)
    return float((_basis(a, "first").T @ b).square().sum() / b.square().sum())
