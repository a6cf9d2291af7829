"""Centred kernel alignment (CKA): linear, debiased, from batches, with Gaussian kernels."""

import math
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from orthotrace.analysis.rdm.arguments import number
from orthotrace.analysis.rdm.arrays import finite, is_symmetric, representable, unit_of
from orthotrace.analysis.similarity.all_pairs import cosine_of
from orthotrace.analysis.similarity.invariances import declare
from orthotrace.analysis.similarity.pairs import (
    Activations,
    centred,
    centred_pair,
    double_centred,
    gram_matrix,
    near_gram,
    plain_one,
    plain_pair,
    squared_distances,
)
from orthotrace.core.errors import UserError, refuse_unknown

Estimator = Literal["song", "lange"]
# Of a Gram matrix, what is but rounding once it is centred.
ROUNDING = 1e-12


def _linear_vector(x: Activations) -> Tensor:
    return double_centred(near_gram(plain_one(x))).flatten()


def _debiased_vector(x: Activations, estimator: Estimator = "song") -> Tensor:
    k = near_gram(plain_one(x, least=4))
    size, found = float(k.norm()), _unbiased(k, estimator)
    if float(found.norm()) <= ROUNDING * size:
        raise UserError("nothing but rounding is left")
    return found.flatten()


def _gaussian_vector(x: Activations, fraction: float = 0.4) -> Tensor:
    return _gaussian(plain_one(x), fraction, "").flatten()


def _gaussian(one: Tensor, fraction: float, name: str) -> Tensor:
    """A centred Gaussian kernel, in units of its largest entry."""
    number(fraction, "fraction", "a positive fraction of the median distance", lambda one: one > 0)
    squared = squared_distances(one)
    # torch's own median takes the lower of the two in the middle.
    median = float(np.median(squared[*torch.triu_indices(len(squared), len(squared), 1)].sqrt().cpu().numpy()))
    if not median:
        raise UserError(f"half of the stimuli of the {name} representation coincide: their median distance is 0")
    # Less 1, which centring takes off anyway: of a wide kernel nothing else would be left.
    kernel = double_centred(torch.expm1(-(squared.sqrt() / median / fraction).square() / 2))
    return kernel / kernel.abs().amax()


@cosine_of(_linear_vector)
@declare("orthogonal", "permutation", "scaling", "translation")
def linear_cka(x: Activations, y: Activations) -> float:
    """Linear centred kernel alignment.

        |Y^T X|_F^2 / (|X^T X|_F |Y^T Y|_F)

    By features or by stimuli, whichever are fewer. Biased: independent representations of many features come near 1;
    see debiased_cka.

    Args:
        x: activations (n, ...) of the same stimuli, n >= 3, flattened.
        y: likewise.

    Returns:
        In [0, 1]; 1 where one is an orthogonal map and a scaling of the other.

    Raises:
        UserError: fewer than three stimuli, different numbers of them, entries that are not finite, or a
            representation that is constant.

    Source: Kornblith, Norouzi, Lee & Hinton, ICML 2019, eq. 3.

    Example:
        >>> x = torch.eye(4)[:, :2]
        >>> round(linear_cka(x, 3 * x[:, [1, 0]]), 6)
        1.0
    """
    pair = plain_pair(x, y)
    # Nothing cancels in sums of squares: what came in float32 has digits enough there, once it is centred.
    kind = torch.promote_types(pair[0].dtype, pair[1].dtype)
    a, b = (centred(one, kind).to(pair[0].device) for one in pair)
    n = len(a)
    if n < max(a.shape[1], b.shape[1]):
        k, other = gram_matrix(a), gram_matrix(b)
        return float((k * other).sum() / (k.norm() * other.norm()))
    return float((b.T @ a).double().square().sum() / ((a.T @ a).double().norm() * (b.T @ b).double().norm()))


def hsic(k: Activations, other: Activations, estimator: Estimator = "song") -> float:
    """Hilbert-Schmidt independence criterion of two Gram matrices, without the bias of their diagonals.

    "song": with zero diagonals, [tr(KL) + (1'K1)(1'L1) / ((n-1)(n-2)) - 2/(n-2) 1'KL1] / (n (n-3)), unbiased.
    "lange": the sum over i != j of (HKH)_ij (HLH)_ij, over n (n-3); not unbiased, but a scalar product. Centring
    leaves a negative mean off the diagonal, which all Gram matrices of few stimuli and many features share.

    Args:
        k: (n, n), symmetric, n >= 4.
        other: L, likewise.
        estimator: of the two.

    Raises:
        UserError: matrices of other shapes, that are not symmetric, or whose products are no numbers; an unknown
            estimator.

    Sources: Song et al., JMLR 13 (2012), eq. 5; Lange et al., 2023.
    """
    refuse_unknown([estimator], get_args(Estimator), "there is no estimator", "estimator")
    given = []
    for name, one in (("k", k), ("other", other)):
        values = finite(one, name)
        if not is_symmetric(values) or len(values) < 4 or len(values) != len(given[0][0] if given else values):
            raise UserError(f"two symmetric matrices (n, n), n >= 4, are needed, got shape {values.shape}", name)
        unit = unit_of(values)
        given.append((values / unit, unit))
    (a, unit), (b, other_unit) = given
    first, second = (_unbiased(torch.from_numpy(one), estimator) for one in (a, b))
    value = float((first * second).sum()) / (len(a) * (len(a) - 3))
    with np.errstate(over="ignore"):
        return float(representable(np.float64(value) * unit * other_unit, "k"))


def _unbiased(k: Tensor, estimator: Estimator) -> Tensor:
    """A Gram matrix centred so that products of two are n (n-3) HSIC (song: Szekely & Rizzo 2014).

    Once centred, nothing cancels in the sum of their products, as it does between the terms of Song's formula.
    """
    refuse_unknown([estimator], get_args(Estimator), "there is no estimator", "estimator")
    if estimator == "lange":
        return double_centred(k).fill_diagonal_(0)
    n = len(k)
    k = k.clone().fill_diagonal_(0)
    rows, mean = k.sum(0) / (n - 2), k.sum() / ((n - 1) * (n - 2))
    return k.sub_(rows).sub_(rows[:, None]).add_(mean).fill_diagonal_(0)


@cosine_of(_debiased_vector)
@declare("orthogonal", "permutation", "scaling", "translation")
def debiased_cka(x: Activations, y: Activations, estimator: Estimator = "song") -> float:
    """Linear centred kernel alignment without the bias of few stimuli and many features.

        HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), with K = X X^T and L = Y Y^T

    Args:
        x: activations (n, ...) of the same stimuli, n >= 4.
        y: likewise.
        estimator: of HSIC, see hsic.

    Returns:
        At most 1. For independent representations around 0, and below, by "song"; by "lange", of p independent
        features, about p / (p + n^2), which is near 1 for few stimuli: take it where n^2 is far above p.

    Raises:
        UserError: fewer than four stimuli; as linear_cka; a representation without any structure, whose HSIC is but
            rounding.

    Source: Nguyen, Raghu & Kornblith, ICLR 2021, for HSIC_1 in CKA.

    Example:
        >>> x = torch.randn(50, 400, generator=torch.Generator().manual_seed(0))
        >>> y = torch.randn(50, 400, generator=torch.Generator().manual_seed(1))
        >>> linear_cka(x, y) > 0.8, abs(debiased_cka(x, y)) < 0.1
        (True, True)
    """
    a, b = centred_pair(x, y, least=4)
    return _aligned([(gram_matrix(a), gram_matrix(b))], estimator)


@declare("orthogonal", "permutation", "scaling", "translation")
def minibatch_cka(x: Activations, y: Activations, batch: int = 20, estimator: Estimator = "song") -> float:
    """Debiased CKA from batches of stimuli: the ratio of the means of HSIC over batches.

    Args:
        x: activations (n, ...) of the same stimuli, in the same order.
        y: likewise.
        batch: stimuli of a batch, at least 4; the rest is a last batch if it has 4 or more.
        estimator: of HSIC, see hsic.

    Raises:
        UserError: a batch of fewer than four stimuli; as debiased_cka.

    Source: Nguyen, Raghu & Kornblith, ICLR 2021, eq. 5.

    Example:
        >>> x = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> round(minibatch_cka(x, x), 6)
        1.0
    """
    if not isinstance(batch, (int, np.integer)) or batch < 4:
        raise UserError(f"a batch of at least four stimuli is needed to debias (got {batch})", "batch")
    a, b = centred_pair(x, y, least=4)
    parts = [
        (gram_matrix(p), gram_matrix(q)) for p, q in zip(a.split(batch), b.split(batch), strict=True) if len(p) >= 4
    ]
    return _aligned(parts, estimator)


def _aligned(parts: list[tuple[Tensor, Tensor]], estimator: Estimator) -> float:
    """HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), summed over batches."""
    both, own, whole = 0.0, [0.0, 0.0], [0.0, 0.0]
    for pair in parts:
        # Batches may have other numbers of stimuli.
        n = len(pair[0])
        found = [_unbiased(k, estimator) for k in pair]
        both += float((found[0] * found[1]).sum()) / (n * (n - 3))
        for i, (k, one) in enumerate(zip(pair, found, strict=True)):
            own[i] += float(one.square().sum()) / (n * (n - 3))
            whole[i] += float(k.square().sum()) / (n * (n - 3))
    for name, value, size in zip(("first", "second"), own, whole, strict=True):
        if value <= ROUNDING**2 * size:
            raise UserError(
                f"the {name} representation has no structure that its noise would not hide: HSIC {value:.2g}"
            )
    return both / math.sqrt(own[0] * own[1])


@cosine_of(_gaussian_vector)
@declare("orthogonal", "permutation", "scaling", "translation")
def rbf_cka(x: Activations, y: Activations, fraction: float = 0.4) -> float:
    """Centred kernel alignment with Gaussian kernels.

        tr(K H L H) / sqrt(tr(K H K H) tr(L H L H))

    with K_ij = exp(-|x_i - x_j|^2 / (2 s^2)) and s = fraction x the median of |x_i - x_j|.

    Args:
        x: activations (n, ...) of the same stimuli, n >= 3.
        y: likewise.
        fraction: of the median distance between stimuli, above 0 (paper: .2, .4, .8).

    Returns:
        In [0, 1].

    Raises:
        UserError: as linear_cka; a fraction that is not positive; half of the stimuli coincide.

    Source: Kornblith, Norouzi, Lee & Hinton, ICML 2019, section 4.

    Example:
        >>> x = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
        >>> round(rbf_cka(x, 2 * x + 1), 6)
        1.0
    """
    k, other = (_gaussian(one, fraction, name) for name, one in zip(("first", "second"), plain_pair(x, y), strict=True))
    value = float((k * other).sum() / (k.norm() * other.norm()))
    if not math.isfinite(value):
        raise UserError(f"a kernel of {fraction:g} of the median distance does not distinguish the stimuli")
    return value
