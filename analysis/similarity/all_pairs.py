"""A measure of all pairs of representations, with what it needs of each computed once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orthotrace.analysis.rdm.pieces import ordered
from orthotrace.analysis.similarity.invariances import declaration
from orthotrace.analysis.similarity.pairs import Activations
from orthotrace.core.errors import UserError

Function = TypeVar("Function", bound=Callable[..., Any])
# Numbers of the vectors that are held at a time.
HELD = 2**27


@dataclass(frozen=True)
class VectorCosine:
    """A measure that is the cosine of two vectors, one of each representation.

    Attributes:
        vector: of a representation, (m,) in float64; takes the measure's options.
        finish: the measure, of cosines (k, l).
    """

    vector: Callable[..., Tensor]
    finish: Callable[[Tensor], Tensor]


def cosine_of(
    vector: Callable[..., Tensor], finish: Callable[[Tensor], Tensor] = lambda cosines: cosines
) -> Callable[[Function], Function]:
    """Say of a measure that it is the cosine of two vectors, see VectorCosine."""

    def mark(function: Function) -> Function:
        function.__dict__["cosine"] = VectorCosine(vector, finish)
        return function

    return mark


def pairwise(
    measure: Callable[..., float], xs: Sequence[Activations], ys: Sequence[Activations] | None = None
) -> NDArray[np.float64]:
    """A measure of every representation with every other one.

    A measure that is the cosine of two vectors (linear_cka, debiased_cka, rbf_cka, distance_correlation) has these
    computed once for each representation, not once for each pair: equal to the measure of each pair up to rounding.

    Args:
        measure: of two representations, one of similarity or your own; a partial has its options.
        xs: representations, (n, ...) each, of the same stimuli.
        ys: others; None for the same.

    Returns:
        (len(xs), len(ys)).

    Raises:
        UserError: no representations, or what the measure refuses.

    Example:
        >>> from orthotrace.analysis.similarity import linear_cka
        >>> x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
        >>> pairwise(linear_cka, [x, 2 * x, x[:, :1]]).round(2)
        array([[1.  , 1.  , 0.37],
               [1.  , 1.  , 0.37],
               [0.37, 0.37, 1.  ]])
    """
    if not len(xs) or (ys is not None and not len(ys)):
        raise UserError("a representation or more are needed", "xs" if not len(xs) else "ys")
    found = by_vectors(measure, xs, ys)
    return _one_by_one(measure, xs, ys) if found is None else found


def _one_by_one(
    measure: Callable[..., float], xs: Sequence[Activations], ys: Sequence[Activations] | None
) -> NDArray[np.float64]:
    about, others = declaration(measure), xs if ys is None else ys
    mirrored = ys is None and about is not None and about.symmetric
    found = np.empty((len(xs), len(others)))
    for i, j in itertools.product(range(len(xs)), range(len(others))):
        found[i, j] = found[j, i] if mirrored and j < i else measure(xs[i], others[j])
    return found


def by_vectors(
    measure: Callable[..., float], xs: Sequence[Activations], ys: Sequence[Activations] | None = None
) -> NDArray[np.float64] | None:
    """By the vectors of each; None for a measure without them, or where something is refused: it is named by pairs."""
    function = measure.func if isinstance(measure, partial) else measure
    # functools.wraps hands on what the wrapped function has, and not what it does.
    about: VectorCosine | None = None if hasattr(function, "__wrapped__") else getattr(function, "cosine", None)
    plain = not isinstance(measure, partial) or not measure.args
    if about is None or not plain:
        return None
    options = measure.keywords if isinstance(measure, partial) else {}

    def unit(one: Activations) -> Tensor:
        vector = about.vector(one, **options)
        size = vector.norm()
        if not (bool(torch.isfinite(size)) and float(size)):
            raise UserError("a vector without a direction")
        return vector / size

    def units(some: Sequence[Activations]) -> Tensor:
        return torch.stack(list(ordered(lambda number: unit(some[number]), len(some))))

    others = xs if ys is None else ys
    found = torch.empty(len(xs), len(others), dtype=torch.float64)
    try:
        stimuli = {len(one) for one in [*xs, *([] if ys is None else ys)]}
        if len(stimuli) != 1:
            return None
        # Vectors of matrices over the stimuli.
        at_once = max(1, HELD // stimuli.pop() ** 2 // 2)
        for start in range(0, len(xs), at_once):
            own = slice(start, start + at_once)
            rows = units(xs[own])
            for begin in range(start if ys is None else 0, len(others), at_once):
                of = slice(begin, begin + at_once)
                columns = rows if ys is None and begin == start else units(others[of])
                found[own, of] = about.finish((rows @ columns.T).clamp(-1, 1)).cpu()
    # What is wrong is told of a pair, as the measure itself tells it.
    except (UserError, ValueError, TypeError, RuntimeError):
        return None
    if ys is None:
        # The product of a block and itself is not symmetric to the bit by every kernel.
        upper = found.triu(1)
        found = (upper + upper.T).fill_diagonal_(1.0)
    return found.numpy()
