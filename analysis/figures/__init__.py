"""Figures of a paper: each is a function that takes results, and returns a matplotlib figure and the numbers in it.

from orthotrace.analysis import figures

with figures.styled("neurips"):
figure, numbers = figures.consistency_by_layer(found)
figures.save(figure, Path("figures"), "consistency", numbers)
"""

from orthotrace.analysis.figures.accuracy import accuracy_over_tasks
from orthotrace.analysis.figures.activity import activity_by_layer
from orthotrace.analysis.figures.agreement import consistency_against_accuracy
from orthotrace.analysis.figures.capacity import capacity_by_layer
from orthotrace.analysis.figures.composed import panel
from orthotrace.analysis.figures.concept_images import slice_of_axes, top_images_grid
from orthotrace.analysis.figures.concept_maps import correlation_maps, importance_by_class, separability_maps
from orthotrace.analysis.figures.concepts import concepts_over_tasks, purity_by_concept
from orthotrace.analysis.figures.consistency import consistency_by_layer
from orthotrace.analysis.figures.correspondence import layer_correspondence
from orthotrace.analysis.figures.exemplars import exemplar_against_centroid
from orthotrace.analysis.figures.facets import Facets
from orthotrace.analysis.figures.factors import shares_by_layer
from orthotrace.analysis.figures.images import images_in_a_plane
from orthotrace.analysis.figures.inside import accuracy_inside
from orthotrace.analysis.figures.layer_similarity import layer_by_layer
from orthotrace.analysis.figures.layers import values_by_layer
from orthotrace.analysis.figures.matrices import accuracy_matrices
from orthotrace.analysis.figures.models import model_comparison
from orthotrace.analysis.figures.ranged import loss_over_rates
from orthotrace.analysis.figures.rdms import rdm_maps
from orthotrace.analysis.figures.readout import readout_diagnosis
from orthotrace.analysis.figures.scaling import rdms_in_a_plane
from orthotrace.analysis.figures.second_level import second_level
from orthotrace.analysis.figures.steps import consistency_over_time, drift_over_tasks, dropout_sampling, trajectory
from orthotrace.analysis.figures.style import STYLES, save, styled
from orthotrace.analysis.figures.swept import score_by_value
from orthotrace.analysis.figures.tradeoff import stability_against_plasticity

__all__ = [
    "STYLES", "Facets", "accuracy_inside", "accuracy_matrices", "accuracy_over_tasks", "activity_by_layer",
    "capacity_by_layer", "concepts_over_tasks", "consistency_against_accuracy", "consistency_by_layer",
    "consistency_over_time", "correlation_maps", "drift_over_tasks", "dropout_sampling", "exemplar_against_centroid",
    "images_in_a_plane", "importance_by_class", "layer_by_layer", "layer_correspondence", "loss_over_rates",
    "model_comparison", "panel",
    "purity_by_concept", "rdm_maps", "rdms_in_a_plane", "readout_diagnosis", "save", "score_by_value", "second_level",
    "separability_maps", "shares_by_layer", "slice_of_axes", "stability_against_plasticity", "styled",
    "top_images_grid", "trajectory", "values_by_layer",
]  # fmt: skip
