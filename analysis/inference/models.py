"""Models of RDMs: what is predicted, and what of the prediction is fitted."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm.arrays import numbers
from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.core.errors import UserError

Matrix = NDArray[np.float64]


class Fixed:
    """A model that predicts one RDM; nothing is fitted.

    Args:
        rdms: its RDM, (m,) or (1, m).

    Raises:
        UserError: another number of RDMs, or entries that are not finite.

    Example:
        >>> Fixed([1.0, 2.0, 3.0]).fit(np.eye(1), np.ones(1))
        array([1.])
    """

    fitted = False

    def __init__(self, rdms: ArrayLike) -> None:
        # With its descriptors, where it has some.
        self.given = rdms
        given = numbers(rdms, "rdms")
        self.rdms: Matrix = given[None] if given.ndim == 1 else given
        if self.rdms.ndim != 2 or not self.rdms.size or not np.isfinite(self.rdms).all():
            raise UserError(f"a model needs RDMs (c, m), upper triangles of finite numbers, got shape {given.shape}")
        self._check()

    def _check(self) -> None:
        if len(self.rdms) != 1:
            raise UserError(f"a fixed model has one RDM (got {len(self.rdms)}): see Selected and Weighted")

    def fit(self, products: Matrix, with_data: Matrix) -> Matrix:
        """Weights of the RDMs of the model that do best on training data.

        Args:
            products: (c, c), of the RDMs of the model with each other, over the training stimuli; for a correlation of
                centred ones.
            with_data: (c,), with the mean of the training RDMs, each scaled to length 1.

        Returns:
            (c,), at least 0.
        """
        return np.ones(1)


class Selected(Fixed):
    """A model that predicts one of several RDMs: the one that does best on training data.

    Args:
        rdms: (c, m), c >= 2.

    Raises:
        UserError: as Fixed.

    Example:
        >>> Selected(np.eye(3)[:2]).fit(np.diag([1.0, 4.0]), np.array([0.5, 0.8]))
        array([1., 0.])
    """

    fitted = True

    def _check(self) -> None:
        if len(self.rdms) < 2:
            raise UserError("a model that is fitted has two RDMs or more (got 1): see Fixed")

    def fit(self, products: Matrix, with_data: Matrix) -> Matrix:
        """The RDM with the highest correlation has weight 1: see Fixed.fit."""
        own = np.sqrt(np.diag(products))
        chosen = np.zeros(len(with_data))
        # An RDM that is constant on the training stimuli predicts nothing.
        chosen[np.argmax(np.where(own > 0, with_data / np.where(own > 0, own, 1), -np.inf))] = 1
        return chosen


class Weighted(Selected):
    """A model that predicts a sum of several RDMs with weights that are not negative, by least squares.

    Args:
        rdms: (c, m), c >= 2.

    Raises:
        UserError: as Fixed.

    Source: Jozwik, Kriegeskorte & Mur, Neuropsychologia 83 (2016), for RDMs; Lawson & Hanson (1974), for the solver.

    Example:
        >>> Weighted(np.eye(3)[:2]).fit(np.eye(2), np.array([0.5, -0.1]))
        array([0.5, 0. ])
    """

    def fit(self, products: Matrix, with_data: Matrix) -> Matrix:
        """Least squares: see Fixed.fit."""
        from scipy.optimize import nnls

        # |A t - b|^2 with A^T A the products and A^T b those with the data. RDMs are scaled to length 1 for the solver.
        size = np.sqrt(np.diag(products))
        size = np.where(size > 0, size, 1)
        if not (with_data > 0).any():
            # No RDM correlates with the data.
            return np.zeros(len(with_data))
        values, vectors = np.linalg.eigh(products / np.outer(size, size))
        kept = values > 1e-12 * values[-1]
        root = np.sqrt(values[kept])
        found, _ = nnls(vectors[:, kept].T * root[:, None], (vectors[:, kept].T @ (with_data / size)) / root)
        return found / size


# What is compared with data: name -> model, or RDMs under their own names.
Models = Mapping[str, Fixed | ArrayLike] | RDMs


def as_models(models: Models) -> dict[str, Fixed]:
    """Models by name; a plain vector is a fixed one, and RDMs are fixed ones under their own names.

    Raises:
        UserError: no models, one that is none, or RDMs whose names do not tell them apart; names it.

    Example:
        >>> list(as_models({"grey": [1.0, 2.0, 3.0]}))
        ['grey']
        >>> list(as_models(RDMs.of({"relu1": np.eye(3), "head": np.ones((3, 2)).cumsum(0)}, "euclidean")))
        ['relu1', 'head']
    """
    if isinstance(models, RDMs):
        models = dict(zip(_names(models), models, strict=True))
    if not isinstance(models, Mapping):
        raise UserError("models come by name, such as {'grey': rdm}, or as RDMs with names")
    if not models:
        raise UserError("no models to evaluate")
    found = {}
    for name, model in models.items():
        try:
            found[name] = model if isinstance(model, Fixed) else Fixed(model)
        except UserError as error:
            raise UserError(f"model '{name}': {error}") from error
    return found


def _names(rdms: RDMs) -> list[str]:
    """What each RDM is called: its descriptor "name", with the other descriptors in which they differ where need be."""
    differ = [key for key, values in rdms.rdm_descriptors.items() if len(set(values.tolist())) > 1]
    keys = ["name"] if "name" in rdms.rdm_descriptors else differ
    for key in (None, *differ):
        keys = keys if key is None or key in keys else [*keys, key]
        found = [", ".join(str(rdms.rdm_descriptors[one][place]) for one in keys) for place in range(len(rdms))]
        if keys and len(set(found)) == len(found):
            return found
    raise UserError("models come by name: give RDMs a descriptor 'name' that tells them apart, or {'grey': rdm}")
