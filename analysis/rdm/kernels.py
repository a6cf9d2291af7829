"""RDMs of squared distances as kernels of centred patterns, -1/2 H D H: what whitened comparisons and Bures need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm import memory
from orthotrace.analysis.rdm.arrays import finite, is_symmetric, unit_of
from orthotrace.analysis.rdm.correlate import WIDE, as_tensor, in_steps
from orthotrace.analysis.rdm.pieces import ordered
from orthotrace.analysis.rdm.stacks import Matrix, means_of, moderate, refuse_nothing, shared_stimuli
from orthotrace.analysis.rdm.stored import Stack
from orthotrace.analysis.rdm.triangles import square, stimuli_of
from orthotrace.core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

Places = NDArray[np.intp]
# Of stimuli, whose covariance is written out.
PAIRS = 4000
# Of its mean, what an RDM must vary by to be centred in one pass.
VARIED = 1e-11


def kernels(stack: Matrix) -> Iterator[Matrix]:
    """-1/2 H D H of each RDM, (n, n)."""
    stimuli_of(stack.shape[1])
    for full in map(square, stack):
        mean = full.mean(axis=0)
        yield -0.5 * (full - mean - mean[:, None] + mean.mean())


def of_triangles(first: Stack, second: Stack, centre: bool) -> Matrix | None:
    """Cosines of kernels, (k, l), without any kernel; None where a digit may be lost, or something is not finite.

    With r the sums of the rows of D and s their sum, tr(G_a G_b) = 1/4 (tr(D_a D_b) - 2/n r_a r_b + 1/n^2 s_a s_b): one
    pass over the triangles.

    Args:
        first: triangles without gaps, (k, m).
        second: (l, m), or the same.
        centre: take the mean of each triangle off first.
    """
    import torch

    n, same = stimuli_of(first.shape[1]), second is first
    stacks = (first,) if same else (first, second)
    means = [torch.from_numpy(means_of(one) if centre else np.zeros((len(one), 1))) for one in stacks]
    starts = np.concatenate(([0], np.cumsum(np.arange(n - 1, 0, -1))))
    # Rows of the matrices, of so many entries together that a product of them is no small one.
    places = np.unique(np.searchsorted(starts, np.arange(0, starts[-1] + WIDE, WIDE)).clip(0, n - 1))

    def of(number: int) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        rows = range(int(places[number]), int(places[number + 1]))
        begin, end = int(starts[rows.start]), int(starts[rows.stop])
        x = [as_tensor(one[:, begin:end]) - mean for one, mean in zip(stacks, means, strict=True)]
        sums = [torch.zeros(len(one), n, dtype=torch.float64) for one in x]
        for row in rows:
            at, stop = int(starts[row]) - begin, int(starts[row + 1]) - begin
            for one, total in zip(x, sums, strict=True):
                entries = one[:, at:stop]
                total[:, row] += entries.sum(1)
                total[:, row + 1 :] += entries
        return x[0] @ x[-1].T, sums, [one.square().sum(1) for one in x]

    product = torch.zeros(len(first), len(second), dtype=torch.float64)
    rows = [torch.zeros(len(one), n, dtype=torch.float64) for one in stacks]
    squares = [torch.zeros(len(one), dtype=torch.float64) for one in stacks]
    # One after another: the sums of all parts of many stimuli would need more memory than the triangles.
    size = 8 * sum(map(len, stacks)) * (3 * (WIDE + n) + n) + 8 * len(first) * len(second)
    for products, sums, own in ordered(of, len(places) - 1, size, f"a block of {WIDE} entries of all RDMs"):
        product += products
        for into, found in ((rows, sums), (squares, own)):
            for total, one in zip(into, found, strict=True):
                total += one

    if centre:
        m, off = first.shape[1], [row.sum(1) / (2 * first.shape[1]) for row in rows]
        if not all(
            bool((own > m * (VARIED * mean[:, 0]) ** 2).all()) for own, mean in zip(squares, means, strict=True)
        ):
            return None
        # What the rounding of the mean has left.
        product -= m * torch.outer(off[0], off[-1])
        for own, row, left in zip(squares, rows, off, strict=True):
            own -= m * left**2
            row -= (n - 1) * left[:, None]

    def kernel(product: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return 2 * product - 2 / n * (a @ b.T) + torch.outer(a.sum(1), b.sum(1)) / n**2

    norms = []
    for square_sum, row in zip(squares, rows, strict=True):
        own = 2 * square_sum - 2 / n * row.square().sum(1) + (row.sum(1) / n).square()
        # What is left must be a good part of what was summed, and of the size of moderate numbers; NaN is neither.
        if not ((own > 1e-3 * 2 * square_sum) & (own > 1e-120) & (own < 1e120)).all():
            return None
        norms.append(own.sqrt())
    # As a piece, by one thread: not every kernel gives the same bits by more.
    (whole,) = ordered(lambda _: kernel(product, rows[0], rows[-1]), 1)
    found = (whole / torch.outer(norms[0], norms[-1])).clamp(-1, 1).numpy()
    if same:
        np.fill_diagonal(found, 1.0)
    return found


def whitened(first: Matrix, second: Matrix, noise: ArrayLike | None, there: NDArray[np.bool_] | None = None) -> Matrix:
    """Cosines of kernels, (k, l), whitened by the covariance of the noise between stimuli.

    Of RDMs without all entries, which of these are there, (m,), is given: whitened is by the part of V that is theirs.
    """
    n = stimuli_of(first.shape[1] if there is None else len(there))
    known = None if noise is None else _checked(finite(noise, "noise"), n)
    kept = None if there is None else shared_stimuli(there)
    if kept is not None:
        n, known = len(kept), None if known is None else known[np.ix_(kept, kept)]
    same = second is first
    number = len(first) + (0 if same else len(second))
    memory.need(
        8 * number * n * n, f"to whiten {number} RDMs of {n} stimuli by their kernels", "choose another comparison"
    )
    first = moderate(np.asarray(first))
    second = first if same else moderate(np.asarray(second))
    if there is not None and kept is None:
        rows, columns = (places[there] for places in np.triu_indices(n, 1))
        whiten = _of_pairs(rows, columns, n) if known is None else _of_noisy_pairs(rows, columns, known)
        a = whiten(first)
        return in_steps(a, a if same else whiten(second), centre=False)
    whitener = None if known is None else _whitener(known)

    def vectors(stack: Matrix) -> Matrix:
        width = n if whitener is None else len(whitener)
        found = np.empty((len(stack), width * width))
        for kernel, into in zip(kernels(stack), found, strict=True):
            into[:] = (kernel if whitener is None else whitener @ kernel @ whitener.T).ravel()
        return found

    a = vectors(first)
    return in_steps(a, a if second is first else vectors(second), centre=False)


def _of_pairs(rows: Places, columns: Places, n: int) -> Callable[[Matrix], Matrix]:
    """V^-1/2 of some pairs of stimuli with independent noise: V = 2 I + B B^T, B the pairs' stimuli, (s, n)."""
    links = np.zeros((n, n))
    links[rows, columns] = links[columns, rows] = 1
    np.fill_diagonal(links, links.sum(axis=0))
    # Of B^T B: B turns its vectors into those of V, of the values 2 + v.
    values, vectors = np.linalg.eigh(links)
    values = np.maximum(values, 0)
    # (1 - sqrt(2 / (2 + v))) / v without its cancellation at v = 0.
    part = 1 / (2 + values + np.sqrt(2 * (2 + values)))

    def whiten(stack: Matrix) -> Matrix:
        found = np.empty_like(stack)
        for one, into in zip(stack, found, strict=True):
            sums = np.bincount(rows, one, n) + np.bincount(columns, one, n)
            off = vectors @ (part * (vectors.T @ sums))
            into[:] = one - off[rows] - off[columns]
        return found

    return whiten


def _of_noisy_pairs(rows: Places, columns: Places, noise: Matrix) -> Callable[[Matrix], Matrix]:
    """V^-1/2 of some pairs of stimuli, V written out."""
    from scipy.linalg import solve_triangular

    if len(rows) > PAIRS:
        raise UserError(
            f"{len(rows)} pairs of stimuli, without single ones, are too many to whiten (at most {PAIRS}): leave out "
            "stimuli instead",
            "noise",
        )
    noise = noise / unit_of(noise)
    contrasts = noise[rows] - noise[columns]
    try:
        root = np.linalg.cholesky((contrasts[:, rows] - contrasts[:, columns]) ** 2)
    except np.linalg.LinAlgError as error:
        raise UserError("the covariance of the noise is not positive definite", "noise") from error
    return lambda stack: solve_triangular(root, stack.T, lower=True).T


def _checked(noise: Matrix, n: int) -> Matrix:
    if noise.shape != (n, n) or not is_symmetric(noise):
        raise UserError(
            f"a symmetric covariance of {n} x {n} is needed for the noise, got shape {noise.shape}", "noise"
        )
    return noise


def _whitener(noise: Matrix) -> Matrix:
    """W with W^T W the inverse of H S H on centred vectors."""
    noise = noise / unit_of(noise)
    centred = noise - noise.mean(0) - noise.mean(1)[:, None] + noise.mean()
    values, vectors = np.linalg.eigh(centred)
    if values[1] <= 1e-12 * values[-1]:
        raise UserError("the covariance of the noise is not positive definite", "noise")
    return vectors[:, 1:].T / np.sqrt(values[1:, None])


def square_roots(stack: Matrix, offset: int = 0) -> tuple[list[Matrix], list[float]]:
    """A of each RDM, and |A|_F^2; RDMs are counted from the offset.

    Raises:
        UserError: an RDM of zeros, or more than fits into memory.
    """
    n = stimuli_of(stack.shape[1])
    what = f"to make patterns of {len(stack)} RDMs of {n} stimuli"
    memory.need(8 * (len(stack) + 3) * n * n, what, "choose another comparison")
    roots, traces = [], []
    for number, kernel in enumerate(kernels(stack)):
        values, vectors = np.linalg.eigh(kernel)
        refuse_nothing(offset + number, float(values[-1]), float(np.abs(stack[number]).max()), "zero")
        roots.append(vectors * np.sqrt(np.clip(values, 0, None)))
        traces.append(float(np.clip(values, 0, None).sum()))
    return roots, traces
