"""Representational dissimilarity matrices (RDMs): from activations, compared, embedded."""

from orthotrace.analysis.rdm.dissimilarity import (
    MEASURES,
    cityblock,
    correlation,
    cosine,
    custom,
    euclidean,
    norm_difference,
    squared_euclidean,
    unit_euclidean,
)  # fmt: skip
from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.analysis.rdm.whitened import crossnobis, mahalanobis

__all__ = [
    "MEASURES", "RDMs", "cityblock", "correlation", "cosine", "crossnobis", "custom", "euclidean", "mahalanobis",
    "norm_difference", "squared_euclidean", "unit_euclidean",
]  # fmt: skip
