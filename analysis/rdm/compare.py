"""Comparisons between RDMs, all pairs at once.

Every function takes a stack (k, m) of condensed RDMs, and a second one (l, m) or none, and gives (k, l): each RDM of
the first against each of the second, or of the first. Entries that are missing (NaN) in every RDM alike are left out;
where they differ between RDMs they are refused, and so they are where a whole matrix is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm.rdms import RDMs, check_comparable
from orthotrace.analysis.rdm.triangles import ranks, stimuli_of

if TYPE_CHECKING:
    from torch import Tensor

Matrix = NDArray[np.float64]
# Entries at once: a block of some RDMs stays in the cache.
BLOCK = 4096
# The same for products alone.
WIDE = 16384


def pearson(rdms: ArrayLike, others: ArrayLike | None = None) -> Matrix:
    """Pearson correlation.

    Args:
        rdms: condensed vectors, (k, m).
        others: (l, m); None for the same.

    Returns:
        (k, l), in [-1, 1].

    Raises:
        ValueError: not stacks of vectors of one length, entries that are infinite or missing here and there, or an RDM
            that is constant; names the first.

    Example:
        >>> pearson([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]).round(6)
        array([[ 1., -1.],
               [-1.,  1.]])
    """
    return _correlation(rdms, others, centre=True)


def squared_pearson(rdms: ArrayLike, others: ArrayLike | None = None) -> Matrix:
    """Shared variance of RDMs, r^2: the representational consistency of two networks.

    Args, Raises: as pearson.

    Returns:
        (k, l), in [0, 1].

    Source: Mehrer, Spoerer, Kriegeskorte & Kietzmann, Nature Communications 11:5725 (2020).

    Example:
        >>> float(squared_pearson([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])[0, 1].round(6))
        1.0
    """
    return pearson(rdms, others) ** 2


def cosine(rdms: ArrayLike, others: ArrayLike | None = None) -> Matrix:
    """Cosine of the angle between RDMs as vectors.

    Args, Returns: as pearson.

    Raises:
        ValueError: as pearson, constant RDMs apart; an RDM of zeros.

    Example:
        >>> cosine([[1.0, 0.0, 1.0]], [[0.0, 1.0, 1.0]]).round(6)
        array([[0.5]])
    """
    return _correlation(rdms, others, centre=False)


def spearman(rdms: ArrayLike, others: ArrayLike | None = None) -> Matrix:
    """Spearman's rank correlation, ties sharing their mean rank.

    Args, Returns, Raises: as pearson.

    Example:
        >>> spearman([[1.0, 2.0, 9.0]], [[1.0, 3.0, 2.0]]).round(6)
        array([[0.5]])
    """
    first, second = stacks(rdms, others)
    ranked = ranks(first)
    return _correlated(ranked, ranked if second is first else ranks(second))


def rho_a(rdms: ArrayLike, others: ArrayLike | None = None) -> Matrix:
    """Spearman's correlation with ties broken at random, on average.

        12 / (m^3 - m) sum_i (R_i - mean R) (S_i - mean S)

    Right where a model predicts ties, which tau-b and Spearman's own coefficient reward.

    Args, Returns, Raises: as pearson; a constant RDM has 0.

    Source: Schutt, Kipnis, Diedrichsen & Kriegeskorte, eLife 12:e82566 (2023), eq. 12.

    Example:
        >>> rho_a([[1.0, 1.0, 2.0]], [[1.0, 2.0, 3.0]]).round(6)
        array([[0.75]])
    """
    first, second = stacks(rdms, others)
    ranked = ranks(first)
    ranked_second = ranked if second is first else ranks(second)
    m = first.shape[1]
    if m < 2:
        raise ValueError("RDMs of one entry have no ranks to compare")
    centre = (m + 1) / 2
    total = np.zeros((len(ranked), len(ranked_second)))
    for a, b in _blocks(ranked, ranked_second):
        total += (a - centre) @ (b - centre).T
    return np.asarray(12 / (m**3 - m) * total, dtype=np.float64)


def tau_b(rdms: ArrayLike, others: ArrayLike | None = None) -> Matrix:
    """Kendall's tau-b, corrected for ties.

    Args, Returns, Raises: as pearson.

    Source: Kendall, Biometrika 33 (1945) 239.

    Example:
        >>> tau_b([[1.0, 2.0, 3.0]], [[1.0, 3.0, 2.0]]).round(6)
        array([[0.333333]])
    """
    return _kendall(rdms, others, ties=True)


def tau_a(rdms: ArrayLike, others: ArrayLike | None = None) -> Matrix:
    """Kendall's tau-a: concordant minus discordant pairs over all pairs, ties counting as neither.

    Args, Returns, Raises: as pearson.

    Source: Nili et al., PLoS Computational Biology 10:e1003553 (2014), for RDMs.

    Example:
        >>> tau_a([[1.0, 1.0, 2.0]], [[1.0, 2.0, 3.0]]).round(6)
        array([[0.666667]])
    """
    return _kendall(rdms, others, ties=False)


def cosine_cov(rdms: ArrayLike, others: ArrayLike | None = None, noise: ArrayLike | None = None) -> Matrix:
    """Cosine of RDMs as vectors, whitened by the covariance that noise in the patterns gives their entries.

        a^T V^-1 b / sqrt(a^T V^-1 a  b^T V^-1 b),  V = (C S C^T)^2 entry by entry,

    C the contrasts of pairs of stimuli and S the covariance of noise between stimuli. With G = -1/2 H D H that is
    tr(S+ G_a S+ G_b) over its norms, S+ the inverse of H S H on centred vectors: nothing of m x m is formed. For
    squared Euclidean RDMs and S = I it is linear CKA.

    Args:
        rdms: condensed vectors of squared distances, (k, m).
        others: (l, m); None for the same.
        noise: S, (n, n), positive definite; None for the identity.

    Returns:
        (k, l), in [-1, 1].

    Raises:
        ValueError: as cosine; missing entries; vectors that are no triangle of a matrix; a noise of another shape.

    Source: Diedrichsen, Berlot, Mur, Schutt, Shahbazi & Kriegeskorte, Neurons, Behavior, Data analysis and Theory 2021.

    Example:
        >>> cosine_cov([[4.0, 1.0, 1.0]], [[4.0, 1.0, 1.0]]).round(6)
        array([[1.]])
    """
    return _whitened(*stacks(rdms, others), noise)


def corr_cov(rdms: ArrayLike, others: ArrayLike | None = None, noise: ArrayLike | None = None) -> Matrix:
    """Correlation of RDMs, whitened: cosine_cov after the mean of each RDM was taken off.

    Args, Returns, Source: as cosine_cov.

    Raises:
        ValueError: as cosine_cov; an RDM that is constant.

    Example:
        >>> corr_cov([[4.0, 1.0, 1.0]], [[8.0, 2.0, 2.0]]).round(6)
        array([[1.]])
    """
    first, second = stacks(rdms, others)
    centred = first - first.mean(axis=1, keepdims=True)
    for number, one in enumerate(centred):
        _refuse_nothing(number, np.abs(one).max(), np.abs(first[number]).max(), "constant")
    return _whitened(centred, centred if second is first else second - second.mean(axis=1, keepdims=True), noise)


def bures(rdms: ArrayLike, others: ArrayLike | None = None) -> Matrix:
    """Bures similarity: how well the patterns behind two RDMs of squared distances match after a rotation.

        |A^T B|_* / (|A|_F |B|_F), with A A^T and B B^T the positive parts of -1/2 H D H

    Args:
        rdms: condensed vectors of squared distances, (k, m).
        others: (l, m); None for the same.

    Returns:
        (k, l), in [0, 1].

    Raises:
        ValueError: as cosine_cov.

    Source: Harvey, Lipshutz & Williams, What representational similarity measures imply about decodable information,
    2024.

    Example:
        >>> bures([[4.0, 1.0, 1.0]], [[8.0, 2.0, 2.0]]).round(6)
        array([[1.]])
    """
    first, second = stacks(rdms, others)
    # In units of the largest entry: products of traces leave the range of numbers.
    scaled = first / _sizes(first)
    first, second = scaled, scaled if second is first else second / _sizes(second)
    roots, traces = _roots(first)
    others_roots, others_traces = (roots, traces) if second is first else _roots(second, len(first))
    found = np.empty((len(roots), len(others_roots)))
    for i, a in enumerate(roots):
        for j, b in enumerate(others_roots):
            symmetric = second is first and j < i
            found[i, j] = (
                found[j, i]
                if symmetric
                else np.linalg.svd(a.T @ b, compute_uv=False).sum() / math.sqrt(traces[i] * others_traces[j])
            )
    return found


def norm_difference(rdms: ArrayLike, others: ArrayLike | None = None) -> Matrix:
    """Euclidean distance between RDMs as vectors: the norm of their difference over the triangle; 0 for equal ones.

    Args, Raises: as pearson, constant RDMs apart.

    Returns:
        (k, l), at least 0.

    Example:
        >>> norm_difference([[1.0, 2.0, 3.0]], [[1.0, 2.0, 5.0]])
        array([[2.]])
    """
    first, second = stacks(rdms, others)
    found = np.empty((len(first), len(second)))
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            difference = a - b
            # Squares of what is large or small leave the range of numbers.
            size = float(np.abs(difference).max())
            found[i, j] = size * float(np.linalg.norm(difference / size)) if size else 0.0
    return found


def stacks(rdms: ArrayLike, others: ArrayLike | None) -> tuple[Matrix, Matrix]:
    """Two stacks as float64, the same object where there is but one, without the entries that all RDMs miss.

    Raises:
        ValueError: not stacks of vectors of one length, RDMs that are not comparable, or entries that are infinite or
            missing here and there; names the first.

    Example:
        >>> stacks([[1.0, np.nan, 3.0]], None)[0]
        array([[1., 3.]])
    """
    if isinstance(rdms, RDMs) and isinstance(others, RDMs):
        check_comparable(rdms, others)
    first = _stack(rdms)
    second = first if others is None else _stack(others)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"RDMs of one size are needed, got {first.shape[1]} and {second.shape[1]} entries")
    missing = np.isnan(first[0])
    for number, one in enumerate([*first, *(() if second is first else second)]):
        here = np.isnan(one)
        if not np.array_equal(here, missing):
            raise ValueError(f"RDM {number} misses other entries (NaN) than RDM 0: leave out stimuli that not all have")
    if missing.any():
        if missing.all():
            raise ValueError("RDM 0 has entries that are not finite: all of them")
        kept = first[:, ~missing]
        first, second = kept, kept if second is first else second[:, ~missing]
    return first, second


METHODS = {
    function.__name__: function
    for function in (
        pearson, squared_pearson, cosine, spearman, rho_a, tau_b, tau_a, cosine_cov, corr_cov, bures, norm_difference,
    )
}  # fmt: skip


def _array(rdms: ArrayLike) -> Any:
    """As an array of real numbers.

    Raises:
        ValueError: text, objects, or complex numbers.
    """
    if hasattr(rdms, "detach"):
        # A tensor, which ArrayLike does not know; torch is not imported for what comes without it.
        rdms = rdms.detach().cpu()  # type: ignore[union-attr]
    found = np.asarray(rdms)
    if found.dtype.kind not in "biuf":
        raise ValueError(f"RDMs of real numbers are needed, got {found.dtype}")
    return found


def _stack(rdms: ArrayLike) -> Matrix:
    stack = _array(rdms)
    if stack.ndim != 2 or not stack.size:
        raise ValueError(f"a stack (k, m) of condensed RDMs is needed, got shape {stack.shape}")
    stack = stack.astype(np.float64, copy=False)
    for number, one in enumerate(stack):
        # The sum of finite numbers tells all of them at once.
        if not np.isfinite(one.sum()) and np.isinf(one).any():
            raise ValueError(f"RDM {number} has entries that are not finite")
    return stack


def _blocks(first: Matrix, second: Matrix, width: int = BLOCK) -> Iterator[tuple[Matrix, Matrix]]:
    for start in range(0, first.shape[1], width):
        part = first[:, start : start + width]
        yield part, part if second is first else second[:, start : start + width]


def _correlation(rdms: ArrayLike, others: ArrayLike | None, centre: bool) -> Matrix:
    """Correlation, or cosine, in one pass where nothing is in doubt; else step by step, which tells what is wrong."""
    if isinstance(rdms, RDMs) and isinstance(others, RDMs):
        check_comparable(rdms, others)
    first = _array(rdms)
    second = first if others is None else _array(others)
    if first.ndim == second.ndim == 2 and first.size and second.size and first.shape[1] == second.shape[1]:
        found = _once(first, second, centre)
        if found is not None:
            return found
    return _correlated(*stacks(rdms, others), centre)


def _once(first: Matrix, second: Matrix, centre: bool) -> Matrix | None:
    """By the moments of all entries; None where a digit may be lost, or something is not finite.

    Equal to rounding, not bit by bit, under another number of threads: a BLAS may divide the sum among them.
    """
    import torch

    same = second is first
    m = first.shape[1]
    product = torch.zeros(len(first), len(second), dtype=torch.float64)
    sums, squares = (torch.zeros(2, max(len(first), len(second)), dtype=torch.float64) for _ in range(2))
    for a, b in _blocks(first, second, WIDE):
        x = _tensor(a)
        y = x if same else _tensor(b)
        product += x @ y.T
        for place, one in enumerate((x,) if same else (x, y)):
            sums[place, : len(one)] += one.sum(1)
            if not same:
                squares[place, : len(one)] += one.square().sum(1)
    if same:
        squares[0, : len(first)], sums[1] = product.diagonal(), sums[0]
        squares[1] = squares[0]
    left = squares - sums**2 / m if centre else squares
    for place, number in ((0, len(first)), (1, len(second))):
        # The variance must be a good part of what was summed, and of the size of moderate numbers; NaN is neither.
        own, total = left[place, :number], squares[place, :number]
        if not ((own > 1e-3 * total) & (own > 1e-120) & (own < 1e120)).all():
            return None
    if centre:
        product -= torch.outer(sums[0, : len(first)], sums[1, : len(second)]) / m
    product /= torch.outer(left[0, : len(first)].sqrt(), left[1, : len(second)].sqrt())
    result = product.clamp(-1, 1).numpy()
    if same:
        np.fill_diagonal(result, 1.0)
    return result


def _tensor(block: Matrix) -> Tensor:
    """As float64, without a copy where torch takes it as it is."""
    import torch

    plain = block.dtype == np.float64 and block.dtype.isnative and min(block.strides) >= 0
    if not plain or not block.flags.writeable:
        # Converted by numpy, which knows all its types.
        return torch.from_numpy(np.array(block, dtype=np.float64))
    return torch.from_numpy(block)


def _correlated(first: Matrix, second: Matrix, centre: bool = True) -> Matrix:
    """Correlation, or cosine, by one pass over blocks of entries."""
    same = second is first
    sizes = _sizes(first)
    others = sizes if same else _sizes(second)
    means = _means(first, sizes, centre)
    others_means = means if same else _means(second, others, centre)
    product = np.zeros((len(first), len(second)))
    own, own_second = np.zeros(len(first)), np.zeros(len(second))
    for a, b in _blocks(first, second):
        x = a / sizes - means
        y = x if same else b / others - others_means
        product += x @ y.T
        own += np.einsum("ij,ij->i", x, x)
        if not same:
            own_second += np.einsum("ij,ij->i", y, y)
    norms = np.sqrt(own)
    norms_second = norms if same else np.sqrt(own_second)
    for which, values in ((0, norms), (len(first), norms_second)):
        for number, value in enumerate(values):
            _refuse_nothing(
                number + (0 if same else which), value, first.shape[1] ** 0.5, "constant" if centre else "zero"
            )
    result = np.clip(product / norms[:, None] / norms_second[None], -1, 1)
    if same:
        np.fill_diagonal(result, 1.0)
    return result


def _sizes(stack: Matrix) -> Matrix:
    """The largest entry of each RDM in size, (k, 1); 1 where all are 0."""
    largest = np.maximum(stack.max(axis=1, keepdims=True), -stack.min(axis=1, keepdims=True))
    return np.where(largest == 0, 1.0, largest)


def _means(stack: Matrix, sizes: Matrix, centre: bool) -> Matrix:
    """Of each RDM in units of its size, (k, 1), without a copy of all; 0 where nothing is to be taken off."""
    total = np.zeros_like(sizes)
    if centre:
        for part, _ in _blocks(stack, stack):
            total += (part / sizes).sum(axis=1, keepdims=True)
    return total / stack.shape[1]


def _refuse_nothing(number: int, found: float, size: float, what: str) -> None:
    if found <= 1e-12 * size:
        raise ValueError(f"RDM {number} is {what}: its correlation is undefined")


def _kendall(rdms: ArrayLike, others: ArrayLike | None, ties: bool) -> Matrix:
    from scipy.stats import kendalltau

    first, second = stacks(rdms, others)
    for which, stack in ((0, first), (len(first), second)):
        for number, one in enumerate(stack):
            if one.max() == one.min():
                _refuse_nothing(number + (0 if second is first else which), 0.0, 1.0, "constant")
    found = np.empty((len(first), len(second)))
    tied, tied_second = ([_tied(one) for one in stack] for stack in (first, second))
    pairs = first.shape[1] * (first.shape[1] - 1) // 2
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            if second is first and j < i:
                found[i, j] = found[j, i]
                continue
            # Scipy's stubs give its result no fields.
            value = float(kendalltau(a, b)[0])  # type: ignore[arg-type]
            if not ties:
                # Of tau-b the whole number of concordant less discordant pairs, without what rounding added.
                net = round(value * math.sqrt(pairs - tied[i]) * math.sqrt(pairs - tied_second[j]))
                value = net / pairs
            found[i, j] = value
    return found


def _tied(one: Matrix) -> int:
    """Pairs of equal entries."""
    counts = np.unique(one, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def _kernels(stack: Matrix) -> Iterator[Matrix]:
    """-1/2 H D H of each RDM, (n, n)."""
    n = stimuli_of(stack.shape[1])
    rows, columns = np.triu_indices(n, 1)
    full = np.zeros((n, n))
    for one in stack:
        full[rows, columns] = one
        full[columns, rows] = one
        mean = full.mean(axis=0)
        yield -0.5 * (full - mean - mean[:, None] + mean.mean())


def _whitened(first: Matrix, second: Matrix, noise: ArrayLike | None) -> Matrix:
    n = stimuli_of(first.shape[1])
    whitener = None if noise is None else _whitener(np.asarray(noise, dtype=np.float64), n)

    def vectors(stack: Matrix) -> Matrix:
        width = n if whitener is None else len(whitener)
        found = np.empty((len(stack), width * width))
        for kernel, into in zip(_kernels(stack), found, strict=True):
            into[:] = (kernel if whitener is None else whitener @ kernel @ whitener.T).ravel()
        return found

    a = vectors(first)
    return _correlated(a, a if second is first else vectors(second), centre=False)


def _whitener(noise: Matrix, n: int) -> Matrix:
    """W with W^T W the inverse of H S H on centred vectors."""
    if noise.shape != (n, n) or not np.allclose(noise, noise.T):
        raise ValueError(f"a symmetric covariance of {n} x {n} is needed for the noise, got shape {noise.shape}")
    centred = noise - noise.mean(0) - noise.mean(1)[:, None] + noise.mean()
    values, vectors = np.linalg.eigh(centred)
    if values[1] <= 1e-12 * values[-1]:
        raise ValueError("the covariance of the noise is not positive definite")
    return vectors[:, 1:].T / np.sqrt(values[1:, None])


def _roots(stack: Matrix, offset: int = 0) -> tuple[list[Matrix], list[float]]:
    """A of each RDM, and |A|_F^2; RDMs are counted from the offset."""
    roots, traces = [], []
    for number, kernel in enumerate(_kernels(stack)):
        values, vectors = np.linalg.eigh(kernel)
        _refuse_nothing(offset + number, float(values[-1]), float(np.abs(stack[number]).max()), "zero")
        roots.append(vectors * np.sqrt(np.clip(values, 0, None)))
        traces.append(float(np.clip(values, 0, None).sum()))
    return roots, traces
