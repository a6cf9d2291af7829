"""Scores of models in resamples of stimuli and subjects, three ways; the bounds of the noise ceiling beside them.

A sampler prepares resamples of the stimuli, (B, n) counts, once, and scores them with resamples of the subjects, (B, k)
counts; either may be one row, which is then paired with every row of the other. It gives (B, models + 2).
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from orthotrace.analysis.inference.ceilings import WHITENED, bounds, compared, pooled
from orthotrace.analysis.inference.models import Fixed
from orthotrace.analysis.inference.resampling import ROUNDING, correlations, moments
from orthotrace.analysis.rdm.triangles import places_of
from orthotrace.core.errors import UserError

Matrix = NDArray[np.float64]
# Stimuli of which an RDM can be compared.
LEAST = 3


class Sampler(Protocol):
    """What the three have in common."""

    def prepare(self, stimuli: Matrix, /) -> Any:
        """What resamples of the stimuli need, whatever the subjects."""

    def score(self, prepared: Any, subjects: Matrix, /) -> Matrix:
        """(B, models + 2): mean scores of the models, then the lower and the upper bound."""
        ...


class Direct:
    """Fixed models (an RDM (1, m) of each) by Pearson or cosine: all resamples at once."""

    def __init__(self, models: Sequence[Matrix], data: Matrix, method: str) -> None:
        self.models = len(models)
        self.all = np.concatenate([*models, data])
        self.centre = method == "pearson"

    def prepare(self, stimuli: Matrix) -> Matrix:
        """Correlations of all RDMs in each resample, (B, models + k, models + k)."""
        return correlations(moments(self.all, stimuli, self.centre, skip=self.models))

    def score(self, prepared: Matrix, subjects: Matrix) -> Matrix:
        """As Sampler."""
        found, subjects = _alike(prepared, subjects)
        m = self.models
        means = np.einsum("bmk,bk->bm", found[:, :m, m:], subjects) / subjects.sum(axis=1)[:, None]
        return np.concatenate([means, _limits(found[:, m:, m:], subjects)], axis=1)


class Made:
    """Fixed models (an RDM (1, m) of each) by any method of ceilings.POOLS: each resample is made."""

    def __init__(self, models: Sequence[Matrix], data: Matrix, method: str) -> None:
        self.models, self.data, self.method = np.concatenate(models), data, method

    def prepare(self, stimuli: Matrix) -> Matrix:
        """The counts themselves: no resample is kept."""
        return stimuli

    def score(self, prepared: Matrix, subjects: Matrix) -> Matrix:
        """As Sampler."""
        return np.stack([self._one(*pair) for pair in zip(*_alike(prepared, subjects), strict=True)])

    def _one(self, stimuli: Matrix, subjects: Matrix) -> Matrix:
        there = subjects > 0
        models, data = (resampled(values, stimuli) for values in (self.models, self.data[there]))
        counts = subjects[there]
        # Of few stimuli a subject whose entries are missing may have none.
        if not (has := ~np.isnan(data).all(axis=1)).all():
            data, counts = data[has], counts[has]
            if not len(data):
                raise UserError("a resample has no entry of any subject: too many are missing", "data")
        means = compared(models, data, self.method) @ counts / counts.sum()
        return np.append(means, self._ceiling(data, counts))

    def _ceiling(self, data: Matrix, subjects: Matrix) -> tuple[float, float]:
        """Of different RDMs that come so often; copies are left out together."""
        if len(data) < 2:
            return np.nan, np.nan
        method = self.method
        if method in WHITENED and not np.isnan(data).any():
            lower, upper = bounds(compared(data, data, method)[None], subjects[None])
            return float(lower[0]), float(upper[0])
        copies = np.repeat(np.arange(len(data)), subjects.astype(int))
        upper = compared(pooled(data[copies], method), data, method).mean()
        rest = [pooled(data[copies[copies != one]], method) for one in range(len(data))]
        others = [compared(one, data[number][None], method) for number, one in enumerate(rest)]
        return float(np.mean(others)), float(upper)


class Folded:
    """Fitted models by Pearson or cosine: every resample is cross-validated, from the moments of its parts.

    The RDMs of each model are a part, (c, m). Folds are over the different subjects and over the different stimuli of a
    resample, three stimuli in each; with too few of them there are fewer folds. The ceiling is that of the test
    stimuli.
    """

    def __init__(
        self,
        models: Sequence[Fixed],
        parts: Sequence[Matrix],
        data: Matrix,
        method: str,
        rdm_folds: int,
        stimulus_folds: int,
        rng: np.random.Generator,
    ) -> None:
        self.models = models
        sizes = [len(part) for part in parts]
        ends = np.cumsum(sizes)
        self.places = [slice(end - size, end) for end, size in zip(ends.tolist(), sizes, strict=True)]
        self.all = np.concatenate([*parts, data])
        self.data = slice(sum(sizes), None)
        self.centre = method == "pearson"
        self.rdm_folds, self.stimulus_folds, self.rng = rdm_folds, stimulus_folds, rng

    def prepare(self, stimuli: Matrix) -> list[tuple[NDArray[np.bool_], Matrix, Matrix]]:
        """Of each fold: the resamples that have it, covariances of all RDMs over its training and its test stimuli."""
        if self.stimulus_folds == 1:
            whole = moments(self.all, stimuli, self.centre)
            return [(np.ones(len(stimuli), dtype=bool), whole, whole)]
        fold_of = _folds_of(stimuli, self.stimulus_folds, self.rng, least=LEAST)
        parts = []
        for fold in range(self.stimulus_folds):
            kept = (np.where(fold_of == fold, 0, stimuli), np.where(fold_of == fold, stimuli, 0))
            train, test = (moments(self.all, one, self.centre) for one in kept)
            parts.append((kept[1].any(axis=1), train, test))
        return parts

    def score(self, prepared: list[tuple[NDArray[np.bool_], Matrix, Matrix]], subjects: Matrix) -> Matrix:
        """As Sampler."""
        resamples = max(len(prepared[0][0]), len(subjects))
        subjects = np.broadcast_to(subjects, (resamples, subjects.shape[1]))
        fold_of = _folds_of(subjects, self.rdm_folds, self.rng)
        total, folds_had = np.zeros((resamples, len(self.models) + 2)), np.zeros(resamples)
        for had, train, test in prepared:
            had = np.broadcast_to(had, (resamples,))
            train, test = _alike(train, subjects)[0], _alike(test, subjects)[0]
            limits = _limits(correlations(test[:, self.data, self.data]), subjects)
            folds_had += had
            for number in np.flatnonzero(had):
                counts, found = subjects[number], np.zeros(len(self.models))
                for fold in range(self.rdm_folds):
                    tested = np.where(fold_of[number] == fold, counts, 0)
                    if tested.any():
                        fitted = counts - tested if self.rdm_folds > 1 else counts
                        found += self._one(train[number], test[number], fitted, tested)
                total[number] += np.append(found / counts.sum(), limits[number])
        return total / folds_had[:, None]

    def _one(self, train: Matrix, test: Matrix, fitted: Matrix, tested: Matrix) -> list[float]:
        """The sum of the scores of each model over the tested RDMs."""
        length = np.sqrt(np.maximum(np.diag(train)[self.data], 0))
        target = fitted / np.where(length > 0, length, 1) / fitted.sum()
        own = np.sqrt(np.maximum(np.diag(test), 0))
        found = []
        for model, at in zip(self.models, self.places, strict=True):
            weights = model.fit(train[at, at], train[at, self.data] @ target)
            square = float(weights @ test[at, at] @ weights)
            # RDMs that vary may have a constant sum, of which rounding is left.
            size = np.sqrt(square if square > ROUNDING * float(weights @ own[at]) ** 2 else 0) * own[self.data]
            some = size > 0
            found.append(float(tested[some] @ ((weights @ test[at, self.data])[some] / size[some])))
        return found


def resampled(stack: Matrix, stimuli: Matrix) -> Matrix:
    """Upper triangles of one resample of the stimuli, the pairs of a stimulus with its copy left out.

    Example:
        >>> resampled(np.array([[1.0, 2.0, 3.0]]), np.array([2.0, 1.0, 0.0]))
        array([[1., 1.]])
    """
    n = len(stimuli)
    at = np.repeat(np.arange(n), stimuli.astype(int))
    rows, columns = (at[places] for places in np.triu_indices(len(at), 1))
    different = rows != columns
    return stack[:, places_of(rows[different], columns[different], n)]


def folds(things: int, number: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """The fold of each thing, as even as can be; with one fold nothing is drawn.

    Example:
        >>> np.bincount(folds(5, 2, np.random.default_rng(0)))
        array([3, 2])
    """
    if number == 1:
        return np.zeros(things, dtype=np.intp)
    found = np.empty(things, dtype=np.intp)
    found[rng.permutation(things)] = np.arange(things) % number
    return found


def _folds_of(counts: Matrix, number: int, rng: np.random.Generator, least: int = 1) -> NDArray[np.intp]:
    """The fold of each thing in each resample: even over the different things, `least` in each, copies together."""
    found = np.zeros(counts.shape, dtype=np.intp)
    for row, into in zip(counts, found, strict=True):
        there = np.flatnonzero(row)
        into[there] = folds(len(there), min(number, len(there) // least), rng)
    return found


def _alike(first: Matrix, second: Matrix) -> tuple[Matrix, Matrix]:
    """Both with the number of resamples of the longer."""
    number = max(len(first), len(second))
    return np.broadcast_to(first, (number, *first.shape[1:])), np.broadcast_to(second, (number, *second.shape[1:]))


def _limits(correlations: Matrix, subjects: Matrix) -> Matrix:
    if correlations.shape[1] < 2:
        return np.full((len(subjects), 2), np.nan)
    return np.stack(bounds(correlations, subjects), axis=1)
