"""Purity of concept axes: how well each separates the images of its concept from all others, beside other detectors.

Filters, probes and concept vectors are chosen and fitted on other images; test images only score them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.concepts.roc import AUC, Difference, areas, auc, auc_difference
from orthotrace.analysis.rdm.arrays import numbers, real, same_index, unit_of
from orthotrace.analysis.rdm.stacks import sizes_of
from orthotrace.core.errors import UserError

Matrix = NDArray[np.float64]
# Strengths of a probe's penalty, 1/C, that validation images choose from.
STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)


@dataclass(frozen=True, eq=False)
class ConceptFeatures:
    """Images of one part of the data: train, validation or test.

    Attributes:
        features: of a layer, (images, channels), already reduced over positions.
        has: which image has which concept, (images, k) of true and false; several or none are possible.
    """

    features: ArrayLike
    has: ArrayLike


@dataclass(frozen=True, eq=False)
class Purity:
    """One-vs-rest areas under the ROC curve of concepts, on test images.

    Attributes:
        auc: with standard errors and intervals over images, of each concept.
        scores: that it comes from, (images, k).
        has: which image has which concept, (images, k).
        chosen: of each concept on the validation images: a filter, or the strength of a penalty; None without a choice.
    """

    auc: AUC
    scores: Matrix
    has: NDArray[np.bool_]
    chosen: tuple[float, ...] | None = None

    def minus(self, other: Purity) -> Difference:
        """How much purer than another detector on the same test images, concept by concept; DeLong's paired test.

        Raises:
            UserError: other images or concepts.
        """
        if not np.array_equal(self.has, other.has):
            raise UserError("the same test images and concepts are needed: 'has' differs")
        return auc_difference(self.scores, other.scores, self.has, self.auc.level)


def purity(activations: ArrayLike, has: ArrayLike, level: float = 0.95) -> Purity:
    """Purity of concept axes: the area under the ROC curve of axis j for concept j against all other images.

    A high value means the concept; an axis that is low for its concept is below 0.5, not turned.

    Args:
        activations: of held-out images, (images, axes); the first k axes are those of the k concepts.
        has: which image has which concept, (images, k).
        level: of the intervals, in (0, 1).

    Raises:
        UserError: fewer axes than concepts, a concept of no or of all images, or what roc.auc refuses.

    Source: Chen, Bei & Rudin, Nature Machine Intelligence 2 (2020) 772.

    Example:
        >>> has = np.arange(40)[:, None] % 4 == [0, 1]
        >>> found = purity(has + 0.1 * np.random.default_rng(0).standard_normal((40, 2)), has)
        >>> found.auc.value, found.auc.low.round(2)
        (array([1., 1.]), array([0.72, 0.72]))
    """
    x, concepts = _checked(ConceptFeatures(activations, has), "test")
    k = concepts.shape[1]
    if x.shape[1] < k:
        raise UserError(f"an axis for each of {k} concepts is needed, got {x.shape[1]} axes")
    return Purity(auc(x[:, :k], concepts, level), x[:, :k], concepts)


def best_filter(validation: ConceptFeatures, test: ConceptFeatures, level: float = 0.95) -> Purity:
    """The single filter that separates each concept best, chosen on validation images and scored on test images.

    Like an axis, a filter must be high for the concept; its sign is not turned. Of equals the first is taken.

    Args:
        validation: on which each concept's filter is chosen.
        test: on which it is scored.
        level: of the intervals, in (0, 1).

    Raises:
        UserError: parts that do not fit each other, or as purity; names the part.

    Source: Zhou, Khosla, Lapedriza, Oliva & Torralba, ICLR 2015, for single filters as detectors.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> def part():
        ...     has = rng.random((60, 1)) < 0.5
        ...     return ConceptFeatures(has * [0.0, 3.0] + rng.standard_normal((60, 2)), has)
        >>> best_filter(part(), part()).chosen
        (1.0,)
    """
    (held, of), (x, has) = _parts(validation=validation, test=test)
    chosen = [int(np.argmax(areas(held, column))) for column in of.T]
    return _scored(x[:, chosen], has, level, chosen)


def linear_probe(
    train: ConceptFeatures,
    validation: ConceptFeatures,
    test: ConceptFeatures,
    strengths: Sequence[float] = STRENGTHS,
    level: float = 0.95,
) -> Purity:
    """A linear probe of each concept: how well any direction of the layer separates it.

    Logistic regression with the penalty |w|^2 strength/2 on features standardised by the training images; the strength
    is the one with the highest area on the validation images, of equals the strongest.

    Args:
        train: to which it is fitted.
        validation: on which the strength is chosen.
        test: on which it is scored.
        strengths: of the penalty, above 0; the sum of the training images' losses stands beside it.
        level: of the intervals, in (0, 1).

    Raises:
        UserError: no strengths or one not above 0, parts that do not fit each other, or as purity; names the part.

    Source: Alain & Bengio, ICLR 2017 workshop.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> def part():
        ...     has = rng.random((60, 1)) < 0.5
        ...     return ConceptFeatures(has * [3.0, 3.0] + rng.standard_normal((60, 2)), has)
        >>> bool(linear_probe(part(), part(), part()).auc.value[0] > 0.97)
        True
    """
    from sklearn.linear_model import LogisticRegression

    given = numbers(strengths, "strengths")
    if given.ndim != 1 or not given.size or not (np.isfinite(given) & (given > 0)).all():
        raise UserError(f"strengths above 0 are needed (got {given.tolist()})")
    parts = _parts(train=train, validation=validation, test=test)
    (x, of), (held, held_has), (shown, has) = parts
    # Channels with very large or small values in units of their largest: squares of others are no numbers.
    sizes = sizes_of(x.T)[:, 0]
    units = np.where((sizes > 1e-50) & (sizes < 1e50), 1.0, sizes)
    x, held, shown = (one / units for one in (x, held, shown))
    mean, scale = x.mean(axis=0), x.std(axis=0)
    # A channel that is constant in training is left out.
    scale = np.where(np.ptp(x, axis=0) > 0, scale, np.inf)
    x, held, shown = ((one - mean) / scale for one in (x, held, shown))
    order = sorted(strengths, reverse=True)
    scores, chosen = [], []
    for concept in range(of.shape[1]):
        probes = [LogisticRegression(C=1 / one, max_iter=2000).fit(x, of[:, concept]) for one in order]
        values = [areas(probe.decision_function(held), held_has[:, concept])[0] for probe in probes]
        best = int(np.argmax(values))
        scores.append(probes[best].decision_function(shown))
        chosen.append(order[best])
    return _scored(np.stack(scores, axis=1), has, level, chosen)


def concept_vector(train: ConceptFeatures, test: ConceptFeatures, level: float = 0.95) -> Purity:
    """Concept activation vectors (CAV): the normal of a linear classifier of the concept's images against all others.

    A linear support vector machine with squared hinge loss, C = 1, both kinds of images weighted alike, on features
    divided by one number, their root mean square about the mean: directions stay as they are. An image's score is its
    product with the vector.

    Args:
        train: to which it is fitted.
        test: on which it is scored.
        level: of the intervals, in (0, 1).

    Raises:
        UserError: training features that are all constant, parts that do not fit each other, or as purity; names the
            part.

    Source: Kim, Wattenberg, Gilmer, Cai, Wexler, Viegas & Sayres, ICML 2018, section 3.2.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> def part():
        ...     has = rng.random((60, 1)) < 0.5
        ...     return ConceptFeatures(has * [3.0, 3.0] + rng.standard_normal((60, 2)), has)
        >>> bool(concept_vector(part(), part()).auc.value[0] > 0.97)
        True
    """
    from sklearn.svm import LinearSVC

    (x, of), (shown, has) = _parts(train=train, test=test)
    unit = unit_of(x)
    x, shown = x / unit, shown / unit
    mean = x.mean(axis=0)
    if not (np.ptp(x, axis=0) > 0).any():
        raise UserError("train: all features are constant, there is no direction in them")
    scale = np.sqrt(((x - mean) ** 2).mean())
    # In the primal: no draws, and it converges on any features.
    machine = LinearSVC(
        C=1.0,
        dual=False,  # type: ignore[arg-type]  # scikit-learn's stubs know its text alone
        class_weight="balanced",
        max_iter=5000,
    )
    vectors = np.concatenate([machine.fit((x - mean) / scale, column).coef_ for column in of.T])
    return _scored((shown - mean) / scale @ vectors.T, has, level)


def _scored(scores: Matrix, has: NDArray[np.bool_], level: float, chosen: Sequence[float] | None = None) -> Purity:
    return Purity(auc(scores, has, level), scores, has, None if chosen is None else tuple(map(float, chosen)))


def _parts(**parts: ConceptFeatures) -> list[tuple[Matrix, NDArray[np.bool_]]]:
    """Parts by name, each checked, and that they fit each other."""
    found = [_checked(part, name) for name, part in parts.items()]
    shapes = {(x.shape[1], has.shape[1]) for x, has in found}
    if len(shapes) > 1:
        sizes = ", ".join(
            f"{name} {x.shape[1]} and {has.shape[1]}" for name, (x, has) in zip(parts, found, strict=True)
        )
        raise UserError(f"parts of the same channels and concepts are needed, got {sizes}")
    return found


def _checked(part: ConceptFeatures, name: str) -> tuple[Matrix, NDArray[np.bool_]]:
    same_index(features=part.features, has=part.has)
    x, has = numbers(part.features, f"{name}: features"), real(part.has, f"{name}: has")
    if x.ndim != 2 or has.ndim != 2 or len(x) != len(has) or not has.shape[1]:
        raise UserError(
            f"{name}: features (images, channels) and concepts (images, k) are needed, got {x.shape} and {has.shape}"
        )
    if not np.isin(has, (0, 1)).all():
        raise UserError(f"{name}: each image has a concept or not, true or false")
    if not (finite := np.isfinite(x).all(axis=1)).all():
        raise UserError(f"{name}: the features of image {int(np.argmin(finite))} are not finite")
    has = has.astype(bool)
    for concept, share in enumerate(has.mean(axis=0) if len(has) else np.zeros(has.shape[1])):
        if share in (0, 1):
            raise UserError(f"{name}: {'every' if share else 'no'} image has concept {concept}: nothing to tell apart")
    return x, has
