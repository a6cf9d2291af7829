"""Scores of models, against loops that cut the RDMs apart and put them together."""

import numpy as np
import pytest
from scipy.optimize import nnls

from orthotrace.analysis import inference
from orthotrace.analysis.inference import Selected, Weighted, bootstrap, evaluate
from orthotrace.analysis.inference.ceilings import POOLS, ceiling
from orthotrace.analysis.inference.samplers import Direct, Folded, Made
from orthotrace.analysis.rdm import compare
from orthotrace.analysis.rdm.dissimilarity import squared_euclidean
from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
N = 15
PARTS = np.stack([squared_euclidean(RNG.standard_normal((N, 5))) for _ in range(4)])
DATA = np.stack([np.abs(PARTS[0] + 0.6 * PARTS[1] + 3 * RNG.standard_normal(PARTS.shape[1])) for _ in range(6)])
FIXED = {"first": PARTS[0], "second": PARTS[1], "other": PARTS[3]}
FITTED = {"fixed": PARTS[0], "best": Selected(PARTS[1:]), "sum": Weighted(PARTS)}


@pytest.mark.parametrize("method", POOLS)
def test_scores_of_fixed_models_are_comparisons(method):
    found = evaluate(FIXED, DATA, method)
    expected = compare.METHODS[method](np.stack(list(FIXED.values())), DATA)
    assert np.allclose(found.scores, expected, atol=1e-12)
    assert found.models == ("first", "second", "other")
    bounds = ceiling(DATA, method)
    assert (found.ceiling.lower, found.ceiling.upper) == pytest.approx((bounds.lower, bounds.upper), abs=1e-12)


@pytest.mark.parametrize("method", ["pearson", "cosine", "spearman", "corr_cov", "cosine_cov"])
@pytest.mark.parametrize(("rdm_folds", "stimulus_folds"), [(3, 1), (1, 3), (2, 2), (6, 5)])
def test_cross_validation_against_a_loop(method, rdm_folds, stimulus_folds):
    found = evaluate(FITTED, DATA, method, rdm_folds, stimulus_folds, seed=4)
    rng = np.random.default_rng(4)

    def drawn(things, folds):
        if folds == 1:
            return np.zeros(things, int)
        fold = np.empty(things, int)
        fold[rng.permutation(things)] = np.arange(things) % folds
        return fold

    subjects, stimuli = drawn(6, rdm_folds), drawn(N, stimulus_folds)
    matrices = [RDMs(one).matrices()[0] for one in (*PARTS, *DATA)]
    scores = np.zeros((3, 6))
    for fold in range(stimulus_folds):
        test = np.flatnonzero(stimuli == fold)
        train = np.flatnonzero(stimuli != fold) if stimulus_folds > 1 else test
        cut = lambda one, at: one[np.ix_(at, at)][np.triu_indices(len(at), 1)]  # noqa: E731
        for k in range(6):
            fitted = [4 + s for s in range(6) if rdm_folds == 1 or subjects[s] != subjects[k]]
            x, y = (np.stack([cut(matrices[i], train) for i in which]) for which in (range(4), fitted))
            best = 1 + np.argmax(compare.METHODS[method](x[1:], y).mean(1))
            if not method.startswith("cosine"):
                x, y = (one - one.mean(1, keepdims=True) for one in (x, y))
            target = np.mean([one / np.linalg.norm(one) for one in y], axis=0)
            weights, _ = nnls(x.T, target)
            made = [matrices[0], matrices[best], sum(w * m for w, m in zip(weights, matrices[:4], strict=True))]
            for number, one in enumerate(made):
                score = compare.METHODS[method](cut(one, test)[None], cut(matrices[4 + k], test)[None])[0, 0]
                scores[number, k] += score / stimulus_folds
    assert np.allclose(found.scores, scores, atol=1e-9)


@pytest.mark.parametrize("method", ["corr_cov", "cosine_cov"])
def test_the_ceiling_of_a_resample_by_whitened_comparisons(method):
    """Of a subject that comes twice both copies are left out, and count once."""
    sampler = Made([PARTS[:1]], DATA, method)
    (whole,) = sampler.score(np.ones((1, N)), np.ones((1, 6)))
    limits = ceiling(DATA, method)
    assert whole[1:] == pytest.approx([limits.lower, limits.upper], abs=1e-12)
    (found,) = sampler.score(np.ones((1, N)), np.array([[2, 1, 0, 0, 0, 1.0]]))
    three = DATA[[0, 1, 5]]
    similar = compare.METHODS[method](three)

    def pooled(weights):
        return similar @ weights / np.sqrt(weights @ similar @ weights)

    lower = [pooled(np.array(weights))[at] for at, weights in enumerate([(0, 1, 1), (2, 0, 1), (2, 1, 0)])]
    assert found[1:] == pytest.approx([np.mean(lower), pooled(np.array([2, 1, 1])).mean()], abs=1e-12)


def categorical(labels, same=0.0, other=1.0):
    """Two values, as of a model of categories: constant in many a resample."""
    labels = np.array(labels)
    rows, columns = np.triu_indices(len(labels), 1)
    return np.where(labels[rows] == labels[columns], same, other)


KINDS = {
    "numbers": (list(FIXED.values()), DATA),
    "categories": (
        [categorical([0, 0, 0, 1, 1, 1, 1], other=0.7), categorical([0, 1, 1, 1, 1, 1, 1])],
        np.stack(
            [
                categorical([0, 0, 0, 1, 1, 1, 1]),
                categorical([0, 0, 0, 0, 1, 1, 1], 0.1, 0.3),
                categorical([0, 0, 0, 1, 1, 2, 2], 5.0, 5.1),
                categorical([1, 1, 0, 1, 1, 0, 0], 0.3),
            ]
        ),
    ),
}


@pytest.mark.parametrize("method", ["pearson", "cosine"])
@pytest.mark.parametrize("kind", KINDS)
def test_direct_resamples_are_those_that_are_made(kind, method):
    from orthotrace.analysis.inference.resampling import draw

    models, data = KINDS[kind]
    parts = [one[None] for one in models]
    n = N if kind == "numbers" else 7
    stimuli, subjects = draw(n, 60, RNG, 3), draw(len(data), 60, RNG, 2)
    direct, made = (sampler(parts, data, method) for sampler in (Direct, Made))
    for drawn in (subjects, np.ones((1, len(data)))):
        pairs = [sampler.score(sampler.prepare(stimuli), drawn) for sampler in (direct, made)]
        assert np.allclose(*pairs, atol=1e-12)


def test_a_fitted_model_whose_sum_is_constant_predicts_nothing():
    """Also in resamples in which its parts are not."""

    class Sum(Selected):
        def fit(self, products, with_data):
            return np.ones(2)

    models, data = KINDS["categories"]
    found = bootstrap({"sum": Sum([models[0], 0.7 - models[0]])}, data, resamples=50, rdm_folds=2)
    assert (found.scores == 0).all() and all((drawn[:, 0] == 0).all() for drawn in found.draws.values())


def test_a_folded_resample_against_a_loop():
    stimuli, subjects = np.array([[2, 0, 1, 1, 3, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0.0]]), np.array([[1, 2, 0, 1, 1, 1.0]])
    sampler = Folded([FITTED["sum"]], [PARTS], DATA, "pearson", 2, 2, np.random.default_rng(0))
    prepared = sampler.prepare(stimuli)
    found = sampler.score(prepared, subjects)[0, 0]
    rng = np.random.default_rng(0)
    at = np.repeat(np.arange(N), stimuli[0].astype(int))
    there, drawn = np.flatnonzero(stimuli[0]), np.flatnonzero(subjects[0])
    fold_of = np.full(N, -1)
    order = rng.permutation(len(there))
    fold_of[there[order]] = np.arange(len(there)) % 2
    subject_fold = np.full(6, -1)
    order = rng.permutation(len(drawn))
    subject_fold[drawn[order]] = np.arange(len(drawn)) % 2
    matrices = [RDMs(one).matrices()[0] for one in (*PARTS, *DATA)]

    def pairs(one, fold, same):
        kept = [a for a in at if (fold_of[a] == fold) == same]
        return np.array([one[a, b] for i, a in enumerate(kept) for b in kept[i + 1 :] if a != b])

    total = 0.0
    for fold in range(2):
        for group in range(2):
            x = np.stack([pairs(one, fold, False) for one in matrices[:4]])
            chosen = [k for k in drawn for _ in range(int(subjects[0, k])) if subject_fold[k] != group]
            y = np.stack([pairs(matrices[4 + k], fold, False) for k in chosen])
            x, y = (one - one.mean(1, keepdims=True) for one in (x, y))
            weights, _ = nnls(x.T, np.mean([one / np.linalg.norm(one) for one in y], axis=0))
            predicted = sum(w * pairs(one, fold, True) for w, one in zip(weights, matrices[:4], strict=True))
            for k in drawn[subject_fold[drawn] == group]:
                total += subjects[0, k] * np.corrcoef(predicted, pairs(matrices[4 + k], fold, True))[0, 1]
    assert found == pytest.approx(total / 2 / subjects.sum(), abs=1e-9)


@pytest.mark.parametrize("over", ["stimuli", "rdms", "both"])
@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_a_bootstrap_is_repeatable_and_about_the_scores(over, method):
    found, again = (bootstrap(FIXED, DATA, method, over, resamples=60, seed=3) for _ in range(2))
    assert set(found.draws) == ({"both", "rdms", "stimuli"} if over == "both" else {over})
    for kind, values in found.draws.items():
        assert np.array_equal(values, again.draws[kind]) and values.shape == (60, 5) and np.isfinite(values).all()
        assert np.allclose(values[:, :3].mean(0), found.means, atol=0.1)
    other = bootstrap(FIXED, DATA, method, over, resamples=60, seed=4)
    assert not np.array_equal(other.draws[over], found.draws[over])


def test_a_bootstrap_of_fitted_models_is_cross_validated():
    found = bootstrap(FITTED, DATA, over="both", resamples=40, rdm_folds=2, stimulus_folds=2)
    assert found.draws["both"].shape == (40, 5) and np.isfinite(found.draws["both"]).all()
    assert np.array_equal(found.scores, evaluate(FITTED, DATA, "pearson", 2, 2).scores)


def test_whitened_comparisons_over_subjects():
    found = bootstrap(FIXED, DATA, "corr_cov", "rdms", resamples=30)
    assert np.isfinite(found.draws["rdms"]).all()


def test_one_subject_has_no_ceiling():
    assert evaluate(FITTED, DATA[:1], stimulus_folds=3).ceiling is None
    found = bootstrap(FIXED, DATA[:1], over="stimuli", resamples=30)
    assert found.ceiling is None and found.degrees == N - 1 and found.compare("t").ceiling is None


IMAGES = {"image": np.arange(N)}
OTHER = {"image": np.arange(N)[::-1]}
BAD = {
    "method": (lambda: evaluate(FIXED, DATA, "pearsn"), "no comparison 'pearsn'; did you mean 'pearson'"),
    "no ceiling": (lambda: evaluate(FIXED, DATA, "bures"), "no noise ceiling for 'bures'"),
    "size": (lambda: evaluate({"a": PARTS[0][:10]}, DATA), "model 'a': RDMs of one size"),
    "order": (
        lambda: evaluate({"a": inference.Fixed(RDMs(PARTS[:1], None, IMAGES))}, RDMs(DATA, None, OTHER)),
        "model 'a': the RDMs are of other stimuli",
    ),
    "constant model": (lambda: evaluate({"a": np.ones(105)}, DATA), "model 'a' has an RDM that is constant"),
    "constant data": (lambda: evaluate(FIXED, np.vstack([DATA, np.ones(105)])), "RDM 6 of the data is constant"),
    "infinite": (lambda: evaluate(FIXED, np.where(DATA[0, 0] == DATA, np.inf, DATA)), "data: RDM 0 has entries"),
    "missing": (lambda: evaluate(FIXED, np.where(np.arange(6)[:, None] == 2, np.nan, DATA)), "RDM 2 has no entries"),
    "folds, missing": (
        lambda: bootstrap(FITTED, np.where(DATA[0, 0] == DATA, np.nan, DATA), rdm_folds=2),
        "needs? whole RDMs|whole RDMs",
    ),
    "fitted": (lambda: evaluate(FITTED, DATA), "model 'best' is fitted: give rdm_folds"),
    "folds": (lambda: evaluate(FITTED, DATA, rdm_folds=7), r"1 to 6 folds of the RDMs \(got 7\)"),
    "few stimuli": (lambda: evaluate(FITTED, DATA, stimulus_folds=6), "1 to 5 folds of 15 stimuli"),
    "over": (lambda: bootstrap(FIXED, DATA, over="patterns"), "no bootstrap over 'patterns'"),
    "whole": (lambda: bootstrap(FIXED, DATA, "corr_cov"), "needs the whole matrix"),
    "one": (
        lambda: bootstrap(FIXED, DATA[:1], over="both"),
        "RDMs: at least 3 are needed to resample .* bootstrap over stimuli",
    ),
    "slow": (lambda: bootstrap(FITTED, DATA, "spearman", rdm_folds=2), "with pearson or cosine"),
}


@pytest.mark.parametrize("bad", BAD)
def test_refused_by_name(bad):
    call, line = BAD[bad]
    with pytest.raises(UserError, match=line):
        call()


@pytest.mark.parametrize("folds", [(6, 1), (5, 2)])
def test_many_folds_leave_the_resamples_to_chance(folds):
    """A resample has as many folds as it has different subjects; none is drawn until all come."""
    plain = bootstrap({"a": PARTS[0]}, DATA, over="rdms", resamples=200).errors[0]
    found = bootstrap(FITTED, DATA, over="rdms", resamples=60, rdm_folds=folds[0], stimulus_folds=folds[1])
    # Scores of fewer stimuli spread more.
    assert 0.5 * plain < found.errors[0] < (2.5 if folds[1] == 1 else 6) * plain
    assert np.isfinite(found.draws["rdms"]).all()


def test_as_many_stimulus_folds_as_there_may_be():
    found = bootstrap(FITTED, DATA, over="stimuli", resamples=20, stimulus_folds=5)
    assert np.isfinite(found.draws["stimuli"]).all() and found.draws["stimuli"][:, 0].std() > 0


def test_the_ceiling_is_that_of_as_few_stimuli_as_the_scores():
    rng = np.random.default_rng(3)
    above = []
    for seed in range(20):
        truth = squared_euclidean(rng.standard_normal((20, 5)))
        data = truth + truth.std() * rng.standard_normal((6, 190))
        found = evaluate({"true": truth}, data, stimulus_folds=5, seed=seed)
        above.append(found.means[0] - found.ceiling.lower)
    assert np.mean(above) > 0


# Of so few stimuli a hundred resamples have some of one kind alone.
CATEGORIES = (lambda lab: (lab[:, None] != lab)[np.triu_indices(6, 1)].astype(float))(np.repeat([0, 1], 3))


@pytest.mark.parametrize("method", ["spearman", "tau_b", "squared_pearson", "pearson", "rho_a"])
def test_a_model_that_is_constant_in_a_resample_predicts_nothing_there(method):
    data = CATEGORIES + np.random.default_rng(0).random((5, 15))
    found = bootstrap({"kinds": CATEGORIES}, data, method, "stimuli", 100)
    assert np.isfinite(found.draws["stimuli"]).all()


@pytest.mark.parametrize("method", ["pearson", "cosine", "spearman"])
def test_data_that_are_constant_in_a_fold_tell_nothing_there(method):
    tied = np.round(np.random.default_rng(0).random((6, 66)) * 1.2)
    model = np.random.default_rng(1).random((3, 66))
    found = evaluate({"sum": Weighted(model), "best": Selected(model), "one": model[0]}, tied, method, 1, 4)
    assert np.isfinite(found.scores).all()


def test_a_sum_that_helps_nothing_predicts_nothing():
    assert Weighted(np.random.default_rng(0).random((2, 6))).fit(np.zeros((2, 2)), np.zeros(2)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: bootstrap(FIXED, DATA[:2], over="rdms"), "RDMs: at least 3 are needed to resample"),
        (lambda: bootstrap({"a": [1, 2, 3.0]}, [[1, 2, 4.0]] * 3, over="stimuli"), "stimuli: at least 5 are needed"),
        (lambda: bootstrap(FIXED, DATA, resamples=1), "a spread needs at least 2 resamples"),
        (lambda: evaluate(PARTS[0], DATA), "models come by name"),
    ],
)
def test_too_little_to_resample(call, line):
    with pytest.raises(UserError, match=line):
        call()


GAPS = DATA.copy()
GAPS[0, :9], GAPS[2, [3, 50, 77]], GAPS[4, RNG.random(105) < 0.4] = np.nan, np.nan, np.nan


def shared(method, model, row):
    there = ~np.isnan(row)
    return compare.METHODS[method](model[None, there], row[None, there])[0, 0]


@pytest.mark.parametrize("method", ["pearson", "spearman", "tau_b"])
def test_subjects_are_scored_on_the_entries_that_they_have(method):
    right = [[shared(method, model, row) for row in GAPS] for model in FIXED.values()]
    assert np.allclose(evaluate(FIXED, GAPS, method).scores, right, atol=1e-12)
    assert np.allclose(evaluate(FIXED, GAPS, method, rdm_folds=3).scores, right, atol=1e-12)
    assert np.allclose(evaluate(FIXED, GAPS, method).ceiling.upper, ceiling(GAPS, method).upper)


def test_a_subject_without_entries_in_a_fold_is_scored_in_the_others():
    fold_of = inference.evaluation.folds(N, 3, np.random.default_rng(1))
    rows, columns = np.triu_indices(N, 1)
    parts = [(fold_of[rows] == fold) & (fold_of[columns] == fold) for fold in range(3)]
    data = DATA.copy()
    data[5, parts[1]] = np.nan
    data[3, np.flatnonzero(parts[0])[:3]] = np.nan
    found = evaluate({"first": PARTS[0]}, data, stimulus_folds=3, seed=1).scores[0]
    right = [
        np.mean([shared("pearson", PARTS[0][at], row[at]) for at in parts if not np.isnan(row[at]).all()])
        for row in data
    ]
    assert np.allclose(found, right, atol=1e-12)
    data[5, parts[0] | parts[2]] = np.nan
    with pytest.raises(UserError, match="RDM 5 of the data has no two entries in any fold"):
        evaluate({"first": PARTS[0]}, data, stimulus_folds=3, seed=1)


def test_weights_are_fitted_to_the_entries_that_all_have():
    found = evaluate({"sum": Weighted(PARTS)}, GAPS, rdm_folds=6, seed=2).scores[0]
    for k, row in enumerate(GAPS):
        others = np.delete(GAPS, k, axis=0)
        there = ~np.isnan(others).any(axis=0)
        x, y = (one[:, there] - one[:, there].mean(1, keepdims=True) for one in (PARTS, others))
        weights, _ = nnls(x.T, np.mean([one / np.linalg.norm(one) for one in y], axis=0))
        assert found[k] == pytest.approx(shared("pearson", weights @ PARTS, row), abs=1e-9)
    split = np.where(np.arange(6)[:, None] % 2 == np.arange(105) % 2, DATA, np.nan)
    with pytest.raises(UserError, match="no entry is in all RDMs that models are fitted to"):
        evaluate({"sum": Weighted(PARTS)}, split, rdm_folds=2)


def test_resamples_of_rdms_that_miss_entries():
    found = bootstrap(FIXED, GAPS, resamples=4, seed=3)
    rng = np.random.default_rng(3)
    stimuli, subjects = (inference.resampling.draw(*one) for one in ((N, 4, rng, 3), (6, 4, rng, 2)))
    rows, columns = np.triu_indices(N, 1)
    for drawn, w, s in zip(found.draws["both"], stimuli, subjects, strict=True):
        times = (w[rows] * w[columns]).astype(int)
        for number, model in enumerate(FIXED.values()):
            scores = [shared("pearson", np.repeat(model, times), np.repeat(row, times)) for row in GAPS]
            assert drawn[number] == pytest.approx(s @ scores / s.sum(), abs=1e-10)
    # A subject of which a resample has nothing is left out of it.
    few = np.where(np.arange(6)[:, None] == 1, np.where(np.arange(105) < 2, DATA, np.nan), DATA)
    assert np.isfinite(bootstrap({"one": PARTS[0]}, few, "spearman", resamples=30).draws["stimuli"][:, 0]).all()
