"""Declared invariances of a measure of similarity, and the check of such a declaration."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from orthotrace.core.errors import UserError

Transformation = Literal["orthogonal", "permutation", "scaling", "translation", "linear"]
Function = TypeVar("Function", bound=Callable[..., Any])
# Far above rounding, far below the change by a transformation that is no invariance.
SAME, OTHER = 1e-7, 1e-4


@dataclass(frozen=True)
class Declared:
    """Properties of a measure of two activation matrices.

    Attributes:
        invariant_to: of the features of either matrix: "orthogonal" (rotations and reflections), "permutation",
            "scaling" (of all features alike), "translation" (another constant for each feature), "linear" (any
            invertible map). What is not named changes the value.
        symmetric: the order of the matrices does not matter.
        metric: a distance: zero where only the invariances differ, symmetric, with the triangle inequality.
        most: the value for equal representations.
    """

    invariant_to: frozenset[str]
    symmetric: bool
    metric: bool
    most: float


def declare(
    *invariant_to: Transformation, symmetric: bool = True, metric: bool = False, most: float | None = None
) -> Callable[[Function], Function]:
    """Declare the properties of a measure, see Declared.

    Raises:
        UserError: an unknown transformation; names it.

    Example:
        >>> @declare("permutation", "scaling", symmetric=True)
        ... def mine(x, y): ...
        >>> sorted(declared(mine).invariant_to)
        ['permutation', 'scaling']
    """
    for name in invariant_to:
        if name not in get_args(Transformation):
            raise UserError(f"there is no transformation '{name}'; there are: {', '.join(get_args(Transformation))}")
    most = (0.0 if metric else 1.0) if most is None else most

    def mark(function: Function) -> Function:
        function.__dict__["declared"] = Declared(frozenset(invariant_to), symmetric, metric, most)
        return function

    return mark


def declared(measure: Callable[..., Any]) -> Declared:
    """The declaration of a measure.

    Raises:
        UserError: it has none.
    """
    found = declaration(measure)
    if found is None:
        raise UserError(f"{getattr(measure, '__name__', measure)} declares no invariances: put @declare(...) above it")
    return found


def declaration(measure: Callable[..., Any]) -> Declared | None:
    """What a measure declares, of a partial what its function does; None where it declares nothing.

    Example:
        >>> declaration(len) is None
        True
    """
    return getattr(getattr(measure, "func", measure), "declared", None)


def transformed(name: str, matrix: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """The same representation (n, p) for a measure that is invariant to the transformation."""
    width = matrix.shape[1]
    if name == "permutation":
        return matrix[:, rng.permutation(width)]
    if name == "scaling":
        return 3.7 * matrix
    if name == "translation":
        return matrix + 2 * rng.standard_normal(width)
    if name == "orthogonal":
        return matrix @ np.linalg.qr(rng.standard_normal((width, width)))[0]
    # Between half and twice: far from singular.
    left, right = (np.linalg.qr(rng.standard_normal((width, width)))[0] for _ in range(2))
    return matrix @ (left * rng.uniform(0.5, 2, width)) @ right


def check(measure: Callable[..., Any], seed: int = 0, samples: int = 60) -> None:
    """Check every declaration of a measure, true and false, on random representations that share a part.

    Args:
        measure: of two matrices (n, p) and (n, q).
        seed: of the draws.
        samples: n.

    Raises:
        AssertionError: the first declaration that does not hold.

    Example:
        >>> from orthotrace.analysis import similarity
        >>> check(similarity.linear_cka)
    """
    says = declared(measure)
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((samples, 5))
    x, y, z = (
        shared @ rng.standard_normal((5, width)) + noise * rng.standard_normal((samples, width)) + 0.5
        for width, noise in ((8, 0.5), (8, 1.0), (8, 2.0))
    )
    value = float(measure(x, y))
    name = getattr(measure, "__name__", str(measure))
    for transformation in get_args(Transformation):
        changes = [
            abs(float(measure(transformed(transformation, x, rng), y)) - value),
            abs(float(measure(x, transformed(transformation, y, rng))) - value),
        ]
        if transformation in says.invariant_to:
            assert max(changes) < SAME * max(1.0, abs(value)), f"{name} is not invariant to {transformation}"
        else:
            assert max(changes) > OTHER * max(1.0, abs(value)), f"{name} is invariant to {transformation}, undeclared"
    back = float(measure(y, x))
    assert (abs(back - value) < SAME * max(1.0, abs(value))) == says.symmetric, f"{name}: symmetric is declared wrongly"
    assert abs(float(measure(x, x)) - says.most) < 1e-6, f"{name}: of equal representations it is not {says.most}"
    if says.metric:
        for a, b, c in ((x, y, z), (y, z, x), (z, x, y)):
            assert float(measure(a, c)) <= float(measure(a, b)) + float(measure(b, c)) + SAME, (
                f"{name} breaks the triangle inequality"
            )
