"""RDMs of squared distances as kernels of centred patterns, -1/2 H D H: what whitened comparisons and Bures need."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from orthotrace.analysis.rdm.arrays import finite, is_symmetric, unit_of
from orthotrace.analysis.rdm.correlate import in_steps
from orthotrace.analysis.rdm.stacks import Matrix, moderate, refuse_nothing
from orthotrace.analysis.rdm.triangles import square, stimuli_of
from orthotrace.core.errors import UserError


def kernels(stack: Matrix) -> Iterator[Matrix]:
    """-1/2 H D H of each RDM, (n, n)."""
    stimuli_of(stack.shape[1])
    for full in map(square, stack):
        mean = full.mean(axis=0)
        yield -0.5 * (full - mean - mean[:, None] + mean.mean())


def whitened(first: Matrix, second: Matrix, noise: ArrayLike | None) -> Matrix:
    """Cosines of kernels, (k, l), whitened by the covariance of the noise between stimuli."""
    n = stimuli_of(first.shape[1])
    whitener = None if noise is None else _whitener(finite(noise, "noise"), n)
    same = second is first
    first = moderate(first)
    second = first if same else moderate(second)

    def vectors(stack: Matrix) -> Matrix:
        width = n if whitener is None else len(whitener)
        found = np.empty((len(stack), width * width))
        for kernel, into in zip(kernels(stack), found, strict=True):
            into[:] = (kernel if whitener is None else whitener @ kernel @ whitener.T).ravel()
        return found

    a = vectors(first)
    return in_steps(a, a if second is first else vectors(second), centre=False)


def _whitener(noise: Matrix, n: int) -> Matrix:
    """W with W^T W the inverse of H S H on centred vectors."""
    if noise.shape != (n, n) or not is_symmetric(noise):
        raise UserError(
            f"a symmetric covariance of {n} x {n} is needed for the noise, got shape {noise.shape}", "noise"
        )
    noise = noise / unit_of(noise)
    centred = noise - noise.mean(0) - noise.mean(1)[:, None] + noise.mean()
    values, vectors = np.linalg.eigh(centred)
    if values[1] <= 1e-12 * values[-1]:
        raise UserError("the covariance of the noise is not positive definite", "noise")
    return vectors[:, 1:].T / np.sqrt(values[1:, None])


def square_roots(stack: Matrix, offset: int = 0) -> tuple[list[Matrix], list[float]]:
    """A of each RDM, and |A|_F^2; RDMs are counted from the offset."""
    roots, traces = [], []
    for number, kernel in enumerate(kernels(stack)):
        values, vectors = np.linalg.eigh(kernel)
        refuse_nothing(offset + number, float(values[-1]), float(np.abs(stack[number]).max()), "zero")
        roots.append(vectors * np.sqrt(np.clip(values, 0, None)))
        traces.append(float(np.clip(values, 0, None).sum()))
    return roots, traces
