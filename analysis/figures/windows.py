"""The figure of consistency over windows of time, of spiking networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from orthotrace.analysis.figures.consistency import marks
from orthotrace.analysis.figures.steps import consistency_over_time
from orthotrace.analysis.networks.windows import bounds, parted

if TYPE_CHECKING:
    from orthotrace.analysis.figures.facets import Facets
    from orthotrace.analysis.figures.scores import Drawings
    from orthotrace.analysis.studies.consistency import PairMean


def drawings_of_windows(between: Mapping[str, Mapping[str, PairMean]], task: int, facets: Facets) -> Drawings:
    """Consistency by layer against time, after a task; nothing where no layer was read in windows."""
    found = over_windows(between)
    if not found:
        return {}
    flat = any(bounds(name) is None for by_layer in between.values() for name in by_layer)
    said = marks(between).replace("Dots are pairs of networks, markers their means", "Markers are means over pairs")
    return {
        "windows": (
            f"Representational consistency between seeds over time, after task {task}: of the RDMs of each layer in "
            "each window of time, at the middle of its steps. "
            + ("What is the same at all times, as in networks that do not spike, has a flat line. " if flat else "")
            + f"Colours go from the first layer to the last, from dark to light. {said}",
            lambda: consistency_over_time(facets.ordered(found)),
        )
    }


def over_windows(
    between: Mapping[str, Mapping[str, PairMean]],
) -> dict[str, dict[str, dict[tuple[int, int], PairMean]]]:
    """Group -> layer -> first and last step of a window -> consistency; what has no window has the same in each.

    Example:
        >>> from orthotrace.analysis.studies.consistency import pair_mean
        >>> one, two = (pair_mean([[1, r], [r, 1]]) for r in (0.5, 0.6))
        >>> found = over_windows({"spiking": {"fc1@1-2": one, "fc1@3-4": two}, "ordinary": {"fc1": two}})
        >>> [of.mean for of in found["spiking"]["fc1"].values()], list(found["ordinary"]["fc1"])
        ([0.5, 0.6], [(1, 2), (3, 4)])
    """
    every = sorted({window for by_layer in between.values() for name in by_layer if (window := bounds(name))})
    found: dict[str, dict[str, dict[tuple[int, int], PairMean]]] = {}
    for group, by_layer in between.items() if every else ():
        for name, one in by_layer.items():
            own = bounds(name)
            of = found.setdefault(group, {}).setdefault(parted(name)[0], {})
            of.update(dict.fromkeys(every, one) if own is None else {own: one})
    return found
