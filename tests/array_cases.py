"""Every public function of analysis that takes arrays: how its arrays are drawn, how it is called, what is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import array_oracles as oracle
import concept_oracles
import numpy as np
import readout_oracles
import spike_oracles
import torch
from array_draws import Arrays, Case, Draw
from incomplete_cases import INCOMPLETE
from statistics_cases import STATISTICS
from torch import nn

from orthotrace.analysis import inference, rdm, similarity
from orthotrace.analysis.concepts import axes, drift, importance, purity, roc
from orthotrace.analysis.networks import activations
from orthotrace.analysis.rdm import categories, compare, mds, noise, rdms, spike_trains, triangles
from orthotrace.analysis.rdm.stored import stored
from orthotrace.analysis.studies import consistency, correspondence, readout


def x_of(d: Draw, **more: Any) -> Arrays:
    return {"patterns": d.array(d.n, d.p)}


def pair(d: Draw) -> Arrays:
    return {"x": d.array(d.n, d.p), "y": d.array(d.n, d.q)}


def rdm_pair(d: Draw) -> Arrays:
    return {"rdms": d.stack(d.k), "others": d.stack(2)}


def labelled(d: Draw) -> np.ndarray:
    return np.arange(d.n) % 3


def concepts(d: Draw) -> Arrays:
    return {"activations": d.array(12, 3), "has": d.has(12, 2)}


def separable(d: Draw) -> Arrays:
    has = d.has(12, 2)
    return {"features": d.array(12, 3) + np.pad(has, ((0, 0), (0, 1))), "has": has}


THIRDS = np.arange(12) % 3


def turned(d: Draw) -> Arrays:
    old = 5 * np.eye(3)[THIRDS] + 0.1 * d.rng.standard_normal((12, 3))
    return {"old": old, "new": old @ np.linalg.qr(d.rng.standard_normal((3, 3)))[0]}


LINE = np.array([[1.0, -2.0], [0.5, 3.0]])


def linear(images: Any) -> Any:
    layer = nn.Linear(2, 2, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(LINE))
    return dict(activations.activations(nn.Sequential(layer).eval(), images, ["0"]))["0"]


def evaluated(rdms: Any, models: Any, **options: Any) -> Any:
    return inference.evaluate({"one": models}, rdms, **options)


def part(features: Any, has: Any) -> purity.ConceptFeatures:
    return purity.ConceptFeatures(features, has)


def own_auc(found: purity.Purity) -> Any:
    """How far the areas are from those of the scores themselves: 0."""
    return found.auc.value - np.array(concept_oracles.areas(found.scores, found.has.astype(float)))


def as_rdms(values: Any) -> rdm.RDMs:
    return values if isinstance(values, rdm.RDMs) else rdm.RDMs(values)


def pearson(rdms: Any, others: Any) -> Any:
    return oracle.each(oracle.correlated)(rdms, others)


def two(score: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y: float(score(x, y))


PATTERNS = {
    "correlation": (1e-11, "one"), "cosine": (1e-13, "one"), "euclidean": (1e-9, "result"),
    "squared_euclidean": (1e-9, "result"), "unit_euclidean": (1e-9, "one"), "norm_difference": (1e-13, "largest"),
    "cityblock": (1e-12, "result"),
}  # fmt: skip
COMPARED = {
    "pearson": oracle.correlated, "squared_pearson": lambda a, b: oracle.correlated(a, b) ** 2,
    "cosine": lambda a, b: oracle.ratio((a * b).sum(), oracle.norm(a) * oracle.norm(b)),
    "spearman": lambda a, b: oracle.correlated(oracle.ranked(a), oracle.ranked(b)), "rho_a": oracle.rho_a,
    "tau_b": oracle.tau_b, "tau_a": oracle.tau_a, "bures": oracle.bures,
    "norm_difference": lambda a, b: oracle.norm(a - b),
}  # fmt: skip
PAIRS = {
    "linear_cka": oracle.linear_cka, "debiased_cka": oracle.debiased(), "rbf_cka": oracle.rbf_cka,
    "canonical_correlations": oracle.canonical, "cca": lambda x, y: oracle.canonical(x, y).mean(),
    "cca_squared": lambda x, y: (oracle.canonical(x, y) ** 2).mean(), "svcca": oracle.svcca, "pwcca": oracle.pwcca,
    "pwcca_mean": oracle.pwcca_mean, "procrustes": oracle.procrustes,
    "procrustes_cosine": oracle.nuclear, "procrustes_angle": lambda x, y: np.arccos(min(oracle.nuclear(x, y), 1)),
    "distance_correlation": oracle.distance_correlation, "regression": oracle.regression,
}  # fmt: skip

CASES: dict[str, Case] = {
    **INCOMPLETE,
    **STATISTICS,
    **{
        f"rdm.dissimilarity.{name}": Case(
            x_of, getattr(rdm, name), getattr(oracle, name), tolerance=tolerance, beside=beside
        )
        for name, (tolerance, beside) in PATTERNS.items()
    },
    "rdm.spike_trains.van_rossum": Case(
        lambda d: {"spikes": d.has(5, 3)}, lambda spikes: spike_trains.van_rossum(spikes, 2.0),
        lambda spikes: oracle.over_pairs(lambda a, b: spike_oracles.van_rossum(a[:, None], b[:, None], 2.0))(spikes), tolerance=1e-7,
    ),
    "rdm.spike_trains.victor_purpura": Case(
        lambda d: {"spikes": d.has(5, 3)}, lambda spikes: spike_trains.victor_purpura(spikes, 0.7),
        lambda spikes: oracle.over_pairs(lambda a, b: spike_oracles.victor_purpura(a[:, None], b[:, None], 0.7))(spikes),
    ),
    "rdm.dissimilarity.custom": Case(
        x_of, lambda patterns: rdm.custom(patterns, lambda a, b: np.abs(a - b).max()),
        oracle.over_pairs(lambda a, b: np.abs(a - b).max()), beside="result",
    ),
    "rdm.rdms.RDMs": Case(
        lambda d: {"dissimilarities": d.stack(d.k)}, rdm.RDMs, lambda dissimilarities: dissimilarities, missing=True,
        tolerance=0,
    ),
    "rdm.rdms.RDMs.of": Case(x_of, lambda patterns: rdm.RDMs.of(patterns), oracle.correlation, tolerance=1e-11),
    "rdm.rdms.joined": Case(
        rdm_pair, lambda rdms, others: globals()["rdms"].joined([as_rdms(rdms), as_rdms(others)]),
        lambda rdms, others: np.concatenate([rdms, others]), missing=True, tolerance=0,
    ),
    "rdm.categories.centroids": Case(
        lambda d: {"patterns": d.array(9, d.p)}, lambda patterns: categories.centroids(patterns, np.arange(9) % 3),
        lambda patterns: oracle.centroids(patterns, np.arange(9) % 3), beside="largest",
    ),
    "rdm.categories.clustering_index": Case(
        lambda d: {"rdm": d.stack(1, 6)[0]}, lambda rdm: categories.clustering_index(rdm, np.arange(6) % 3),
        lambda rdm: oracle.clustering_index(rdm, np.arange(6) % 3),
    ),
    **{
        f"rdm.compare.{name}": Case(
            rdm_pair, getattr(compare, name), oracle.each(score), missing=True,
            beside="largest" if name == "norm_difference" else "one",
        )
        for name, score in COMPARED.items()
    },
    "rdm.compare.cosine_cov": Case(rdm_pair, compare.cosine_cov, oracle.whitened(False), missing=True),
    "rdm.compare.corr_cov": Case(rdm_pair, compare.corr_cov, oracle.whitened(True), missing=True),
    "rdm.stored.stored": Case(
        lambda d: {"rdms": d.stack(d.k)}, stored, lambda rdms: oracle.wide(rdms), of=np.asarray, missing=True,
    ),
    "rdm.noise.covariance": Case(
        lambda d: {"residuals": d.array(d.n, d.p)}, noise.covariance, lambda residuals: oracle.covariance(residuals, True), beside="square",
    ),
    "rdm.noise.precision": Case(
        lambda d: {"residuals": d.array(d.n, d.p)}, noise.precision, oracle.precision, tolerance=1e-6, beside="result",
    ),
    "rdm.mds.classical": Case(
        lambda d: {"distances": d.square(d.n)}, mds.classical, oracle.principal,
        of=lambda x: (oracle.wide(x) ** 2).sum(0), tolerance=1e-7, beside="result",
    ),
    "rdm.mds.smacof": Case(
        lambda d: {"distances": d.square(d.n)},
        lambda distances: (lambda found: np.array([found[1], float(oracle.stress(np.asarray(rdms.numbers(distances, "")), found[0]))]))(mds.smacof(distances, iterations=20)),
        lambda distances: None,
    ),
    "rdm.mds.aligned": Case(
        lambda d: {"points": d.array(d.n, 2), "reference": d.array(d.n, 2)},
        lambda points, reference: oracle.norm(oracle.wide(mds.aligned(points, reference)) - oracle.wide(rdms.numbers(reference, ""))),
        oracle.left_over, tolerance=1e-6, beside="largest",
    ),
    "rdm.triangles.square": Case(
        lambda d: {"vector": d.stack(1)[0]}, triangles.square,
        lambda vector: [[0 if i == j else vector[triangles.places_of(np.array([i]), np.array([j]), n)][0] for j in range(n)] for n in [triangles.stimuli_of(len(vector))] for i in range(n)],
        missing=True, tolerance=0,
    ),
    **{f"similarity.{name}": Case(pair, getattr(similarity, name), score, tolerance=1e-7 if name.startswith(("procrustes", "debiased")) else 1e-9, beside="largest" if name == "procrustes" else "one") for name, score in PAIRS.items()},
    "similarity.minibatch_cka": Case(
        lambda d: {"x": d.array(10, d.p), "y": d.array(10, d.q)},
        lambda x, y: similarity.minibatch_cka(x, y, batch=5, estimator="lange"), oracle.debiased(5, lange=True),
        tolerance=1e-6,
    ),
    "similarity.knn_jaccard": Case(
        pair, lambda x, y: similarity.knn_jaccard(x, y, neighbours=1), lambda x, y: oracle.knn_jaccard(x, y, 1)
    ),
    "similarity.hsic": Case(
        lambda d: {"k": d.square(d.n, 1.0), "other": d.square(d.n)}, similarity.hsic, oracle.hsic, tolerance=1e-7,
        beside="product",
    ),
    "inference.ceilings.ceiling": Case(lambda d: {"rdms": d.stack(d.k)}, inference.ceiling, oracle.ceiling, missing=True),
    "inference.evaluation.evaluate": Case(
        lambda d: {"rdms": d.stack(d.k), "models": d.stack(1)[0]}, evaluated, lambda rdms, models: pearson([models], rdms),
        of=lambda found: found.scores, missing=True,
    ),
    "inference.evaluation.bootstrap": Case(
        lambda d: {"rdms": d.stack(4, 7), "models": d.stack(1, 7)[0]},
        lambda rdms, models: inference.bootstrap({"one": models}, rdms, resamples=5),
        lambda rdms, models: pearson([models], rdms), of=lambda found: found.scores, missing=True,
    ),
    "inference.significance.permutation_test": Case(
        lambda d: {"first": d.stack(1)[0], "second": d.stack(1)[0]},
        lambda first, second: inference.permutation_test(first, second, permutations=3)[0],
        lambda first, second: oracle.correlated(oracle.wide(first), oracle.wide(second)), missing=True,
    ),
    "inference.groups.group_interval": Case(
        lambda d: {"first": d.stack(4), "second": d.stack(2), "model": d.stack(1)[0]},
        lambda first, second, model: inference.group_interval(first, second, model, samples=3).difference,
        lambda first, second, model: np.mean(pearson([model], first)) - np.mean(pearson([model], second)),
        missing=True,
    ),
    **{
        f"inference.models.{name}": Case(
            lambda d, k=k: {"rdms": d.stack(k)}, getattr(inference, name), lambda rdms: rdms, of=lambda found: found.rdms,
            tolerance=0,
        )
        for name, k in (("Fixed", 1), ("Selected", 2), ("Weighted", 2))
    },
    "studies.consistency.between_networks": Case(
        lambda d: {"rdms": d.stack(max(d.k, 2))}, consistency.between_networks, oracle.consistency,
        of=lambda one: [*one.pairs, one.mean, *([] if one.low is None else [one.low, one.high])], missing=True,
    ),
    "studies.consistency.by_descriptors": Case(
        lambda d: {"rdms": d.stack(max(d.k, 2))}, lambda rdms: consistency.by_descriptors(rdm.RDMs(rdms))[()].mean,
        lambda rdms: oracle.consistency(rdms)[len(rdms) * (len(rdms) - 1) // 2], missing=True,
    ),
    "studies.consistency.pair_mean": Case(
        lambda d: {"matrix": d.square(max(d.k, 2))}, consistency.pair_mean, oracle.pair_mean,
        of=lambda one: [*one.pairs, one.mean, *([] if one.low is None else [one.low, one.high])], beside="largest",
    ),
    "studies.correspondence.layer_similarities": Case(
        rdm_pair, lambda rdms, others: correspondence.layer_similarities([rdms, others])[0, 1], pearson, missing=True
    ),
    "studies.correspondence.activation_similarities": Case(
        pair, lambda x, y: correspondence.activation_similarities([[x], [y]], similarity.linear_cka)[0, 1],
        oracle.linear_cka, tolerance=1e-6,
    ),
    "similarity.pairwise": Case(
        pair, lambda x, y: similarity.pairwise(similarity.linear_cka, [x], [y])[0, 0], oracle.linear_cka, tolerance=1e-6
    ),
    "studies.correspondence.correspondence": Case(
        lambda d: {"similarities": d.array(d.n, d.p)}, correspondence.correspondence,
        lambda similarities: [list(row).index(max(row)) for row in similarities.tolist()], tolerance=0,
    ),
    "studies.correspondence.accuracy": Case(
        lambda d: {"one": d.array(4, 4)}, lambda one: correspondence.accuracy({(0, 1): one}),
        lambda one: np.mean([list(row).index(max(row)) == i for m in (one, one.T) for i, row in enumerate(m.tolist())]),
    ),
    "studies.readout.fitted_readout": Case(
        lambda d: {"features": d.array(12, d.p)}, lambda features: readout.fitted_readout(features, THIRDS, 0.5),
        lambda features: readout_oracles.fitted(features, THIRDS), of=lambda found: np.ptp(found.weight, axis=0),
        tolerance=1e-4,
    ),
    "studies.readout.diagnose_readout": Case(
        turned, lambda old, new: readout.diagnose_readout((old, new), (old, new), THIRDS, THIRDS),
        lambda old, new: [1, 1, 1], of=lambda found: [found.before, found.aligned, found.refitted], tolerance=0,
    ),
    "studies.readout.drift_split": Case(
        lambda d: {"before": d.array(d.n, d.p), "after": d.array(d.n, d.p), "weight": d.array(d.q, d.p)},
        readout.drift_split, readout_oracles.drift, of=lambda found: [found.size, found.seen, found.expected],
        tolerance=1e-7, undefined=True,
    ),
    "concepts.roc.areas": Case(
        lambda d: {"scores": d.array(9, d.p), "positive": d.has(9, 1)[:, 0]}, roc.areas, concept_oracles.areas
    ),
    "concepts.roc.auc": Case(
        lambda d: {"scores": d.array(9, d.p), "positive": d.has(9, 1)[:, 0]}, roc.auc, concept_oracles.areas,
        of=lambda found: found.value,
    ),
    "concepts.roc.auc_difference": Case(
        lambda d: {"first": d.array(9, d.p), "second": d.array(9, d.p), "positive": d.has(9, 1)[:, 0]},
        roc.auc_difference,
        lambda first, second, positive: np.subtract(concept_oracles.areas(first, positive), concept_oracles.areas(second, positive)),
        of=lambda found: found.value,
    ),
    "concepts.axes.separability": Case(
        lambda d: {"features": d.array(12, 3), "has": d.has(12, 2)}, axes.separability, concept_oracles.separability,
        of=lambda found: found.cosines,
    ),
    "concepts.axes.axis_correlations": Case(
        lambda d: {"activations": d.array(9, 3)}, axes.axis_correlations, concept_oracles.axis_correlations, undefined=True
    ),
    "concepts.axes.whiteness": Case(lambda d: {"features": d.array(9, 3)}, axes.whiteness, concept_oracles.whiteness, beside="square"),
    "concepts.axes.percentiles": Case(lambda d: {"activations": d.array(9, 3)}, axes.percentiles, concept_oracles.percentiles),
    "concepts.axes.ranks_of": Case(concepts, axes.ranks_of, concept_oracles.ranks_of),
    "concepts.axes.hit_at_k": Case(
        concepts, axes.hit_at_k,
        lambda activations, has: [np.mean([r <= 1 for r in concept_oracles.ranks_of(activations, has)[4 * c : 4 * c + 4]]) for c in (0, 1)],
    ),
    "concepts.axes.precision_at_k": Case(
        concepts, lambda activations, has: axes.precision_at_k(activations, has, k=3),
        lambda activations, has: [np.mean([has[i, c] for i in sorted(range(12), key=lambda i, c=c: -activations[i, c])[:3]]) for c in (0, 1)],
    ),
    "concepts.axes.top_images": Case(
        lambda d: {"activations": d.array(9, 3)}, lambda activations: axes.top_images(activations, k=4),
        lambda activations: [sorted(range(9), key=lambda i, c=c: -activations[i, c])[:4] for c in range(3)], tolerance=0,
    ),
    "concepts.drift.concept_drift": Case(
        lambda d: {"purities": d.array(2, 1), "axes": d.array(2, d.p)},
        lambda purities, axes: drift.concept_drift(purities, [axes]),
        lambda purities, axes: [
            *(oracle.wide(purities) - purities[0]).ravel(), 0,
            np.degrees(2 * np.arctan2(*(oracle.norm(oracle.direction(oracle.wide(axes[1])) + s * oracle.direction(oracle.wide(axes[0]))) for s in (-1, 1)))),
        ],
        beside="largest",
    ),
    "concepts.importance.importance": Case(
        lambda d: {"features": d.array(9, 3)},
        lambda features: importance.importance(lambda z: np.abs(rdms.numbers(z, "z")).sum(1), features, [0]),
        lambda features: np.abs(oracle.wide(features)).sum(1).mean(), of=lambda found: found.loss, beside="result",
    ),
    "concepts.purity.purity": Case(
        concepts, purity.purity, lambda activations, has: concept_oracles.areas(activations[:, :2], has), of=lambda f: f.auc.value
    ),
    "concepts.purity.best_filter": Case(
        separable, lambda features, has: purity.best_filter(part(features, has), part(features, has)),
        lambda features, has: [max(concept_oracles.area(c, h) for c in features.T) for h in has.T], of=lambda f: f.auc.value,
    ),
    "concepts.purity.linear_probe": Case(
        separable,
        lambda features, has: own_auc(purity.linear_probe(part(features, has), part(features, has), part(features, has), strengths=[1.0])),
        lambda features, has: [0, 0],
    ),
    "concepts.purity.concept_vector": Case(
        separable, lambda features, has: own_auc(purity.concept_vector(part(features, has), part(features, has))),
        lambda features, has: [0, 0],
    ),
    "networks.activations.activations": Case(
        lambda d: {"images": d.array(d.n, 2)}, linear, lambda images: oracle.wide(images) @ LINE.T, beside="largest",
    ),
}  # fmt: skip
