"""Distances by the precision of noise, against loops over pairs, folds and channels."""

import itertools

import numpy as np
import pytest
import torch

from orthotrace.analysis.rdm import noise
from orthotrace.analysis.rdm.dissimilarity import squared_euclidean
from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.analysis.rdm.whitened import crossnobis, mahalanobis
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 12)) @ RNG.standard_normal((12, 40)) + 1


def naive(measure, x):
    return np.array([measure(x[i], x[j]) for i in range(len(x)) for j in range(i + 1, len(x))])


def residuals(count=80):
    return RNG.standard_normal((count, 40)) @ (np.eye(40) + 0.3 * RNG.standard_normal((40, 40)))


def test_mahalanobis_against_a_naive_loop():
    p = noise.precision(residuals())
    found = mahalanobis(X, p)
    assert np.allclose(found, naive(lambda a, b: (a - b) @ p @ (a - b) / 40, X), rtol=1e-9)
    assert np.allclose(mahalanobis(X, np.eye(40)), squared_euclidean(X, per_feature=True))
    with pytest.raises(UserError, match="precision of 40 x 40"):
        mahalanobis(X, np.eye(39))
    with pytest.raises(UserError, match="not positive definite"):
        mahalanobis(X, -np.eye(40))


def test_crossnobis_against_a_naive_loop():
    conditions, folds = np.tile(np.arange(5), 6), np.repeat([0, 1, 2], 10)
    x = RNG.standard_normal((30, 40)) + X[conditions]
    p = noise.precision(residuals())
    expected = []
    for i in range(5):
        for j in range(i + 1, 5):
            values = []
            for fold in range(3):
                here, there = folds == fold, folds != fold
                a = x[here & (conditions == i)].mean(0) - x[here & (conditions == j)].mean(0)
                b = x[there & (conditions == i)].mean(0) - x[there & (conditions == j)].mean(0)
                values.append(a @ p @ b / 40)
            expected.append(np.mean(values))
    assert np.allclose(crossnobis(x, conditions, folds, p), expected, rtol=1e-9)
    names = np.array(list("abcde"))[conditions]
    assert np.allclose(crossnobis(x, names, folds.astype(str), p), expected, rtol=1e-9)
    with pytest.raises(UserError, match="at least three conditions and two folds"):
        crossnobis(x, conditions, np.zeros(30))
    with pytest.raises(UserError, match="give one of each"):
        crossnobis(x, conditions[:-1], folds)


def test_labels_in_a_column_are_refused():
    with pytest.raises(UserError, match="give one of each"):
        crossnobis(np.eye(6), conditions=[[0], [0], [1], [1], [2], [2]], folds=[0, 1] * 3)


# Five conditions in four runs; run "b" lacks condition 3, "c" has each once, "d" lacks 0 and 3.
RUNS = np.array(["a"] * 10 + ["b"] * 8 + ["c"] * 5 + ["d"] * 6)
CONDITIONS = np.array([*[0, 1, 2, 3, 4] * 2, *[0, 1, 2, 4] * 2, 0, 1, 2, 3, 4, *[1, 2, 4] * 2])
Y = X[:5, :7][CONDITIONS] + RNG.standard_normal((29, 7))
PAIRS = list(itertools.combinations(range(5), 2))


def definite(p):
    return (lambda a: a @ a.T / (p + 3))(RNG.standard_normal((p, p + 3)))


PRECISIONS = {run: definite(7) for run in "abcd"}


def of_runs(x, p, i, j, runs):
    """Each run that has both against all others that do, by loops."""
    has = [run for run in "abcd" if all(((run == runs) & (one == CONDITIONS)).any() for one in (i, j))]
    if len(has) < 2:
        return np.nan
    values = []
    for run in has:
        here, there = run == runs, np.isin(runs, has) & (run != runs)
        a, b = (x[part & (i == CONDITIONS)].mean(0) - x[part & (j == CONDITIONS)].mean(0) for part in (here, there))
        values.append(a @ p @ b / x.shape[1])
    return np.mean(values)


def of_pairs(x, precisions, i, j):
    """All pairs of runs in the channels that both have of both conditions, by loops."""
    values = []
    for f, g in itertools.combinations("abcd", 2):
        means = {}
        for run, one in itertools.product((f, g), (i, j)):
            part = x[(run == RUNS) & (one == CONDITIONS)]
            has = (~np.isnan(part)).any(0)
            means[run, one] = np.array([part[~np.isnan(part[:, c]), c].mean() if has[c] else np.nan for c in range(7)])
        first, second = means[f, i] - means[f, j], means[g, i] - means[g, j]
        c = ~np.isnan(first) & ~np.isnan(second)
        if c.any():
            covariance = (np.linalg.inv(precisions[f]) + np.linalg.inv(precisions[g])) / 2
            values.append(first[c] @ np.linalg.inv(covariance[np.ix_(c, c)]) @ second[c] / c.sum())
    return np.mean(values) if values else np.nan


@pytest.mark.parametrize("precision", [None, definite(7)], ids=["identity", "precision"])
@pytest.mark.parametrize("kept", [np.ones(29, dtype=bool), RUNS != "c"], ids=["all have two", "3 is in one run"])
def test_a_run_that_lacks_a_condition(precision, kept):
    runs = np.where(kept, RUNS, "")
    right = [of_runs(Y, np.eye(7) if precision is None else precision, *pair, runs) for pair in PAIRS]
    found = crossnobis(Y[kept], CONDITIONS[kept], RUNS[kept], precision)
    assert np.isnan(right).any() == (not kept.all())
    assert np.allclose(found, right, rtol=0, atol=1e-10, equal_nan=True)
    told = RDMs.of(Y[kept], crossnobis, conditions=CONDITIONS[kept], folds=RUNS[kept], precision=precision)
    assert np.array_equal(told.dissimilarities[0], found, equal_nan=True)
    assert ("4 entries missing" in repr(told)) == (not kept.all())


def test_what_a_run_without_a_condition_measures_is_unbiased():
    """The mean over repetitions is the true distance, as that of whole runs is."""
    truth, runs = RNG.standard_normal((3, 4)), np.repeat(range(4), 3)
    conditions = np.tile(range(3), 4)
    kept = ~((runs == 1) & (conditions == 2)) & ~((runs == 3) & (conditions == 0))
    rng = np.random.default_rng(1)
    found = [
        crossnobis(truth[conditions[kept]] + rng.standard_normal((kept.sum(), 4)), conditions[kept], runs[kept])
        for _ in range(150)
    ]
    error = np.std(found, axis=0) / np.sqrt(len(found))
    assert (np.abs(np.mean(found, 0) - squared_euclidean(truth, per_feature=True)) < 4 * error).all()


@pytest.mark.parametrize("given", ["names", "list", "array", "tensors"])
def test_a_precision_of_each_run(given):
    right = [of_pairs(Y, PRECISIONS, *pair) for pair in PAIRS]
    precision = {
        "names": dict(reversed(PRECISIONS.items())), "list": list(PRECISIONS.values()),
        "array": np.stack(list(PRECISIONS.values())), "tensors": {k: torch.tensor(p) for k, p in PRECISIONS.items()},
    }[given]  # fmt: skip
    assert np.allclose(crossnobis(Y, CONDITIONS, RUNS, precision), right, rtol=0, atol=1e-10)


def test_the_same_precision_of_each_run_is_that_of_all():
    p, whole = PRECISIONS["a"], np.flatnonzero(RUNS != "d")
    x, conditions, runs = Y[whole][:18], CONDITIONS[whole][:18], RUNS[whole][:18]
    found = crossnobis(x, conditions, runs, dict.fromkeys("ab", p))
    assert np.allclose(found, crossnobis(x, conditions, runs, p), rtol=0, atol=1e-10, equal_nan=True)


GAPS = Y.copy()
# A run without two channels, single measurements without one, a condition that has one channel in one run alone.
GAPS[np.ix_(RUNS == "b", [1, 4])] = np.nan
GAPS[[0, 3, 20], [2, 2, 6]] = np.nan
GAPS[np.ix_(CONDITIONS == 3, [0])] = np.nan


@pytest.mark.parametrize("precision", ["identity", "one", "of runs"])
def test_missing_channels_of_measurements(precision):
    precisions = {"identity": dict.fromkeys("abcd", np.eye(7)), "one": dict.fromkeys("abcd", PRECISIONS["a"])}
    given = {"identity": None, "one": PRECISIONS["a"]}
    right = [of_pairs(GAPS, precisions.get(precision, PRECISIONS), *pair) for pair in PAIRS]
    found = crossnobis(GAPS, CONDITIONS, RUNS, given.get(precision, PRECISIONS), missing=True)
    assert np.allclose(found, right, rtol=0, atol=1e-10)
    scaled = crossnobis(1e100 * GAPS, CONDITIONS, RUNS, given.get(precision, PRECISIONS), missing=True)
    assert np.allclose(scaled / 1e200, right, rtol=1e-9)
    with pytest.raises(UserError, match="measurements: the pattern of stimulus 0 is not finite"):
        crossnobis(GAPS, CONDITIONS, RUNS)


@pytest.mark.parametrize("scale", [1e-120, 1e120])
@pytest.mark.parametrize("rows", [Y, GAPS], ids=["whole", "gaps"])
@pytest.mark.parametrize("precision", [PRECISIONS["a"], PRECISIONS], ids=["one", "of runs"])
def test_units_of_patterns_and_of_precisions_cancel(rows, precision, scale):
    """Also where squares, and products of both, are no numbers."""
    of_units = {k: p / scale**2 for k, p in precision.items()} if precision is PRECISIONS else precision / scale**2
    right = mahalanobis(rows, precision, folds=RUNS, missing=True)
    assert np.allclose(mahalanobis(scale * rows, of_units, folds=RUNS, missing=True), right, rtol=1e-9)


def test_channels_that_may_be_missing_and_are_not_change_nothing():
    assert np.array_equal(crossnobis(Y, CONDITIONS, RUNS, missing=True), crossnobis(Y, CONDITIONS, RUNS))
    p = PRECISIONS["a"]
    assert np.array_equal(mahalanobis(Y, p, missing=True), mahalanobis(Y, p))


@pytest.mark.parametrize("folds", [None, RUNS], ids=["one", "of runs"])
@pytest.mark.parametrize("x", [Y, GAPS], ids=["whole", "missing"])
def test_mahalanobis_by_the_channels_and_the_runs_of_two_patterns(folds, x):
    right = []
    for i, j in itertools.combinations(range(29), 2):
        of = [PRECISIONS["a"]] if folds is None else [PRECISIONS[RUNS[i]], PRECISIONS[RUNS[j]]]
        c = ~np.isnan(x[i]) & ~np.isnan(x[j])
        p = np.linalg.inv(np.mean([np.linalg.inv(one) for one in of], axis=0)[np.ix_(c, c)])
        difference = (x[i] - x[j])[c]
        right.append(difference @ p @ difference / c.sum())
    given = PRECISIONS["a"] if folds is None else PRECISIONS
    assert np.allclose(mahalanobis(x, given, folds=folds, missing=True), right, rtol=1e-10, atol=1e-10)
    if x is GAPS:
        with pytest.raises(UserError, match="is not finite"):
            mahalanobis(x, given, folds=folds)


def test_a_precision_of_each_time_point():
    times = {"0 ms": Y, "100 ms": Y**2}
    of_times = {"100 ms": PRECISIONS["a"], "0 ms": PRECISIONS["b"]}
    found = RDMs.of(times, mahalanobis, precision=of_times)
    right = [mahalanobis(Y, PRECISIONS["b"]), mahalanobis(Y**2, PRECISIONS["a"])]
    assert np.array_equal(found.dissimilarities, right)
    listed = RDMs.of([Y, Y**2], mahalanobis, precision=[PRECISIONS["b"], PRECISIONS["a"]])
    assert np.array_equal(listed.dissimilarities, right)
    how = {"conditions": CONDITIONS, "folds": RUNS}
    right = [crossnobis(Y, precision=PRECISIONS["b"], **how), crossnobis(Y**2, precision=PRECISIONS["a"], **how)]
    assert np.array_equal(RDMs.of(times, crossnobis, precision=of_times, **how).dissimilarities, right)
    both = {"0 ms": PRECISIONS, "100 ms": PRECISIONS["a"]}
    right = [crossnobis(Y, precision=PRECISIONS, **how), crossnobis(Y**2, precision=PRECISIONS["a"], **how)]
    assert np.array_equal(RDMs.of(times, crossnobis, precision=both, **how).dissimilarities, right)
    every = RDMs.of(times, crossnobis, precision=PRECISIONS, **how).dissimilarities
    assert np.array_equal(every[0], right[0])


HOW = {"conditions": CONDITIONS, "folds": RUNS}
BAD = {
    "missing": (lambda: crossnobis(Y, **HOW, precision={r: np.eye(7) for r in "abc"}), "precision: none of fold 'd'"),
    "extra": (lambda: crossnobis(Y, **HOW, precision={r: np.eye(7) for r in "abcde"}), "'e' is no fold; the folds are"),
    "other": (lambda: crossnobis(Y, **HOW, precision={"x": np.eye(7)}), "none of fold 'a' and 'x' is no fold"),
    "no folds": (lambda: mahalanobis(Y, PRECISIONS), "precision: a precision of each fold needs folds"),
    "number": (lambda: crossnobis(Y, **HOW, precision=[np.eye(7)] * 3), "3 precisions of 4 folds"),
    "list, no folds": (lambda: mahalanobis(Y, [np.eye(7)] * 3), "3 precisions of 0 folds"),
    "shape": (lambda: crossnobis(Y, **HOW, precision={**PRECISIONS, "b": np.eye(6)}), r"precision\['b'\]: a symmetric"),
    "kind": (lambda: crossnobis(Y, **HOW, precision={**PRECISIONS, "b": "x"}), r"precision\['b'\]: real numbers"),
    "negative": (lambda: crossnobis(Y, **HOW, precision={**PRECISIONS, "b": -np.eye(7)}), "not positive definite"),
    "time": (lambda: RDMs.of({"0": Y}, mahalanobis, precision={"1": np.eye(7)}), "none of representation '0' and '1'"),
    "times": (lambda: RDMs.of([Y, Y], mahalanobis, precision=[np.eye(7)] * 3), "3 precisions of 2 representations"),
    "both": (
        lambda: RDMs.of(dict.fromkeys("abcd", Y), crossnobis, precision=PRECISIONS, **HOW),
        "folds and representations have the same names",
    ),
    "no pair": (lambda: crossnobis(np.eye(6), [0, 1, 2, 3, 4, 5], [0, 1] * 3), "no two conditions are in two folds"),
    "no channel": (
        lambda: crossnobis(np.where(RUNS[:, None] == "a", Y, np.nan), **HOW, missing=True), "nothing to cross-validate"
    ),
    "infinite": (lambda: crossnobis(np.where(GAPS > 1, np.inf, GAPS), **HOW, missing=True), "is not finite"),
    "apart": (
        lambda: mahalanobis(np.where(np.eye(3) > 0, 1.0, np.nan), np.eye(3), missing=True), "no two patterns can be compared"
    ),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_refused_by_name(bad):
    call, line = BAD[bad]
    with pytest.raises(UserError, match=line):
        call()
