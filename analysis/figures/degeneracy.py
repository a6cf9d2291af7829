"""The figures of how degenerate layers are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orthotrace.analysis.figures.layers import values_by_layer
from orthotrace.analysis.figures.steps import drift_over_tasks

if TYPE_CHECKING:
    from orthotrace.analysis.figures.facets import Facets
    from orthotrace.analysis.figures.scores import Drawings
    from orthotrace.analysis.studies.degeneracy import LayerDegeneracy

# Quantity -> label of an axis, and words of a caption.
SHOWN = {
    "activation_rank": (
        "Effective rank of activations",
        "Effective rank of the activations of each layer, the exponential of the entropy of their singular values, "
        "over the largest that it could be",
    ),
    "silent": ("Silent units", "Share of the units of each layer that answer all stimuli alike"),
    "weight_rank": (
        "Effective rank of weights",
        "Effective rank of the weights of each layer, the exponential of the entropy of their singular values, over "
        "the shorter side of the matrix",
    ),
    "overlap": ("Overlap of units", "Mean |cosine| of the incoming weights of two units of each layer"),
}


def drawings_of_degeneracy(rows: Sequence[LayerDegeneracy], facets: Facets, along: str) -> Drawings:
    """A figure for each quantity: layer by layer, over tasks or epochs where there are several.

    Args:
        rows: of studies.degeneracy.
        facets: the groups in panels.
        along: what the numbers of tasks count: "task", or "epoch".
    """
    drawings: Drawings = {}
    for quantity, (label, words) in SHOWN.items():
        own = [one for one in rows if one.quantity == quantity]
        tasks = sorted({one.task for one in own})
        if len(tasks) > 1:
            over: dict[str, dict[str, dict[int, LayerDegeneracy]]] = {}
            for one in own:
                over.setdefault(one.method, {}).setdefault(one.layer, {})[one.task] = one
            drawings[f"degeneracy-{quantity}"] = (
                f"{words}, after every task. Markers are means over seeds, bars intervals over them. Colours go from "
                "the first layer to the last, from dark to light.",
                lambda over=over, label=label: drift_over_tasks(facets.ordered(over), label, along=along),
            )
        elif own:
            values: dict[str, dict[str, Sequence[float]]] = {}
            for one in own:
                values.setdefault(one.method, {})[one.layer] = one.values
            drawings[f"degeneracy-{quantity}"] = (
                f"{words}, after task {tasks[0]}. Lines are means over seeds, dots seeds.{facets.caption}",
                lambda values=values, label=label: values_by_layer(values, label, facets=facets),
            )
    return drawings
