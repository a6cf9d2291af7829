"""Correlations and cosines of all pairs of RDMs, in one pass over their entries where that is exact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from orthotrace.analysis.rdm.arrays import real
from orthotrace.analysis.rdm.pieces import ordered
from orthotrace.analysis.rdm.stacks import Matrix, blocks, check_together, over_shared, powers, refuse_nothing, sizes_of
from orthotrace.analysis.rdm.stored import Stack, StoredStack

if TYPE_CHECKING:
    from torch import Tensor

# Entries at once, of products alone.
WIDE = 16384


def correlate(rdms: ArrayLike, others: ArrayLike | None, centre: bool) -> Matrix:
    """Correlation, or cosine, in one pass where that is exact; else step by step, with an error that names the RDM."""
    check_together(rdms, others)
    first = _read(rdms, "rdms")
    second = first if others is None else _read(others, "others")
    if first.ndim == second.ndim == 2 and first.size and second.size and first.shape[1] == second.shape[1]:
        found = in_one_pass(first, second, centre)
        if found is not None:
            return found
    return over_shared(rdms, others, lambda a, b, there: in_steps(a, b, centre))


def _read(rdms: ArrayLike, name: str) -> Any:
    return rdms if isinstance(rdms, StoredStack) else real(rdms, name, missing=True)


def in_one_pass(first: Stack, second: Stack, centre: bool) -> Matrix | None:
    """By the moments of all entries; None where a digit may be lost, or something is not finite."""
    import torch

    same = second is first
    m = first.shape[1]

    def of(number: int) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        a, b = (one[:, number * WIDE : (number + 1) * WIDE] for one in (first, second))
        x = as_tensor(a)
        y = x if same else as_tensor(b)
        each = (x,) if same else (x, y)
        return x @ y.T, [one.sum(1) for one in each], [] if same else [one.square().sum(1) for one in each]

    product = torch.zeros(len(first), len(second), dtype=torch.float64)
    sums, squares = (torch.zeros(2, max(len(first), len(second)), dtype=torch.float64) for _ in range(2))
    # A block as it is read, its squares, and the products.
    size = 8 * (2 * (len(first) + (0 if same else len(second))) * min(WIDE, m) + len(first) * len(second))
    for products, totals, moments in ordered(of, -(-m // WIDE), size, f"a block of {WIDE} entries of all RDMs"):
        product += products
        for into, found in ((sums, totals), (squares, moments)):
            for place, one in enumerate(found):
                into[place, : len(one)] += one
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


def as_tensor(block: Matrix) -> Tensor:
    """A block as float64, without a copy where possible."""
    import torch

    plain = block.dtype == np.float64 and block.dtype.isnative and min(block.strides) >= 0
    if not plain or not block.flags.writeable:
        # Converted by numpy, which knows all its types.
        return torch.from_numpy(np.array(block, dtype=np.float64))
    return torch.from_numpy(block)


def in_steps(first: Stack, second: Stack, centre: bool = True) -> Matrix:
    """Correlation, or cosine, by one pass over blocks of entries."""
    same = second is first
    sizes = powers(sizes_of(first))
    others = sizes if same else powers(sizes_of(second))
    means = _means(first, sizes, centre)
    others_means = means if same else _means(second, others, centre)
    product = np.zeros((len(first), len(second)))
    own, own_second = np.zeros(len(first)), np.zeros(len(second))
    left, left_second = np.zeros(len(first)), np.zeros(len(second))
    for a, b in blocks(first, second):
        x = a / sizes - means
        y = x if same else b / others - others_means
        product += x @ y.T
        own += np.einsum("ij,ij->i", x, x)
        left += x.sum(axis=1)
        if not same:
            own_second += np.einsum("ij,ij->i", y, y)
            left_second += y.sum(axis=1)
    norms = np.sqrt(own)
    norms_second = norms if same else np.sqrt(own_second)
    for which, values in ((0, norms), (len(first), norms_second)):
        for number, value in enumerate(values):
            refuse_nothing(
                number + (0 if same else which), value, first.shape[1] ** 0.5, "constant" if centre else "zero"
            )
    if centre:
        # What the rounding of the mean has left.
        m, left_second = first.shape[1], left if same else left_second
        product -= np.outer(left, left_second) / m
        norms = np.sqrt(norms**2 - left**2 / m)
        norms_second = norms if same else np.sqrt(norms_second**2 - left_second**2 / m)
    result = np.clip(product / norms[:, None] / norms_second[None], -1, 1)
    if same:
        np.fill_diagonal(result, 1.0)
    return result


def refuse_constant(stack: Stack, offset: int = 0) -> None:
    """Refuse an RDM that is constant but for rounding, read part by part; RDMs are counted from the offset."""
    sizes = powers(sizes_of(stack))
    means, most = _means(stack, sizes, centre=True), np.zeros(len(stack))
    for part, _ in blocks(stack, stack):
        most = np.maximum(most, np.abs(part / sizes - means).max(axis=1))
    for number, one in enumerate(most):
        refuse_nothing(offset + number, float(one), 1.0, "constant")


def _means(stack: Stack, sizes: Matrix, centre: bool) -> Matrix:
    """Of each RDM in units of its size, (k, 1), without a copy of all; 0 where nothing is to be taken off."""
    total = np.zeros_like(sizes)
    if centre:
        for part, _ in blocks(stack, stack):
            total += (part / sizes).sum(axis=1, keepdims=True)
    return total / stack.shape[1]
