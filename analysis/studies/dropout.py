"""Consistency between networks whose dropout masks are drawn at test too, by the number of masks that are averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from orthotrace.analysis.networks.kept import KeptNetwork, KeptRdms
from orthotrace.analysis.networks.masks import Average, averaged_rdms, with_dropout
from orthotrace.analysis.networks.places import Read
from orthotrace.analysis.networks.read import NetworkReadings
from orthotrace.analysis.networks.runs import Network, Stimuli
from orthotrace.analysis.networks.spread import Spreading
from orthotrace.analysis.networks.windows import TimeReading
from orthotrace.analysis.rdm.rdms import Measure
from orthotrace.analysis.studies.findings import PairMeans, consistencies
from orthotrace.core.errors import UserError


@dataclass(frozen=True)
class DropoutSampling:
    """How dropout masks are drawn.

    Attributes:
        samples: masks of each network at most; None draws none.
        average: what is averaged over masks.
        seed: of the masks.
    """

    samples: int | None = None
    average: Average = "activations"
    seed: int = 0

    @property
    def counts(self) -> list[int]:
        """Numbers of masks that are averaged: powers of two, and all.

        Example:
            >>> DropoutSampling(10).counts, DropoutSampling(1).counts
            ([1, 2, 4, 8, 10], [1])
        """
        most = self.samples or 0
        return [*(2**power for power in range(most.bit_length()) if 2**power < most), *([most] if most else [])]


def check_dropout(jobs: Sequence[tuple[Any, int]]) -> None:
    """Refuse networks of which none has dropout, before any is read.

    Raises:
        UserError: none has.
    """
    if not any(with_dropout(run, task) is not None for run, task in jobs):
        raise UserError("no network has dropout (nn.Dropout and the like, or regularizer.dropout)", "dropout.samples")


def dropout_consistency(
    readings: NetworkReadings,
    stimuli: Stimuli,
    measure: Measure,
    sampling: DropoutSampling,
    folder: Path | None,
    name: str,
    interval: Mapping[str, Any],
    spreading: Spreading | None = None,
) -> dict[int, PairMeans]:
    """Consistency of each layer over networks by the number of masks, after the last task; of networks with dropout.

    Args:
        readings: the networks, and where their layers are read.
        stimuli: that they see.
        measure: of dissimilarity.
        sampling: how masks are drawn.
        folder: of the analysis, in which RDMs are kept and found again; None to hold all.
        name: of the measure.
        interval: as for consistency.between_networks.
        spreading: of the work over processes, network by network, where there is a folder; None for this one.

    Returns:
        Number of masks -> (method, task) -> layer -> consistency.

    Raises:
        UserError: as given.read_layers, or a measure that fails.
    """
    last = max(one.task for one in readings.networks)
    networks = [one for one in readings.networks if one.task == last and one.rdms]
    read = next(iter(readings.places.values())).read
    read = "post" if read == "file" else read
    kept = {}
    for count in sampling.counts:
        called = f"{name}, {count} dropout masks of seed {sampling.seed}, mean of {sampling.average}"
        called += readings.time.called
        kept[count] = None if folder is None else KeptRdms(folder, stimuli, called, measure, read)
    held: dict[tuple[int, int], KeptNetwork] = {}
    having = []
    # RDMs themselves need not be sent.
    given = [(one.run, one.task, list(one.rdms)) for one in networks]
    made = (spreading or Spreading()).each(_sampled, given, kept, stimuli, measure, read, sampling, readings.time)
    bar = track(made, "dropout masks", len(given), transient=True, disable=not Console().is_terminal)
    for place, found_now in enumerate(bar):
        if found_now is not None:
            having.append(place)
            held.update({(count, place): known for count, known in found_now.items()})
    found: dict[int, PairMeans] = {}
    for count, store in kept.items():
        several: dict[tuple[str, int], list[Network]] = {}
        for place in having:
            one = networks[place]
            known = held.get((count, place)) or (
                None if store is None else _found(store, one.run, one.task, list(one.rdms))
            )
            if known is not None:
                several.setdefault((one.method, one.task), []).append(replace(one, rdms=known.rdms))
        pairs = {key: same for key, same in several.items() if len(same) > 1}
        found[count] = consistencies(pairs, readings.layers, "consistency", [], interval)
    return found


def _sampled(
    run: Any,
    task: int,
    layers: list[str],
    kept: Mapping[int, KeptRdms | None],
    stimuli: Stimuli,
    measure: Measure,
    read: Read,
    sampling: DropoutSampling,
    time: TimeReading,
) -> dict[int, KeptNetwork] | None:
    """Keep the RDMs of a network by its number of masks; what cannot be kept is given. None without dropout."""
    if all(store is not None and _found(store, run, task, layers) is not None for store in kept.values()):
        return {}
    model = with_dropout(run, task)
    if model is None:
        return None
    held = {}
    for count, rdms in averaged_rdms(
        run, task, model, stimuli, layers, measure, read, sampling.counts, sampling.average, sampling.seed, time
    ):
        known = KeptNetwork(rdms=rdms, asked={layer: [layer] for layer in layers})
        store = kept[count]
        if store is not None and store.path(run, task) is not None:
            store.keep(run, task, known)
        else:
            held[count] = known
    return held


def _found(kept: KeptRdms, run: Any, task: int, layers: list[str]) -> KeptNetwork | None:
    """What is kept of a network."""
    known = kept.find(run, task)
    return None if known is None else known.of(layers)


def courses(found: Mapping[int, PairMeans]) -> dict[str, dict[str, dict[int, Any]]]:
    """Group -> layer -> number of masks -> consistency.

    Example:
        >>> courses({1: {("a", 3): {"fc1": 0.5}}, 2: {("a", 3): {"fc1": 0.6}}})
        {'a': {'fc1': {1: 0.5, 2: 0.6}}}
    """
    by: dict[str, dict[str, dict[int, Any]]] = {}
    for count, of in found.items():
        for (method, _), by_layer in of.items():
            for layer, one in by_layer.items():
                by.setdefault(method, {}).setdefault(layer, {})[count] = one
    return by
