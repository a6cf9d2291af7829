"""How well models predict RDMs, and how sure that is: cross-validation, bootstraps, noise ceilings.

Scores of models are means over the RDMs of several subjects. What they would be with other subjects, other stimuli or
both is estimated by resampling; comparisons between models are in significance.py.
"""

from collections.abc import Mapping
from typing import Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.inference.ceilings import Ceiling, ceiling, check_ceiling, compared, constant
from orthotrace.analysis.inference.models import Fixed, Models, Selected, as_models
from orthotrace.analysis.inference.resampling import draw
from orthotrace.analysis.inference.samplers import LEAST, Direct, Folded, Made, Sampler, folds
from orthotrace.analysis.inference.significance import Evaluation
from orthotrace.analysis.rdm import compare
from orthotrace.analysis.rdm.arguments import generator, whole
from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.analysis.rdm.stacks import as_stack, check_together
from orthotrace.analysis.rdm.triangles import stimuli_of
from orthotrace.core.errors import UserError, refuse_unknown

Matrix = NDArray[np.float64]
Over = Literal["stimuli", "rdms", "both"]
# Comparisons that a resample of the stimuli, which has no whole matrix, does not allow.
WHOLE = ("cosine_cov", "corr_cov", "bures")
# Comparisons whose resamples are products of matrices.
DIRECT = ("pearson", "cosine")


def evaluate(
    models: Models,
    data: ArrayLike,
    method: str = "pearson",
    rdm_folds: int = 1,
    stimulus_folds: int = 1,
    seed: int = 0,
) -> Evaluation:
    """Scores of models for the RDM of each subject, cross-validated where models are fitted.

    With folds, models are fitted to the RDMs and stimuli of all folds but one and scored on those of that one; the
    score of a subject is the mean over the folds of stimuli. Weights are fitted by least squares, of centred RDMs
    unless the method is a cosine; a model is selected by the method itself. Entries of the data may be missing (NaN):
    each subject is scored on those that it has, in the folds in which it has two or more; weights are fitted to those
    that all subjects have.

    Args:
        models: name -> model; a plain upper triangle is a fixed one. Or RDMs, each a fixed one under its own name (its
            descriptor "name"). They may be of another measure than the data, but not of other stimuli.
        data: upper triangles of RDMs, (k, m), one for each subject.
        method: a name of ceilings.POOLS.
        rdm_folds: 1 for none.
        stimulus_folds: 1 for none; every fold has three stimuli or more.
        seed: of the folds.

    Returns:
        Scores, and the noise ceiling where there are two subjects or more.

    Raises:
        UserError: an unknown method, models or data of another size or that cannot be compared, too many folds, or a
            fitted model without folds, which would be scored on what it was fitted to.

    Source: Schutt, Kipnis, Diedrichsen & Kriegeskorte, eLife 12:e82566 (2023).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> truth = rng.random(45)
        >>> data = truth + 0.2 * rng.random((5, 45))
        >>> found = evaluate({"true": truth, "other": rng.random(45)}, data)
        >>> [round(float(one), 2) for one in found.means], round(found.ceiling.lower, 2)
        ([0.98, 0.36], 0.98)
    """
    named = as_models(models)
    stack, parts = _checked(named, data, method, rdm_folds, stimulus_folds)
    subjects = len(stack)
    scores = np.zeros((len(named), subjects))
    if rdm_folds == stimulus_folds == 1:
        for number, part in enumerate(parts):
            scores[number] = compare.METHODS[method](part, stack)[0]
        return Evaluation(tuple(named), method, scores, _ceiling(stack, method))
    n = stimuli_of(stack.shape[1])
    rng = generator(seed)
    fold_of_rdm = folds(subjects, rdm_folds, rng)
    fold_of_stimulus = folds(n, stimulus_folds, rng)
    rows, columns = np.triu_indices(n, 1)
    limits = []
    tests = [fold_of_stimulus == fold for fold in range(stimulus_folds)]
    # Which subjects have something to compare, (folds, subjects).
    has = np.stack([(~np.isnan(stack[:, one[rows] & one[columns]])).sum(axis=1) > 1 for one in tests])
    if not (known := has.any(axis=0)).all():
        raise UserError(f"RDM {int(np.argmin(known))} of the data has no two entries in any fold of the stimuli")
    for fold, test in enumerate(tests):
        train = ~test if stimulus_folds > 1 else test
        in_test, in_train = test[rows] & test[columns], train[rows] & train[columns]
        limits.append(_ceiling(stack[:, in_test], method))
        for group in range(rdm_folds):
            tested = fold_of_rdm == group
            fits = ~tested if rdm_folds > 1 else tested
            train_all = in_train & ~np.isnan(stack[fits]).any(axis=0)
            tested = tested & has[fold]
            for number, (model, part) in enumerate(zip(named.values(), parts, strict=True)):
                if model.fitted and not train_all.any():
                    raise UserError("no entry is in all RDMs that models are fitted to: too many are missing", "data")
                weights = _fit(model, part[:, train_all], stack[fits][:, train_all], method)
                predicted = weights @ part[:, in_test]
                score = compared(predicted[None], stack[tested][:, in_test], method)[0]
                scores[number, tested] += score / has[:, tested].sum(axis=0)
    bounded = [(one.lower, one.upper) for one in limits if one is not None]
    # Of as few stimuli as the scores are.
    mean = Ceiling(*np.mean(bounded, axis=0).tolist()) if bounded else None
    return Evaluation(tuple(named), method, scores, mean)


def bootstrap(
    models: Models,
    data: ArrayLike,
    method: str = "pearson",
    over: Over = "both",
    resamples: int = 1000,
    rdm_folds: int = 1,
    stimulus_folds: int = 1,
    seed: int = 0,
) -> Evaluation:
    """Scores of models in resamples of the stimuli, of the subjects, or of both.

    For Pearson and cosine all resamples are products of matrices (resampling.moments); for others each resample is
    made. A resample has two different subjects and three different stimuli or more (six with folds); pairs of a
    stimulus with its own copy are left out. With folds, each resample is cross-validated over the different stimuli and
    subjects in it, with fewer folds where they are too few. Of data with missing entries each resample is made, without
    folds; a subject that has nothing left in one is left out of it.

    Args:
        models: as for evaluate.
        data: upper triangles of RDMs, (k, m), k >= 3 unless over stimuli.
        method: as for evaluate; fitted models need Pearson or cosine.
        over: of the three. Over both, the variance is corrected for counting noise twice (significance.py).
        resamples: how many, at least 2.
        rdm_folds: as for evaluate.
        stimulus_folds: as for evaluate.
        seed: of the draws and the folds.

    Returns:
        As evaluate, with what was drawn.

    Raises:
        UserError: as evaluate; a comparison that needs a whole matrix, over stimuli.

    Source: Schutt, Kipnis, Diedrichsen & Kriegeskorte, eLife 12:e82566 (2023).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> truth = rng.random(45)
        >>> data = truth + rng.random((5, 45))
        >>> found = bootstrap({"true": truth, "other": rng.random(45)}, data, resamples=200)
        >>> low, high = found.intervals()[0]
        >>> bool(low < found.means[0] < high)
        True
    """
    refuse_unknown([over], ["both", "rdms", "stimuli"], "there is no bootstrap over", "over")
    whole(resamples, "resamples", 2, "a spread needs at least 2 resamples")
    named = as_models(models)
    stack, parts = _checked(named, data, method, rdm_folds, stimulus_folds)
    if method not in DIRECT and (rdm_folds > 1 or stimulus_folds > 1):
        raise UserError(f"resamples are cross-validated with pearson or cosine (got {method})")
    if over != "rdms" and method in WHOLE:
        raise UserError(f"'{method}' needs the whole matrix, which a resample of stimuli has not: bootstrap over rdms")
    point = evaluate(named, data, method, rdm_folds, stimulus_folds, seed)
    rng = generator(seed)
    n, subjects = stimuli_of(stack.shape[1]), len(stack)
    gaps = bool(np.isnan(stack).any())
    if rdm_folds > 1 or stimulus_folds > 1:
        if gaps:
            raise UserError("resamples are cross-validated with whole RDMs, some entries are missing (NaN)", "data")
        made = Folded(list(named.values()), parts, stack, method, rdm_folds, stimulus_folds, rng)
    else:
        made = (Direct if method in DIRECT and not gaps else Made)(parts, stack, method)
    # Each takes back what it prepared.
    sampler = cast(Sampler, made)
    if over != "stimuli" and subjects < 3:
        raise UserError(f"RDMs: at least 3 are needed to resample (got {subjects}); bootstrap over stimuli")
    least = LEAST if stimulus_folds == 1 else 2 * LEAST
    stimuli = draw(n, resamples, rng, least, "stimuli: ") if over != "rdms" else np.ones((1, n))
    drawn = draw(subjects, resamples, rng, 2) if over != "stimuli" else np.ones((1, subjects))
    prepared = sampler.prepare(stimuli)
    draws = {over: sampler.score(prepared, drawn)}
    if over == "both":
        draws["stimuli"] = sampler.score(prepared, np.ones((1, subjects)))
        draws["rdms"] = sampler.score(sampler.prepare(np.ones((1, n))), drawn)
    return Evaluation(tuple(named), method, point.scores, point.ceiling, draws, n)


def _checked(
    models: Mapping[str, Fixed], data: ArrayLike, method: str, rdm_folds: int, stimulus_folds: int
) -> tuple[Matrix, list[Matrix]]:
    """The data, and the RDMs of each model, as moderate numbers."""
    refuse_unknown([method], list(compare.METHODS), "there is no comparison", "method")
    check_ceiling(method)
    stack, _ = compare.stacks(as_stack(data, "data"), None)
    if (flat := constant(stack, method)).any():
        raise UserError(f"RDM {int(np.argmax(flat))} of the data is constant: its correlation is undefined")
    parts = []
    for name, model in models.items():
        try:
            # Models are of the stimuli of the data, and of each other's.
            for other in (data, *(models[before].given for before in list(models)[: len(parts)])):
                check_together(_of_any_measure(model.given), _of_any_measure(other))
            part, _ = compare.stacks(model.rdms, stack)
        except UserError as error:
            raise UserError(f"model '{name}': {error}") from error
        if constant(part, method).any():
            raise UserError(f"model '{name}' has an RDM that is constant: its correlation is undefined")
        parts.append(_moderate(part))
    n, subjects = stimuli_of(stack.shape[1]), len(stack)
    if not isinstance(rdm_folds, (int, np.integer)) or not 1 <= rdm_folds <= subjects:
        raise UserError(f"1 to {subjects} folds of the RDMs (got {rdm_folds})")
    if not isinstance(stimulus_folds, (int, np.integer)) or not 1 <= stimulus_folds <= n // LEAST:
        raise UserError(f"1 to {n // LEAST} folds of {n} stimuli, {LEAST} in each (got {stimulus_folds})")
    if rdm_folds == stimulus_folds == 1:
        for name, model in models.items():
            if model.fitted:
                raise UserError(f"model '{name}' is fitted: give rdm_folds or stimulus_folds, or it is scored on that")
    return _moderate(stack), parts


def _of_any_measure(rdms: ArrayLike) -> ArrayLike:
    """A model may be of another measure than the data."""
    return rdms.relabelled(None) if isinstance(rdms, RDMs) else rdms


def _ceiling(stack: Matrix, method: str) -> Ceiling | None:
    """Of RDMs some of which may be constant, as parts of RDMs are."""
    kept = stack[~constant(stack, method)]
    return ceiling(kept, method) if len(kept) > 1 else None


def _moderate(stack: Matrix) -> Matrix:
    return stack / np.fmax.reduce(np.abs(stack), axis=1, keepdims=True)


def _fit(model: Fixed, part: Matrix, data: Matrix, method: str) -> Matrix:
    """Weights of the RDMs of a model from training data; RDMs that are constant there are left out."""
    if type(model) is Selected:
        return np.eye(len(part))[int(np.argmax(compared(part, data, method).mean(axis=1)))]
    data = data[~constant(data, method)]
    if not len(data):
        return np.zeros(len(part)) if model.fitted else model.fit(np.eye(1), np.ones(1))
    if not method.startswith("cosine"):
        part, data = (one - one.mean(axis=1, keepdims=True) for one in (part, data))
    target = (data / np.linalg.norm(data, axis=1, keepdims=True)).mean(axis=0)
    return model.fit(part @ part.T, part @ target)
