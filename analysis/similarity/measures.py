"""Similarity of two representations of the same stimuli: functions of two activation matrices, (n, p) and (n, q).

Every measure declares what it is invariant to (see invariances); the tests check each declaration. They take arrays or
tensors, and work in the type and on the device of the tensors, in float32 at least.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from orthotrace.analysis.rdm.patterns import matrix
from orthotrace.analysis.similarity.invariances import declare

Estimator = Literal["song", "lange"]
Activations = Tensor | ArrayLike


def _pair(x: Activations, y: Activations, least: int = 3, units: bool = False) -> tuple[Tensor, Tensor]:
    """Two matrices of the same stimuli, their features centred; in units of their largest entries, or in their own.

    Raises:
        ValueError: see matrix; different numbers of stimuli, or a representation that is constant.
    """
    a, b = matrix(x, least, name="first"), matrix(y, least, name="second")
    if len(a) != len(b):
        raise ValueError(f"the same stimuli are needed: the first has {len(a)}, the second {len(b)}")
    dtype = torch.promote_types(a.dtype, b.dtype)
    return _centred(a.to(dtype), "first", units), _centred(b.to(dtype).to(a.device), "second", units)


def _centred(x: Tensor, name: str, units: bool) -> Tensor:
    # In units of the largest entry: squares of 1e200 are no numbers.
    size = x.abs().amax()
    x = x / size if size > 0 else x
    centred = x - x.mean(0)
    if float(centred.abs().amax()) <= 8 * torch.finfo(x.dtype).eps:
        raise ValueError(f"the {name} representation is constant over the stimuli: it has no similarity to anything")
    return centred * size if units else centred


def _gram(x: Tensor) -> Tensor:
    """K = H X X^T H, in float64 from products in the matrix's own type."""
    return (x @ x.T).double()


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
        ValueError: fewer than three stimuli, different numbers of them, entries that are not finite, or a
            representation that is constant.

    Source: Kornblith, Norouzi, Lee & Hinton, ICML 2019, eq. 3.

    Example:
        >>> x = torch.eye(4)[:, :2]
        >>> round(linear_cka(x, 3 * x[:, [1, 0]]), 6)
        1.0
    """
    a, b = _pair(x, y)
    n = len(a)
    if n < max(a.shape[1], b.shape[1]):
        k, other = _gram(a), _gram(b)
        return float((k * other).sum() / (k.norm() * other.norm()))
    return float((b.T @ a).double().square().sum() / ((a.T @ a).double().norm() * (b.T @ b).double().norm()))


def hsic(k: Tensor, other: Tensor, estimator: Estimator = "song") -> float:
    """Hilbert-Schmidt independence criterion of two Gram matrices, without the bias of their diagonals.

    "song": with zero diagonals, [tr(KL) + (1'K1)(1'L1) / ((n-1)(n-2)) - 2/(n-2) 1'KL1] / (n (n-3)), unbiased.
    "lange": the sum over i != j of (HKH)_ij (HLH)_ij, over n (n-3); not unbiased, but a scalar product.

    Args:
        k: (n, n), symmetric, n >= 4.
        other: L, likewise.
        estimator: of the two.

    Sources: Song et al., JMLR 13 (2012), eq. 5; Lange et al., 2023.
    """
    n = len(k)
    if estimator == "lange":
        k, other = _double_centred(k), _double_centred(other)
        return float(((k * other).sum() - (k.diagonal() * other.diagonal()).sum()) / (n * (n - 3)))
    k, other = (one - torch.diag(one.diagonal()) for one in (k, other))
    rows, others = k.sum(0), other.sum(0)
    whole = rows.sum() * others.sum() / ((n - 1) * (n - 2))
    return float(((k * other).sum() + whole - 2 / (n - 2) * (rows @ others)) / (n * (n - 3)))


def _double_centred(k: Tensor) -> Tensor:
    return k - k.mean(0) - k.mean(1, keepdim=True) + k.mean()


@declare("orthogonal", "permutation", "scaling", "translation")
def debiased_cka(x: Activations, y: Activations, estimator: Estimator = "song") -> float:
    """Linear centred kernel alignment without the bias of few stimuli and many features.

        HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), with K = X X^T and L = Y Y^T

    Args:
        x: activations (n, ...) of the same stimuli, n >= 4.
        y: likewise.
        estimator: of HSIC, see hsic.

    Returns:
        At most 1; around 0, and below, for independent representations.

    Raises:
        ValueError: fewer than four stimuli; as linear_cka; a representation without any structure, whose HSIC is not
            positive.

    Source: Nguyen, Raghu & Kornblith, ICLR 2021, for HSIC_1 in CKA.

    Example:
        >>> x = torch.randn(50, 400, generator=torch.Generator().manual_seed(0))
        >>> y = torch.randn(50, 400, generator=torch.Generator().manual_seed(1))
        >>> linear_cka(x, y) > 0.8, abs(debiased_cka(x, y)) < 0.1
        (True, True)
    """
    a, b = _pair(x, y, least=4)
    return _aligned([(_gram(a), _gram(b))], estimator)


@declare("orthogonal", "permutation", "scaling", "translation")
def minibatch_cka(x: Activations, y: Activations, batch: int = 20, estimator: Estimator = "song") -> float:
    """Debiased CKA from batches of stimuli: the ratio of the means of HSIC over batches.

    Args:
        x: activations (n, ...) of the same stimuli, in the same order.
        y: likewise.
        batch: stimuli of one, at least 4; what is left over is a last batch if it has 4 or more.
        estimator: of HSIC, see hsic.

    Raises:
        ValueError: a batch of fewer than four stimuli; as debiased_cka.

    Source: Nguyen, Raghu & Kornblith, ICLR 2021, eq. 5.

    Example:
        >>> x = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> round(minibatch_cka(x, x), 6)
        1.0
    """
    if batch < 4:
        raise ValueError(f"a batch of at least four stimuli is needed to debias (got {batch})")
    a, b = _pair(x, y, least=4)
    parts = [(_gram(p), _gram(q)) for p, q in zip(a.split(batch), b.split(batch), strict=True) if len(p) >= 4]
    return _aligned(parts, estimator)


def _aligned(parts: list[tuple[Tensor, Tensor]], estimator: Estimator) -> float:
    """HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), summed over batches."""
    if estimator not in ("song", "lange"):
        raise ValueError(f"there is no estimator '{estimator}'; there are: song, lange")
    both = sum(hsic(*pair, estimator) for pair in parts)
    own = [sum(hsic(pair[i], pair[i], estimator) for pair in parts) for i in range(2)]
    for name, value in zip(("first", "second"), own, strict=True):
        if value <= 0:
            raise ValueError(
                f"the {name} representation has no structure that its noise would not hide: HSIC {value:.2g}"
            )
    return both / math.sqrt(own[0] * own[1])


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
        ValueError: as linear_cka; a fraction that is not positive; half of the stimuli coincide.

    Source: Kornblith, Norouzi, Lee & Hinton, ICML 2019, section 4.

    Example:
        >>> x = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
        >>> round(rbf_cka(x, 2 * x + 1), 6)
        1.0
    """
    if not 0 < fraction < math.inf:
        raise ValueError(f"a positive fraction of the median distance is needed (got {fraction})")
    kernels = []
    for name, one in zip(("first", "second"), _pair(x, y), strict=True):
        squared = _squared_distances(one)
        # torch's own median takes the lower of the two in the middle.
        ordered = _upper(squared).sqrt().sort().values
        median = float((ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2)
        if not median:
            raise ValueError(f"half of the stimuli of the {name} representation coincide: their median distance is 0")
        kernels.append(_double_centred(torch.exp(-squared / (2 * (fraction * median) ** 2))))
    k, other = kernels
    value = float((k * other).sum() / (k.norm() * other.norm()))
    if not math.isfinite(value):
        raise ValueError(f"a kernel of {fraction:g} of the median distance tells no stimuli apart")
    return value


def _squared_distances(x: Tensor) -> Tensor:
    gram = _gram(x)
    size = gram.diagonal()
    return (size[:, None] + size[None] - 2 * gram).clamp_min(0).fill_diagonal_(0)


def _upper(values: Tensor) -> Tensor:
    rows, columns = torch.triu_indices(len(values), len(values), 1, device=values.device)
    return values[rows, columns]


def _basis(x: Tensor, name: str) -> Tensor:
    """An orthonormal basis of the columns of x, (n, rank).

    Raises:
        ValueError: the columns span all that n centred stimuli can, so that they correlate with anything.
    """
    u, s, _ = torch.linalg.svd(x.double(), full_matrices=False)
    rank = int((s > s[0] * max(x.shape) * torch.finfo(x.dtype).eps).sum())
    if rank >= len(x) - 1:
        raise ValueError(
            f"the {name} representation has as many dimensions as there are stimuli: any two would correlate "
            "perfectly; take more stimuli, fewer features, or svcca"
        )
    return u[:, :rank]


def canonical_correlations(x: Activations, y: Activations) -> Tensor:
    """The canonical correlations of two representations, largest first.

        rho = singular values of Q_x^T Q_y, with Q the orthonormal bases of the centred columns

    Args:
        x: activations (n, ...) of the same stimuli; more stimuli than dimensions.
        y: likewise.

    Returns:
        (min(rank x, rank y),), in [0, 1].

    Raises:
        ValueError: as linear_cka; a representation of as many dimensions as there are stimuli.

    Source: Bjorck & Golub, Mathematics of Computation 27 (1973).
    """
    a, b = _pair(x, y)
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
        ValueError: as canonical_correlations; a share out of its range.

    Source: Raghu, Gilmer, Yosinski & Sohl-Dickstein, NeurIPS 2017.

    Example:
        >>> x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
        >>> round(svcca(x, 2 * x), 6)
        1.0
    """
    if not 0 < variance <= 1:
        raise ValueError(f"a share of the variance in (0, 1] is needed (got {variance})")
    return cca(*(_leading(one, variance) for one in _pair(x, y)))


def _leading(x: Tensor, variance: float) -> Tensor:
    u, s, _ = torch.linalg.svd(x.double(), full_matrices=False)
    shares = s.square().cumsum(0) / s.square().sum()
    kept = int((shares < variance * (1 - 1e-12)).sum()) + 1
    return (u * s)[:, :kept]


@declare("permutation", "scaling", "translation", symmetric=False)
def pwcca(x: Activations, y: Activations) -> float:
    """Canonical correlations weighted by how much of the first representation each canonical variable accounts for.

        sum_i a_i rho_i / sum_i a_i,  a_i = sum_j |<h_i, x_j>|

    with h_i the canonical variables of X and x_j its centred columns.

    Args:
        x: activations (n, ...) of the same stimuli; more stimuli than dimensions.
        y: likewise.

    Returns:
        In [0, 1]; not symmetric, see pwcca_mean.

    Raises:
        ValueError: as canonical_correlations.

    Source: Morcos, Raghu & Bengio, NeurIPS 2018.

    Example:
        >>> x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
        >>> round(pwcca(x, 2 * x), 6)
        1.0
    """
    a, b = _pair(x, y)
    basis = _basis(a, "first")
    left, rho, _ = torch.linalg.svd(basis.T @ _basis(b, "second"), full_matrices=False)
    weights = ((basis @ left).T @ a.double()).abs().sum(1)
    return float((weights * rho.clamp_max(1)).sum() / weights.sum())


@declare("permutation", "scaling", "translation")
def pwcca_mean(x: Activations, y: Activations) -> float:
    """Mean of pwcca in both directions."""
    return (pwcca(x, y) + pwcca(y, x)) / 2


def _nuclear(x: Tensor, y: Tensor) -> Tensor:
    """|X^T Y|_*, by the smaller of the features and the stimuli."""
    if len(x) < min(x.shape[1], y.shape[1]):
        # X = A U^T with A (n, n): the singular values of U A^T B V^T are those of A^T B.
        x, y = (torch.linalg.qr(one.double().T, mode="r").R.T for one in (x, y))
    return torch.linalg.svdvals((x.T @ y).double()).sum()


@declare("orthogonal", "permutation", "translation", metric=True)
def procrustes(x: Activations, y: Activations) -> float:
    """Procrustes distance: what is left of the difference after the best orthogonal map.

        d^2 = |X|_F^2 + |Y|_F^2 - 2 |X^T Y|_*

    A metric, of centred representations in their own units.

    Args:
        x: activations (n, ...) of the same stimuli, n >= 3; of different widths as if padded by zeros.
        y: likewise.

    Returns:
        At least 0.

    Raises:
        ValueError: as linear_cka.

    Source: Williams, Kunz, Kornblith & Linderman, Generalized Shape Metrics, NeurIPS 2021.

    Example:
        >>> round(procrustes(torch.eye(3), 2 * torch.eye(3)[:, [1, 2, 0]]), 4)
        1.4142
    """
    a, b = _pair(x, y, units=True)
    # In units of the largest entry of both: squares leave the range of numbers.
    size = torch.maximum(a.abs().amax(), b.abs().amax())
    a, b = a / size, b / size
    squared = a.double().square().sum() + b.double().square().sum() - 2 * _nuclear(a, b)
    return float(squared.clamp_min(0).sqrt()) * float(size)


@declare("orthogonal", "permutation", "scaling", "translation")
def procrustes_cosine(x: Activations, y: Activations) -> float:
    """Cosine of the angle between two representations after the best orthogonal map.

        |X^T Y|_* / (|X|_F |Y|_F)

    Returns:
        In [0, 1].

    Raises:
        ValueError: as linear_cka.

    Source: Williams, Kunz, Kornblith & Linderman, NeurIPS 2021.
    """
    a, b = _pair(x, y)
    return float((_nuclear(a, b) / (a.double().norm() * b.double().norm())).clamp_max(1))


@declare("orthogonal", "permutation", "scaling", "translation", metric=True)
def procrustes_angle(x: Activations, y: Activations) -> float:
    """Angle between two representations after the best orthogonal map, arccos of procrustes_cosine; a metric.

    Returns:
        In [0, pi / 2].

    Raises:
        ValueError: as linear_cka.

    Source: Williams, Kunz, Kornblith & Linderman, NeurIPS 2021.
    """
    # By the half angle: the arc cosine alone loses half of the digits near 1.
    a, b = _pair(x, y)
    a, b = (one.double() / one.double().norm() for one in (a, b))
    apart = (2 - 2 * _nuclear(a, b)).clamp_min(0).sqrt()
    return float(2 * torch.asin((apart / 2).clamp_max(1)))


@declare("orthogonal", "permutation", "scaling", "translation")
def distance_correlation(x: Activations, y: Activations) -> float:
    """Distance correlation: the correlation of the doubly centred matrices of Euclidean distances.

        sqrt(sum A o B / sqrt(sum A o A  sum B o B)), A and B doubly centred

    Args:
        x: activations (n, ...) of the same stimuli, n >= 3.
        y: likewise.

    Returns:
        In [0, 1].

    Raises:
        ValueError: as linear_cka.

    Source: Szekely, Rizzo & Bakirov, Annals of Statistics 35 (2007).

    Example:
        >>> x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
        >>> round(distance_correlation(x, -2 * x), 6)
        1.0
    """
    a, b = (_double_centred(_squared_distances(one).sqrt()) for one in _pair(x, y))
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
        ValueError: as linear_cka; a number of neighbours out of its range.

    Example:
        >>> x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
        >>> knn_jaccard(x, x + 1)
        1.0
    """
    pair = _pair(x, y)
    n = len(pair[0])
    if not 1 <= neighbours <= n - 2:
        raise ValueError(f"from 1 to {n - 2} neighbours of {n} stimuli (got {neighbours})")
    near = []
    for one in pair:
        apart = _squared_distances(one).fill_diagonal_(math.inf)
        chosen = apart.argsort(dim=1, stable=True)[:, :neighbours]
        near.append(torch.zeros_like(apart, dtype=torch.bool).scatter_(1, chosen, value=True))
    both = (near[0] & near[1]).sum(1).double()
    return float((both / (2 * neighbours - both)).mean())


@declare("orthogonal", "permutation", "scaling", "translation", symmetric=False)
def regression(x: Activations, y: Activations) -> float:
    """Share of the variance of the second representation that a linear map of the first explains, R^2.

        |Q_x^T Y|_F^2 / |Y|_F^2

    Invariant to any invertible map of the first, and to orthogonal maps and scalings of the second.

    Args:
        x: activations (n, ...) of the same stimuli; more stimuli than dimensions of the first.
        y: likewise.

    Returns:
        In [0, 1]; not symmetric.

    Raises:
        ValueError: as canonical_correlations.

    Source: Kornblith, Norouzi, Lee & Hinton, ICML 2019, R^2_LR.

    Example:
        >>> x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
        >>> round(regression(x, x[:, :2] - x[:, 2:]), 6)
        1.0
    """
    a, b = _pair(x, y)
    b = b.double()
    return float((_basis(a, "first").T @ b).square().sum() / b.square().sum())


MEASURES = {
    function.__name__: function
    for function in (
        linear_cka, debiased_cka, minibatch_cka, rbf_cka, cca, cca_squared, svcca, pwcca, pwcca_mean, procrustes,
        procrustes_cosine, procrustes_angle, distance_correlation, knn_jaccard, regression,
    )
}  # fmt: skip
