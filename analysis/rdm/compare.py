"""Comparisons between RDMs, all pairs at once.

Every function takes a stack (k, m) of triangles of RDMs, and a second one (l, m) or none, and gives (k, l): each RDM of
the first against each of the second, or of the first. Arrays are of any kind that arrays.real takes. Where entries are
missing (NaN, masked, NA), two RDMs are compared by the entries that both have; two that share none are refused.
RDMs in files (see stored) are read part by part, to the same numbers.
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm import memory
from orthotrace.analysis.rdm.arrays import scaled_back, unit_of
from orthotrace.analysis.rdm.correlate import correlate, in_one_pass, in_steps, refuse_constant
from orthotrace.analysis.rdm.kernels import of_triangles, square_roots, whitened
from orthotrace.analysis.rdm.stacks import (
    Matrix,
    blocks,
    each_pair,
    moderate,
    over_shared,
    refuse_nothing,
    shared_stimuli,
    sizes_of,
    stacks,
)
from orthotrace.analysis.rdm.stored import Stack, StoredStack, stored
from orthotrace.analysis.rdm.triangles import ranks
from orthotrace.core.errors import UserError

Flags = NDArray[np.bool_]
# Bytes of an entry at the most while an RDM is ranked, and while Kendall's tau of two is computed.
RANKED, SORTED = 52, 64


def pearson(rdms: ArrayLike, others: ArrayLike | None = None) -> Matrix:
    """Pearson correlation.

    Args:
        rdms: upper triangles, (k, m).
        others: (l, m); None for the same.

    Returns:
        (k, l), in [-1, 1].

    Raises:
        UserError: not stacks of vectors of one length, entries that are infinite, two RDMs that share no entry, or an
            RDM that is constant; names the first.

    Example:
        >>> pearson([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]).round(6)
        array([[ 1., -1.],
               [-1.,  1.]])
    """
    return correlate(rdms, others, centre=True)


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
        UserError: as pearson, constant RDMs apart; an RDM of zeros.

    Example:
        >>> cosine([[1.0, 0.0, 1.0]], [[0.0, 1.0, 1.0]]).round(6)
        array([[0.5]])
    """
    return correlate(rdms, others, centre=False)


def spearman(rdms: ArrayLike, others: ArrayLike | None = None) -> Matrix:
    """Spearman's rank correlation, ties sharing their mean rank.

    Args, Returns, Raises: as pearson.

    Example:
        >>> spearman([[1.0, 2.0, 9.0]], [[1.0, 3.0, 2.0]]).round(6)
        array([[0.5]])
    """

    def score(first: Stack, second: Stack, there: object) -> Matrix:
        ranked = _ranked(first, second)
        found = in_one_pass(*ranked, centre=True)
        return in_steps(*ranked) if found is None else found

    return over_shared(rdms, others, score)


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

    def score(first: Stack, second: Stack, there: object) -> Matrix:
        m = first.shape[1]
        if m < 2:
            raise UserError("RDMs of one entry have no ranks to compare")
        centre = (m + 1) / 2
        total = np.zeros((len(first), len(second)))
        for a, b in blocks(*_ranked(first, second)):
            total += (a - centre) @ (b - centre).T
        return np.asarray(12 / (m**3 - m) * total, dtype=np.float64)

    return over_shared(rdms, others, score)


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
        rdms: upper triangles of squared distances, (k, m).
        others: (l, m); None for the same.
        noise: S, (n, n), positive definite; None for the identity.

    Returns:
        (k, l), in [-1, 1].

    Raises:
        UserError: as cosine; vectors that are no triangle of a matrix; a noise of another shape; with such a noise,
            many RDMs' entries of which single ones are missing.

    Source: Diedrichsen, Berlot, Mur, Schutt, Shahbazi & Kriegeskorte, Neurons, Behavior, Data analysis and Theory 2021.

    Example:
        >>> cosine_cov([[4.0, 1.0, 1.0]], [[4.0, 1.0, 1.0]]).round(6)
        array([[1.]])
    """

    def score(first: Matrix, second: Matrix, there: Flags | None) -> Matrix:
        if noise is None and there is None and (found := of_triangles(first, second, centre=False)) is not None:
            return found
        return whitened(first, second, noise, there)

    return over_shared(rdms, others, score)


def corr_cov(rdms: ArrayLike, others: ArrayLike | None = None, noise: ArrayLike | None = None) -> Matrix:
    """Correlation of RDMs, whitened: cosine_cov after the mean of each RDM was taken off.

    Args, Returns, Source: as cosine_cov.

    Raises:
        UserError: as cosine_cov; an RDM that is constant.

    Example:
        >>> corr_cov([[4.0, 1.0, 1.0]], [[8.0, 2.0, 2.0]]).round(6)
        array([[1.]])
    """

    def score(first: Matrix, second: Matrix, there: Flags | None) -> Matrix:
        if noise is None and there is None and (found := of_triangles(first, second, centre=True)) is not None:
            return found
        # RDMs in files too, before all are read.
        refuse_constant(first)
        if second is not first:
            refuse_constant(second, len(first))
        centred = _centred(np.asarray(first))
        return whitened(centred, centred if second is first else _centred(np.asarray(second)), noise, there)

    return over_shared(rdms, others, score)


def bures(rdms: ArrayLike, others: ArrayLike | None = None) -> Matrix:
    """Bures similarity: how well the patterns behind two RDMs of squared distances match after a rotation.

        |A^T B|_* / (|A|_F |B|_F), with A A^T and B B^T the positive parts of -1/2 H D H

    Args: as cosine_cov, without noise.

    Returns:
        (k, l), in [0, 1].

    Raises:
        UserError: as cosine_cov; RDMs of which single pairs of stimuli are missing, not all of a stimulus.

    Source: Harvey, Lipshutz & Williams, What representational similarity measures imply about decodable information,
    2024.

    Example:
        >>> bures([[4.0, 1.0, 1.0]], [[8.0, 2.0, 2.0]]).round(6)
        array([[1.]])
    """
    return over_shared(rdms, others, _bures)


def norm_difference(rdms: ArrayLike, others: ArrayLike | None = None) -> Matrix:
    """Euclidean distance between RDMs as vectors: the norm of their difference over the triangle; 0 for equal ones.

    Of two RDMs that share s of the M entries that any RDM has, sqrt(M / s) times the norm over these: as large as over
    all.

    Args, Raises: as pearson, constant RDMs apart.

    Returns:
        (k, l), at least 0.

    Example:
        >>> norm_difference([[1.0, 2.0, 3.0]], [[1.0, 2.0, 5.0]])
        array([[2.]])
    """
    first, second = stacks(rdms, others)
    unit, any_has = max(unit_of(sizes_of(first)), unit_of(sizes_of(second))), 0
    for a, b in blocks(first, second):
        any_has += int((~np.isnan(a).all(axis=0) | ~np.isnan(b).all(axis=0)).sum())

    def norms(first: Stack, second: Stack, there: object) -> Matrix:
        def score(i: int, j: int) -> float:
            difference = first[i] / unit - second[j] / unit
            # Scaled, as squares of large or small numbers overflow or underflow.
            size = float(np.abs(difference).max())
            # By numpy: a BLAS would divide the sum among its threads.
            return size * math.sqrt(float(np.square(difference / size).sum())) if size else 0.0

        whole = math.sqrt(any_has / first.shape[1])
        return whole * each_pair(len(first), len(second), score, second is first)

    return scaled_back(over_shared(rdms, others, norms), unit, 1, "rdms")


METHODS = {
    function.__name__: function
    for function in (
        pearson, squared_pearson, cosine, spearman, rho_a, tau_b, tau_a, cosine_cov, corr_cov, bures, norm_difference,
    )
}  # fmt: skip
# Those by which more is more alike; the other is a distance.
SIMILARITIES = [name for name in METHODS if name != "norm_difference"]


def _centred(stack: Matrix) -> Matrix:
    """Without the mean of each, and without what its rounding leaves."""
    centred = moderate(stack)
    for _ in range(2):
        centred = centred - centred.mean(axis=1, keepdims=True)
    return centred


def _ranked(first: Stack, second: Stack) -> tuple[Stack, Stack]:
    ranked = _ranks(first)
    return ranked, ranked if second is first else _ranks(second)


def _ranks(stack: Stack) -> Stack:
    """Of each RDM once: in files where the RDMs are, or where the ranks of all do not fit into memory."""
    if not isinstance(stack, StoredStack) and memory.fits(RANKED * stack.size):
        return ranks(stack)

    def each_once() -> Iterator[Matrix]:
        for number in range(len(stack)):
            memory.need(RANKED * stack.shape[1], f"to rank an RDM of {stack.shape[1]} entries")
            yield ranks(stack[number][None])[0]

    return stored(each_once())


def _bures(first: Matrix, second: Matrix, there: Flags | None) -> Matrix:
    if there is not None and shared_stimuli(there) is None:
        raise UserError("RDMs without single pairs of stimuli have no Bures similarity: leave out stimuli instead")
    # In units of the largest entry: products of traces overflow.
    scaled = np.asarray(first) / sizes_of(first)
    first, second = scaled, scaled if second is first else np.asarray(second) / sizes_of(second)
    roots, traces = square_roots(first)
    others_roots, others_traces = (roots, traces) if second is first else square_roots(second, len(first))

    def score(i: int, j: int) -> float:
        nuclear = np.linalg.svd(roots[i].T @ others_roots[j], compute_uv=False).sum()
        return nuclear / math.sqrt(traces[i] * others_traces[j])

    return each_pair(len(roots), len(others_roots), score, second is first)


def _kendall(rdms: ArrayLike, others: ArrayLike | None, ties: bool) -> Matrix:
    from scipy.stats import kendalltau

    def taus(first: Stack, second: Stack, there: object) -> Matrix:
        memory.need(SORTED * first.shape[1], f"Kendall's tau of two RDMs of {first.shape[1]} entries")
        for number, one in enumerate(itertools.chain(first, () if second is first else second)):
            refuse_nothing(number, float(one.max() > one.min()), 1.0, "constant")
        tied, tied_second = ([_tied(one) for one in stack] for stack in (first, second))
        pairs = first.shape[1] * (first.shape[1] - 1) // 2

        def score(i: int, j: int) -> float:
            # Scipy's stubs give its result no fields.
            value = float(kendalltau(first[i], second[j])[0])  # type: ignore[arg-type]
            if ties:
                return value
            # Of tau-b the whole number of concordant less discordant pairs, without what rounding added.
            return round(value * math.sqrt(pairs - tied[i]) * math.sqrt(pairs - tied_second[j])) / pairs

        return each_pair(len(first), len(second), score, second is first)

    return over_shared(rdms, others, taus)


def _tied(one: Matrix) -> int:
    """Pairs of equal entries."""
    counts = np.unique(one, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())
