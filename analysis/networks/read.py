"""From runs to RDMs: networks are rebuilt one after the other, and reduced as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from rich.console import Console
from rich.progress import track

from orthotrace.analysis.networks.activations import Activations
from orthotrace.analysis.networks.given import GivenGroup, GivenNetwork, model_of, read_layers
from orthotrace.analysis.networks.kept import EVERY, KeptNetwork, KeptRdms
from orthotrace.analysis.networks.left_out import LeftOut
from orthotrace.analysis.networks.places import LayerPlace, Read, meant
from orthotrace.analysis.networks.runs import Network, Stimuli, tasks_of
from orthotrace.analysis.networks.spread import Spreading
from orthotrace.analysis.networks.trains import TrainDistance
from orthotrace.analysis.networks.windows import TimeReading, by_layer, parted
from orthotrace.analysis.rdm import memory
from orthotrace.analysis.rdm.categories import centroids
from orthotrace.analysis.rdm.memory import OutOfMemoryBoundError
from orthotrace.analysis.rdm.stored import StoredByName
from orthotrace.analysis.rdm.undefined import partial_rdm, undefined, without
from orthotrace.core.errors import UserError, one_line
from orthotrace.layers.spiking import SpikingNetwork

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from orthotrace.analysis.rdm.rdms import Measure
    from orthotrace.results.groups import Group

# Of runs, or of networks that were given.
AnyGroup: TypeAlias = "Group | GivenGroup"
# (method, task) -> the networks of all seeds.
Members = dict[tuple[str, int], list[Network]]
# Of runs; networks that were given are named by the user.
CHOOSE = "such as those of +where.model.steps=6"


@dataclass(frozen=True)
class NetworkReadings:
    """The networks of an analysis.

    Attributes:
        networks: with the RDMs of the layers that have one.
        layers: of which some network has one, in the order of the network.
        places: layer -> where it was read.
        left_out: what has none.
        time: how spiking networks are read.
    """

    networks: list[Network]
    layers: list[str]
    places: dict[str, LayerPlace]
    left_out: list[LeftOut]
    time: TimeReading = field(default_factory=TimeReading)


def read_networks(
    grouped: Sequence[AnyGroup],
    stimuli: Stimuli,
    tasks: str | list[int],
    layers: Sequence[str] | None,
    measure: Measure,
    read: Read = "post",
    kept: KeptRdms | None = None,
    time: TimeReading | None = None,
    spreading: Spreading | None = None,
) -> NetworkReadings:
    """Rebuild every network and reduce its activations to RDMs, layer by layer, after the tasks of runs.tasks_of.

    Layers are names or patterns as for activations.activations; None for all that can be read. Stimuli of which the
    measure is undefined in a layer, such as the correlation of a silent one, are missing in its RDM (NaN). Where fewer
    than three are left, or their dissimilarities are all equal, the layer of that network is left out.

    A network whose RDMs are kept already is not read again, and what is made is kept at once. Networks that were given
    may have other layers in each group. In windows of time, layers of networks that do not spike have none.

    Several processes make what is not kept yet, and keep it; then all is read as it is kept.

    Raises:
        UserError: layers that do not match, a checkpoint that is damaged, a measure that fails, or no layer that has an
            RDM in any network.
    """
    jobs = [(group.label, run, task) for group in grouped for run in group.runs for task in tasks_of(run, tasks)]
    found = NetworkReadings([], [], {}, [], time or TimeReading())
    if kept is not None and spreading is not None and spreading.jobs > 1:
        # Networks of the same weights share a file.
        lacking = {kept.path(run, task): (run, task) for _, run, task in jobs if kept.lacks(run, task, layers)}
        made = spreading.each(
            _keep,
            list(lacking.values()),
            stimuli,
            layers,
            measure,
            read,
            found.time,
            kept,
            memory.share(spreading.jobs),
        )
        for _ in track(made, "networks", len(lacking), transient=True, disable=not Console().is_terminal):
            pass
    # Layers of those that are compared: all runs, or a group of networks that were given.
    alike: dict[str, list[str]] = {}
    unread: set[str] = set()
    # Layer -> network -> its windows.
    ends: dict[str, dict[str, list[str]]] = {}
    for method, run, task in track(jobs, "networks", transient=True, disable=not Console().is_terminal):
        known = None if kept is None or (all_known := kept.find(run, task)) is None else all_known.of(layers)
        if known is None:
            known = _read(run, task, stimuli, layers, measure, read, found.time)
            if kept is not None:
                kept.keep(run, task, known)
                if memory.bounded() and (again := kept.find(run, task)) is not None:
                    # In the file in which they are kept, no longer beside it.
                    known = again.of(layers) or known
        unread |= {layer for layer, what, _, _ in known.left_out if what == "layer"}
        of = method if isinstance(run, GivenNetwork) else ""
        names = alike.setdefault(of, [])
        if names and ({parted(one)[0] for one in names} ^ {parted(one)[0] for one in known.places}) - unread:
            first = next(one for one in found.networks if of in ("", one.method))
            raise UserError(
                f"the layers of {run.folder.name} ({', '.join(known.places)}) and of "
                f"{first.run.folder.name} ({', '.join(names)}) do not match: "
                + (
                    "give them a column that tells them apart, or common names by layers"
                    if of
                    else "choose runs of one model by where, or name layers that all have"
                ),
                "layers",
            )
        for name in known.places:
            layer, end = parted(name)
            if end:
                ends.setdefault(layer, {}).setdefault(run.folder.name, []).append(end)
        _check_windows(ends)
        names += [name for name in known.places if name not in names]
        found.places.update(known.places)
        found.left_out.extend(
            LeftOut(method, run.folder.name, task, layer, what, why, count)
            for layer, what, why, count in known.left_out
        )
        found.networks.append(Network(method, run, task, known.rdms, known.centroids))
    in_order = by_layer(dict.fromkeys(name for names in alike.values() for name in names))
    found.layers.extend(name for name in in_order if any(name in one.rdms for one in found.networks))
    if not found.layers:
        one = next(one for one in found.left_out if one.layer in in_order)
        raise UserError(f"no layer has an RDM; {one.run}, after task {one.task}, layer {one.layer}: {one.why}", "rdm")
    return found


def check_time(grouped: Sequence[AnyGroup], tasks: Any, time: TimeReading, rdm: str) -> None:
    """Refuse what cannot be asked of the time of networks, by one of each group, before any is read.

    Args:
        grouped: runs, or networks that were given.
        tasks: of runs.tasks_of.
        time: how spiking ones are read.
        rdm: name of the measure.

    Raises:
        UserError: spikes of a network that has none; windows where no network spikes, more than there are steps, or of
            networks of different numbers of steps.
    """
    if time == TimeReading():
        return
    steps: dict[str, int] = {}
    for run in (group.runs[0] for group in grouped):
        model, name = model_of(run, tasks_of(run, tasks)[-1]), run.folder.name
        if isinstance(model, SpikingNetwork):
            steps[name] = model.steps
        elif time.spikes:
            raise UserError(
                f"{rdm} compares spike trains, and {name} has none: choose spiking networks alone, or another rdm",
                "rdm",
            )
    if time.windows is None:
        return
    if not steps:
        raise UserError("no network spikes, and no other has steps of time: leave it out", "spikes.windows")
    first = next(iter(steps))
    if other := next((name for name in steps if steps[name] != steps[first]), None):
        raise UserError(
            f"{first} has {steps[first]} steps and {other} {steps[other]}: windows are of networks of one number of "
            f"steps, {CHOOSE}",
            "spikes.windows",
        )
    try:
        time.check(steps[first])
    except UserError as error:
        raise error.below("spikes") from error


def _check_windows(ends: Mapping[str, Mapping[str, list[str]]]) -> None:
    """Windows of a layer are those of all networks that have it."""
    for layer, of in ends.items():
        (first, own), *others = of.items()
        for name, found in others:
            if set(found) != set(own):
                raise UserError(
                    f"layer {layer} of {first} has the windows {' '.join(own)}, of {name} {' '.join(found)}: windows "
                    f"are of networks of one number of steps, {CHOOSE}",
                    "spikes.windows",
                )


def _read(
    run: Any,
    task: int,
    stimuli: Stimuli,
    layers: Sequence[str] | None,
    measure: Measure,
    read: Read,
    time: TimeReading,
) -> KeptNetwork:
    """What there is to know of a network that runs."""
    try:
        read_now = read_layers(run, task, stimuli, layers, read, time=time)
    except UserError as error:
        if error.key not in ("layers", "images"):
            raise
        raise UserError(f"{run.folder.name}: {error.message}", error.key) from error
    found = KeptNetwork(StoredByName() if memory.bounded() else {}, places=dict(read_now.places))
    found.left_out.extend((one.name, "layer", one.why, None) for one in read_now.left_out)
    # A layer that is not read was asked for all the same.
    every = [*read_now.places, *(one.name for one in read_now.left_out if one.name not in read_now.places)]
    if layers is None:
        found.asked[EVERY] = every
    else:
        found.asked.update({name: every if len(layers) == 1 else meant(name, every) for name in layers})
    try:
        _reduce(read_now, found, stimuli, measure)
    except OutOfMemoryBoundError as error:
        raise OutOfMemoryBoundError(f"{run.folder.name}, after task {task}, {error.message}", error.key) from error
    # The measure may be the user's own, and fail in any way.
    except Exception as error:
        raise UserError(f"{run.folder.name}, after task {task}, {one_line(error)}", "rdm") from error
    return found


def _keep(
    run: Any,
    task: int,
    stimuli: Stimuli,
    layers: Sequence[str] | None,
    measure: Measure,
    read: Read,
    time: TimeReading,
    kept: KeptRdms,
    bound: str | None = None,
) -> None:
    """Keep what there is to know of a network, for another process."""
    with memory.within(bound, kept.folder.parent):
        kept.keep(run, task, _read(run, task, stimuli, layers, measure, read, time))


def _reduce(read_now: Activations, found: KeptNetwork, stimuli: Stimuli, measure: Measure) -> None:
    """The RDMs of all layers of a network, and what has none."""
    for name, values in read_now:
        for what, into in (("RDM", found.rdms), ("centroid RDM", found.centroids)):
            # A mean of spike trains is none.
            if into is found.centroids and (len(stimuli.classes) < 3 or isinstance(measure, TrainDistance)):
                continue
            try:
                patterns = values if into is found.rdms else centroids(values, stimuli.labels)
                rdm, why = dissimilar(measure, patterns)
            except OutOfMemoryBoundError as error:
                raise OutOfMemoryBoundError(f"layer {name}: {error.message}", error.key) from error
            except Exception as error:
                raise UserError(f"layer {name}: {one_line(error)}") from error
            silent = int(undefined(rdm).sum())
            if why:
                found.left_out.append((name, what, why, None))
            else:
                into[name] = rdm
                if silent:
                    of = "classes" if into is found.centroids else "stimuli"
                    said = f"{silent} of {len(patterns)} {of} have no dissimilarity there"
                    found.left_out.append((name, what, said, silent))


def dissimilar(measure: Measure, values: Tensor) -> tuple[NDArray[np.float64], str]:
    """An RDM, and why it can be compared with none: nothing where it can."""
    if isinstance(measure, TrainDistance) and not measure.takes(values):
        return np.full(
            len(values) * (len(values) - 1) // 2, np.nan
        ), "it gives no spikes, but other numbers at each step"
    found = partial_rdm(measure, values)
    if bool((values == values[:1]).all()) and (~undefined(found)).sum() >= 3:
        return found, "the layer gives the same for all"
    return found, incomparable(found)


def incomparable(rdm: NDArray[np.float64]) -> str:
    """Why an RDM can be compared with none: nothing where it can.

    Example:
        >>> incomparable(np.array([0.5, 0.5, 0.5])), incomparable(np.array([0.5, 0.5, 0.6]))
        ('all dissimilarities are equal: such RDMs have no correlation', '')
    """
    silent = undefined(rdm)
    left = without(rdm, silent)
    if (~silent).sum() < 3:
        return f"{int(silent.sum())} of {len(silent)} patterns have no dissimilarity there"
    if np.ptp(left) <= 1e-12 * max(left.max(), -left.min()):
        return "all dissimilarities are equal: such RDMs have no correlation"
    return ""


def members_of(networks: Sequence[Network]) -> Members:
    """Networks by method and task."""
    found: Members = {}
    for network in networks:
        found.setdefault((network.method, network.task), []).append(network)
    return found
