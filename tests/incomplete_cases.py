"""Cases of what takes incomplete designs: missing channels, folds and entries, precisions of folds, parts, groups.

A name in brackets is a second way to call a function that has its own case. Only generated calls draw what is missing:
the kinds of arrays bring their own.
"""

from __future__ import annotations

from typing import Any

import array_oracles as oracle
import incomplete_oracles as incomplete
import numpy as np
from array_draws import Arrays, Case, Draw

from orthotrace.analysis import inference, rdm
from orthotrace.analysis.rdm import between, combine, compare, noise

CONDITIONS, FOLDS = np.tile([0, 1, 2], 4), np.repeat([0, 1], 6)
# A fold lacks a condition.
LACKING = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2])


def holes(d: Draw, x: np.ndarray, share: float = 0.2) -> np.ndarray:
    """An array some entries of which are missing, but for one of every kind."""
    if not d.plain:
        x[d.rng.random(x.shape) < share] = np.nan
    return x


def gaps(d: Draw) -> Arrays:
    return {"patterns": holes(d, d.array(d.n, d.p))}


def two(d: Draw) -> Arrays:
    return {"first": d.array(d.n, d.p), "second": d.array(4, d.p)}


def precisions(d: Draw) -> Arrays:
    return {"p": d.definite(d.p), "q": d.definite(d.p)}


def half(x: Any, labels: int = 2) -> np.ndarray:
    return np.arange(len(x)) % labels


def named(values: Any) -> rdm.RDMs:
    found = values if isinstance(values, rdm.RDMs) else rdm.RDMs(values)
    return rdm.RDMs(found.dissimilarities, None, {"image": np.arange(found.stimuli)})


def parts(d: Draw) -> Arrays:
    # By name, and so in any order: no two sets of the same stimuli.
    return {"rdms": np.abs(d.array(d.k, 10)), "others": np.abs(d.array(2, 10))}


def rdm_gaps(d: Draw) -> Arrays:
    return {"rdms": holes(d, np.abs(d.array(d.k, 15))), "others": holes(d, np.abs(d.array(2, 15)))}


BESIDE = {"norm_difference": "largest", **dict.fromkeys(("euclidean", "squared_euclidean", "cityblock"), "result")}
PATTERNS = ("correlation", "cosine", "euclidean", "squared_euclidean", "unit_euclidean", "norm_difference", "cityblock")
COMPARED = {
    "pearson": oracle.correlated, "squared_pearson": lambda a, b: oracle.correlated(a, b) ** 2,
    "cosine": lambda a, b: oracle.ratio((a * b).sum(), oracle.norm(a) * oracle.norm(b)),
    "spearman": lambda a, b: oracle.correlated(oracle.ranked(a), oracle.ranked(b)), "rho_a": oracle.rho_a,
    "tau_b": oracle.tau_b, "tau_a": oracle.tau_a,
}  # fmt: skip

INCOMPLETE: dict[str, Case] = {
    **{
        f"rdm.dissimilarity.{name} (missing)": Case(
            gaps, lambda patterns, name=name: getattr(rdm, name)(patterns, missing=True), incomplete.by_channels(name),
            undefined=True, missing=True, beside=BESIDE.get(name, "one"), tolerance=1e-9,
        )
        for name in PATTERNS
    },
    **{
        f"rdm.compare.{name} (missing)": Case(
            rdm_gaps, getattr(compare, name), incomplete.by_entries(score), missing=True,
        )
        for name, score in COMPARED.items()
    },
    **{
        f"rdm.compare.{name} (missing)": Case(
            rdm_gaps, getattr(compare, name), incomplete.by_covariance(name == "corr_cov"), missing=True,
        )
        for name in ("cosine_cov", "corr_cov")
    },
    "rdm.whitened.mahalanobis": Case(
        lambda d: {"patterns": d.array(d.n, d.p), "precision": d.definite(d.p)}, rdm.mahalanobis, oracle.mahalanobis,
        beside="form",
    ),
    "rdm.whitened.mahalanobis (folds)": Case(
        lambda d: {"patterns": holes(d, d.array(d.n, d.p)), **precisions(d)},
        lambda patterns, p, q: rdm.mahalanobis(patterns, {0: p, 1: q}, folds=np.arange(_length(patterns)) % 2, missing=True),
        lambda patterns, p, q: incomplete.mahalanobis(patterns, {0: p, 1: q}, half(patterns)),
        undefined=True, missing=True, tolerance=1e-7, beside="form",
    ),
    "rdm.whitened.crossnobis": Case(
        lambda d: {"measurements": d.array(12, d.p)},
        lambda measurements: rdm.crossnobis(measurements, CONDITIONS, FOLDS),
        lambda measurements: oracle.crossnobis(measurements, CONDITIONS, FOLDS), beside="square",
    ),
    "rdm.whitened.crossnobis (folds)": Case(
        lambda d: {"measurements": holes(d, d.array(12, d.p)), **precisions(d)},
        lambda measurements, p, q: rdm.crossnobis(measurements, CONDITIONS, LACKING, {0: p, 1: q, 2: p}, missing=True),
        lambda measurements, p, q: incomplete.crossnobis(measurements, CONDITIONS, LACKING, {0: p, 1: q, 2: p}),
        undefined=True, missing=True, tolerance=1e-7, beside="form",
    ),
    "rdm.noise.precisions": Case(
        lambda d: {"residuals": d.array(12, d.p)},
        lambda residuals: noise.precisions(residuals, FOLDS, "variances"),
        lambda residuals: [np.diag(1 / oracle.wide(residuals)[f == FOLDS].var(axis=0, ddof=1)) for f in (0, 1)],
        tolerance=1e-6, beside="result",
    ),
    "rdm.noise.whiten": Case(
        lambda d: {"patterns": d.array(d.n, d.p), **precisions(d)},
        lambda patterns, p, q: noise.whiten(patterns, [p, q], np.arange(_length(patterns)) % 2),
        lambda patterns, p, q: incomplete.whiten(patterns, [p, q], half(patterns)), tolerance=1e-7, beside="form",
    ),
    "rdm.between.cross_run": Case(two, between.cross_run, incomplete.cross_run),
    "rdm.between.split_half": Case(
        lambda d: {"measurements": d.array(12, d.p)},
        lambda measurements: between.split_half(measurements, CONDITIONS, LACKING, "squared_euclidean"),
        lambda measurements: incomplete.split_half(measurements, CONDITIONS, LACKING), beside="square",
    ),
    "rdm.combine.expanded": Case(
        parts, lambda rdms, others: combine.expanded([named(rdms), named(others)], "image", stimuli=range(6)),
        incomplete.expanded, undefined=True, missing=True, tolerance=0,
    ),
    "rdm.combine.rescaled": Case(
        lambda d: {"rdms": np.abs(d.array(d.k, 10))}, lambda rdms: combine.rescaled(rdm.RDMs(rdms), "simple")[0],
        lambda rdms: [oracle.direction(oracle.wide(one)) for one in rdms], undefined=True, missing=True,
    ),
    "rdm.combine.combined": Case(
        parts, lambda rdms, others: combine.combined([named(rdms), named(others)], "image", "simple"),
        lambda rdms, others: sum(oracle.direction(oracle.wide(one)) for one in (*rdms, *others)) / (len(rdms) + 2),
        undefined=True, missing=True,
    ),
    "inference.groups.group_test": Case(
        lambda d: {"first": d.stack(d.k), "second": d.stack(2)},
        lambda first, second: inference.group_test(first, second, permutations=5).difference,
        lambda first, second: oracle.norm(oracle.wide(first).mean(0) - oracle.wide(second).mean(0)), missing=True,
        beside="largest",
    ),
}  # fmt: skip


def _length(values: Any) -> int:
    shape = getattr(values, "shape", None)
    if shape is None:
        return len(values) if hasattr(values, "__len__") else 1
    return shape[0] if shape else 1
