"""Similarity of two representations of the same stimuli: functions of two activation matrices, (n, p) and (n, q).

Every measure declares what it is invariant to (see invariances); the tests check each declaration.
"""

from orthotrace.analysis.similarity.all_pairs import pairwise
from orthotrace.analysis.similarity.canonical import (
    canonical_correlations,
    cca,
    cca_squared,
    pwcca,
    pwcca_mean,
    regression,
    svcca,
)  # fmt: skip
from orthotrace.analysis.similarity.cka import debiased_cka, hsic, linear_cka, minibatch_cka, rbf_cka
from orthotrace.analysis.similarity.degeneracy import effective_rank, silent_share, unit_overlap
from orthotrace.analysis.similarity.distances import distance_correlation, knn_jaccard
from orthotrace.analysis.similarity.invariances import check, declare
from orthotrace.analysis.similarity.neighbours import cknna, mutual_knn
from orthotrace.analysis.similarity.outputs import disagreement
from orthotrace.analysis.similarity.shape import procrustes, procrustes_angle, procrustes_cosine
from orthotrace.analysis.similarity.weights import weight_distance

MEASURES = {
    function.__name__: function
    for function in (
        linear_cka, debiased_cka, minibatch_cka, rbf_cka, cca, cca_squared, svcca, pwcca, pwcca_mean, procrustes,
        procrustes_cosine, procrustes_angle, distance_correlation, knn_jaccard, mutual_knn, cknna, regression,
    )
}  # fmt: skip

__all__ = [
    "MEASURES", "canonical_correlations", "cca", "cca_squared", "check", "cknna", "debiased_cka", "declare",
    "disagreement", "distance_correlation", "effective_rank", "hsic", "knn_jaccard", "linear_cka", "minibatch_cka",
    "mutual_knn",
    "pairwise", "procrustes", "procrustes_angle", "procrustes_cosine", "pwcca", "pwcca_mean", "rbf_cka", "regression",
    "silent_share", "svcca", "unit_overlap", "weight_distance",
]  # fmt: skip
