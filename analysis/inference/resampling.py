"""Resamples of stimuli and of RDMs, all at once.

A resample is given by how often each stimulus comes in it, w. It keeps the pairs of different stimuli, (i, j) w_i w_j
times; the pairs of a stimulus with its own copy have no dissimilarity and are left out. So every moment of a resampled
RDM is a quadratic form in w, and all resamples are products of matrices.
"""

import numpy as np
from numpy.typing import NDArray

from orthotrace.analysis.rdm.triangles import square, stimuli_of
from orthotrace.core.errors import UserError

Matrix = NDArray[np.float64]
# Rows of a matrix at once: of a symmetric one the blocks below the diagonal are not needed.
BLOCK = 256
# A variance of less than this share of the second moment has no digits left.
ROUNDING = 1e-12


def draw(number: int, resamples: int, rng: np.random.Generator, least: int = 1, what: str = "") -> Matrix:
    """How often each of a number of things comes in each resample of as many, (resamples, number), with replacement.

    A resample with fewer different things than `least` is drawn again. There must be half as many more, or drawing
    again would leave little of chance; `what` begins the error that says so.

    Raises:
        UserError: fewer things than each resample needs, or no resamples.

    Example:
        >>> draw(4, 2, np.random.default_rng(0)).sum(axis=1)
        array([4., 4.])
    """
    if number < (needed := 1 if least == 1 else least + (least + 1) // 2):
        raise UserError(f"{what}at least {needed} are needed to resample (got {number})")
    if resamples < 1:
        raise UserError(f"at least one resample is needed (got {resamples})")
    chances = np.full(number, 1 / number)
    drawn = rng.multinomial(number, chances, size=resamples)
    while (few := (drawn > 0).sum(axis=1) < least).any():
        drawn[few] = rng.multinomial(number, chances, size=int(few.sum()))
    return drawn.astype(np.float64)


def quadratic(matrix: Matrix, weights: Matrix) -> Matrix:
    """w^T A w, (B,), of each row of weights (B, n), for a symmetric A (n, n) with zeros on its diagonal.

    Example:
        >>> quadratic(np.array([[0.0, 2.0], [2.0, 0.0]]), np.array([[1.0, 1.0], [3.0, 1.0]]))
        array([ 4., 12.])
    """
    total = np.zeros(len(weights))
    for start in range(0, len(matrix), BLOCK):
        stop = start + BLOCK
        inside, after = weights[:, start:stop], weights[:, stop:]
        total += np.einsum("ij,ij->i", inside @ matrix[start:stop, start:stop], inside)
        if after.shape[1]:
            total += 2 * np.einsum("ij,ij->i", inside @ matrix[start:stop, stop:], after)
    return total


def moments(rdms: Matrix, weights: Matrix, centre: bool, skip: int = 0) -> Matrix:
    """Covariances of RDMs (k, m), or their mean products, (B, k, k), in every resample of the stimuli, weights (B, n).

        S2(A, B)/S0 - S1(A) S1(B)/S0^2,  S0 = (sum w)^2 - sum w^2,  S1(A) = w^T A w,  S2(A, B) = w^T (A o B) w

    Mean products, which are not centred, are without the S1. The covariances of the first RDMs, so many as are skipped,
    with each other stay 0. Those of an RDM that is constant in a resample are 0.

    Example:
        >>> found = moments(np.array([[1.0, 2.0, 3.0]]), np.ones((1, 3)), centre=True)
        >>> float(found[0, 0, 0].round(6))
        0.666667
    """
    stimuli_of(rdms.shape[1])
    # A mean or a scale that all resamples share would only take digits.
    values = rdms - rdms.mean(axis=1, keepdims=True) if centre else rdms
    values = np.stack([square(one) for one in values])
    number = weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1)
    # Without pairs there are no moments: they are 0.
    number = np.where(number > 0, number, 1)
    means = np.stack([quadratic(one, weights) / number for one in values], axis=1) if centre else None
    found = np.zeros((len(weights), len(rdms), len(rdms)))
    for i in range(len(rdms)):
        for j in range(i, len(rdms)):
            if i < j < skip:
                continue
            found[:, i, j] = quadratic(values[i] * values[j], weights) / number
            if means is not None:
                found[:, i, j] -= means[:, i] * means[:, j]
            found[:, j, i] = found[:, i, j]
    if means is not None:
        # What is left of a constant RDM is the rounding of its second moment.
        variances = np.einsum("bii->bi", found)
        constant = variances <= ROUNDING * (variances + means**2)
        found[constant[:, :, None] | constant[:, None]] = 0
    return found


def correlations(covariances: Matrix) -> Matrix:
    """Correlations of covariances (B, k, k); 0 where an RDM is constant in a resample: it predicts nothing.

    Example:
        >>> correlations(np.array([[[4.0, 1.0], [1.0, 1.0]]]))[0, 0]
        array([1. , 0.5])
    """
    size = np.sqrt(np.maximum(np.einsum("bii->bi", covariances), 0))
    size = np.where(size > 0, size, np.inf)
    return covariances / size[:, :, None] / size[:, None]
