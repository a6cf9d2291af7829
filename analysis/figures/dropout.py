"""The figure of dropout masks that are drawn at test too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orthotrace.analysis.figures.consistency import marks
from orthotrace.analysis.figures.steps import dropout_sampling

if TYPE_CHECKING:
    from orthotrace.analysis.figures.facets import Facets
    from orthotrace.analysis.figures.scores import Drawings
    from orthotrace.analysis.studies.dropout import DropoutSampling

# What is averaged, in words.
AVERAGED = {
    "activations": "activations are averaged over masks before the RDM is made",
    "rdms": "RDMs are averaged, one of each mask",
}


def drawings_of_dropout(
    found: Mapping[str, Mapping[str, Mapping[int, Any]]], sampling: DropoutSampling, facets: Facets
) -> Drawings:
    """Consistency by the number of masks; nothing where no group has two networks with dropout."""
    if not found:
        return {}
    last = {group: {layer: of[max(of)] for layer, of in by_layer.items()} for group, by_layer in found.items()}
    said = marks(last).replace("Dots are pairs of networks, markers their means", "Markers are means over pairs")
    return {
        "dropout": (
            "Consistency between networks whose dropout is drawn at test too, by the number of masks: "
            f"{AVERAGED[sampling.average]}. Each stimulus has a mask of its own, and each network its own masks (seed "
            f"{sampling.seed}). Without masks it is that of the figure consistency. Colours go from the first layer to "
            f"the last, from dark to light. {said}",
            lambda: dropout_sampling(facets.ordered(found)),
        )
    }
