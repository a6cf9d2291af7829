"""Which layer of one network is most like a layer of another."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm import compare
from orthotrace.analysis.rdm.arrays import numbers
from orthotrace.analysis.rdm.undefined import on_shared
from orthotrace.analysis.similarity.all_pairs import by_vectors
from orthotrace.analysis.similarity.invariances import declaration
from orthotrace.core.errors import UserError, refuse_unknown


def layer_similarities(
    networks: Sequence[ArrayLike], method: str = "pearson"
) -> dict[tuple[int, int], NDArray[np.float64]]:
    """Similarity of every layer of every network to every layer of every other, by their RDMs.

    Args:
        networks: the RDMs of the layers of each, (layers, m), of the same stimuli.
        method: a name of compare.METHODS; a distance counts with a minus.

    Returns:
        (a, b), a < b -> (layers of a, layers of b), more is more alike; over the entries that both have, NaN where that
        is undefined.

    Raises:
        UserError: fewer than two networks, or what the comparison refuses.

    Example:
        >>> one = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
        >>> layer_similarities([one, one])[0, 1].round(2)
        array([[ 1. , -0.5],
               [-0.5,  1. ]])
    """
    if len(networks) < 2:
        raise UserError(f"two networks or more are needed (got {len(networks)})")
    if any(one is None for one in networks):
        raise UserError("RDMs of every network are needed, one is None", "networks")
    refuse_unknown([method], list(compare.METHODS), "there is no comparison", "method")
    score = compare.METHODS[method]
    sign = -1 if method == "norm_difference" else 1
    return {
        (a, b): sign * on_shared(score, networks[a], networks[b])
        for a, b in itertools.combinations(range(len(networks)), 2)
    }


def activation_similarities(
    networks: Sequence[Sequence[ArrayLike]], measure: Callable[..., float]
) -> dict[tuple[int, int], NDArray[np.float64]]:
    """As layer_similarities, by a measure of activations.

    Args:
        networks: the activations of the layers of each, (n, ...), of the same stimuli.
        measure: of two of them; one that is declared a metric counts with a minus, one that is not declared symmetric
            is computed in both directions, and their mean is taken.

    Raises:
        UserError: fewer than two networks, or what the measure refuses.

    Example:
        >>> from orthotrace.analysis.similarity import linear_cka
        >>> one = [np.eye(4), np.arange(8.0).reshape(4, 2) ** 2]
        >>> activation_similarities([one, one], linear_cka)[0, 1].round(2)
        array([[1.  , 0.58],
               [0.58, 1.  ]])
    """
    if len(networks) < 2:
        raise UserError(f"two networks or more are needed (got {len(networks)})")
    about = declaration(measure)
    sign = -1 if about is not None and about.metric else 1

    def both(x: ArrayLike, y: ArrayLike) -> float:
        if about is not None and about.symmetric:
            return sign * measure(x, y)
        return sign * (measure(x, y) + measure(y, x)) / 2

    def of(a: int, b: int) -> NDArray[np.float64]:
        if (found := by_vectors(measure, networks[a], networks[b])) is not None:
            return sign * found
        return np.array([[both(x, y) for y in networks[b]] for x in networks[a]], dtype=np.float64)

    return {(a, b): of(a, b) for a, b in itertools.combinations(range(len(networks)), 2)}


def correspondence(similarities: ArrayLike) -> NDArray[np.intp]:
    """The layer of B that is most like each layer of A.

    Args:
        similarities: (layers of A, layers of B), more is more alike.

    Returns:
        (layers of A,), places in B.

    Raises:
        UserError: no matrix of finite numbers.

    Example:
        >>> correspondence([[0.9, 0.2], [0.3, 0.8], [0.1, 0.7]])
        array([0, 1, 1])
    """
    values = numbers(similarities, "similarities")
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise UserError(f"a matrix of finite similarities is needed, got shape {values.shape}")
    return values.argmax(axis=1)


def accuracy(similarities: dict[tuple[int, int], NDArray[np.float64]]) -> float:
    """How often the most similar layer of another network of the same architecture is the same layer.

    Both directions of every pair of networks count.

    Args:
        similarities: what layer_similarities or activation_similarities gives, of networks with as many layers.

    Returns:
        In [0, 1]; by chance one over the number of layers.

    Raises:
        UserError: networks with other numbers of layers, or fewer than two layers.

    Source: Kornblith, Norouzi, Lee & Hinton, ICML 2019, section 6.1.

    Example:
        >>> accuracy({(0, 1): np.array([[0.9, 0.2], [0.95, 0.8]])})
        0.5
    """
    given = {pair: numbers(values, "similarities") for pair, values in similarities.items()}
    shapes = {values.shape for values in given.values()}
    if len(shapes) != 1 or len(set(shape := next(iter(shapes)))) != 1 or shape[0] < 2:
        raise UserError(f"networks with as many layers, two or more, are needed (got {sorted(shapes)})")
    right = [correspondence(one) == np.arange(shape[0]) for values in given.values() for one in (values, values.T)]
    return float(np.mean(right))
