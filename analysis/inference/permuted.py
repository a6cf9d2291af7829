"""Scores of an RDM with another whose stimuli are permuted, without a copy of the matrix for each permutation."""

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from orthotrace.analysis.rdm import compare
from orthotrace.analysis.rdm.stacks import moderate
from orthotrace.analysis.rdm.triangles import ranks, square
from orthotrace.core.errors import UserError

Matrix = NDArray[np.float64]
Orders = Iterator[NDArray[np.intp]]
# Comparisons whose scores are sums of products, and what of each RDM is multiplied.
PRODUCTS: dict[str, Callable[[Matrix], Matrix]] = {
    "pearson": lambda one: _unit(one - one.mean()),
    "squared_pearson": lambda one: _unit(one - one.mean()),
    "cosine": lambda one: _unit(one),
    "spearman": lambda one: _unit(ranks(one[None])[0] - (len(one) + 1) / 2),
    "rho_a": lambda one: math.sqrt(12 / (len(one) ** 3 - len(one))) * (ranks(one[None])[0] - (len(one) + 1) / 2),
}
# Entries at once: rows of a matrix that stay in the cache.
BLOCK = 32768
# Stimuli of which all permutations are tried at most: 362,880.
MOST = 9


def all_orders(stimuli: int) -> Orders:
    """Every permutation, that which changes nothing first.

    Raises:
        UserError: more stimuli than can be permuted in all ways.

    Example:
        >>> [one.tolist() for one in all_orders(3)][:2]
        [[0, 1, 2], [0, 2, 1]]
    """
    if stimuli > MOST:
        raise UserError(
            f"all permutations of {stimuli} stimuli are too many, above {MOST} stimuli give a number", "permutations"
        )
    return (np.array(one) for one in itertools.permutations(range(stimuli)))


def permuted_scores(first: Matrix, second: Matrix, method: str, orders: Orders) -> Iterator[float]:
    """The score of an RDM (m,) with another, (m,), after each permutation of the stimuli of the second.

    Example:
        >>> one = np.array([1.0, 2.0, 3.0])
        >>> [round(value, 6) for value in permuted_scores(one, one, "pearson", all_orders(3))][:3]
        [1.0, 0.5, 0.5]
    """
    if method not in PRODUCTS or np.isnan(first).any() or np.isnan(second).any():
        yield from _compared(first, square(second), method, orders)
        return
    part, other = (PRODUCTS[method](moderate(one[None])[0]) for one in (first, second))
    for product in _products(part, square(other), orders):
        yield product**2 if method == "squared_pearson" else product


def _products(first: Matrix, second: Matrix, orders: Orders) -> Iterator[float]:
    """Sums of products of an upper triangle with a symmetric matrix (n, n) that is permuted, row by row."""
    n = len(second)
    upper = np.zeros((n, n))
    upper[np.triu_indices(n, 1)] = first
    # A row keeps to itself what is gathered from it: the places of its columns alone change.
    height = max(1, BLOCK // n)
    starts = range(0, n, height)
    parts = [np.ascontiguousarray(upper[start : start + height, start:]) for start in starts]
    for order in orders:
        total = 0.0
        for start, part in zip(starts, parts, strict=True):
            rows = second[order[start : start + height]]
            total += float(np.vdot(part, rows.take(order[start:], axis=1)))
        yield total


def _compared(first: Matrix, second: Matrix, method: str, orders: Orders) -> Iterator[float]:
    """By the comparison itself, of triangles gathered row by row."""
    score = compare.METHODS[method]
    for order in orders:
        triangle = np.concatenate([second[row].take(order[at + 1 :]) for at, row in enumerate(order)])
        try:
            yield float(score(first[None], triangle[None])[0, 0])
        except UserError:
            # Of RDMs with missing entries a permutation may leave nothing: no evidence against chance.
            if not np.isnan(triangle).any() and not np.isnan(first).any():
                raise
            yield math.inf


def _unit(one: Matrix) -> Matrix:
    """At length 1; an RDM of which nothing is left is refused where it is compared."""
    return one / np.linalg.norm(one)
