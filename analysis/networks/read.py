"""From runs to RDMs: networks are rebuilt one after the other, and reduced as they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import track

from orthotrace.analysis.networks.activations import Activations, activations
from orthotrace.analysis.networks.left_out import LeftOut
from orthotrace.analysis.networks.places import LayerPlace, Read
from orthotrace.analysis.networks.runs import Network, Stimuli, tasks_of
from orthotrace.analysis.rdm.categories import centroids
from orthotrace.analysis.rdm.undefined import partial_rdm, undefined, without
from orthotrace.core.errors import UserError, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from orthotrace.analysis.rdm.rdms import Measure
    from orthotrace.results.groups import Group

# (method, task) -> the networks of all seeds.
Members = dict[tuple[str, int], list[Network]]


@dataclass(frozen=True)
class NetworkReadings:
    """The networks of an analysis.

    Attributes:
        networks: with the RDMs of the layers that have one.
        layers: of which some network has one, in the order of the network.
        places: layer -> where it was read.
        left_out: what has none.
    """

    networks: list[Network]
    layers: list[str]
    places: dict[str, LayerPlace]
    left_out: list[LeftOut]


def read_networks(
    grouped: Sequence[Group],
    stimuli: Stimuli,
    tasks: str | list[int],
    layers: Sequence[str] | None,
    measure: Measure,
    read: Read = "post",
) -> NetworkReadings:
    """Rebuild every network and reduce its activations to RDMs, layer by layer, after the tasks of runs.tasks_of.

    Layers are names as for activations.activations; None for all that can be read. Stimuli of which the measure is
    undefined in a layer, such as the correlation of a silent one, are missing in its RDM (NaN). Where fewer than three
    are left, or their dissimilarities are all equal, the layer of that network is left out.

    Raises:
        UserError: layers that do not match, a checkpoint that is damaged, a measure that fails, or no layer that has an
            RDM in any network.
    """
    jobs = [(group.label, run, task) for group in grouped for run in group.runs for task in tasks_of(run, tasks)]
    found = NetworkReadings([], [], {}, [])
    names: list[str] = []
    unread: set[str] = set()
    for method, run, task in track(jobs, "networks", transient=True, disable=not Console().is_terminal):
        try:
            read_layers = activations(run.network(task), stimuli.images, layers, read=read)
        except UserError as error:
            if error.key not in ("layers", "images"):
                raise
            raise UserError(f"{run.folder.name}: {error.message}", error.key) from error
        unread |= {one.name for one in read_layers.left_out}
        if found.networks and (set(names) ^ set(read_layers.places)) - unread:
            raise UserError(
                f"the layers of {run.folder.name} ({', '.join(read_layers.places)}) and of "
                f"{found.networks[0].run.folder.name} ({', '.join(names)}) do not match: choose runs of one model by "
                "where, or name layers that all have",
                "layers",
            )
        names += [name for name in read_layers.places if name not in names]
        found.places.update(read_layers.places)
        network = Network(method, run, task, {}, {})
        found.left_out.extend(
            LeftOut(method, run.folder.name, task, one.name, "layer", one.why) for one in read_layers.left_out
        )
        try:
            _reduce(read_layers, network, stimuli, measure, found.left_out)
        # The measure may be the user's own, and fail in any way.
        except Exception as error:
            raise UserError(f"{run.folder.name}, after task {task}, {one_line(error)}", "rdm") from error
        found.networks.append(network)
    found.layers.extend(name for name in names if any(name in one.rdms for one in found.networks))
    if not found.layers:
        one = next(one for one in found.left_out if one.layer in names)
        raise UserError(f"no layer has an RDM; {one.run}, after task {one.task}, layer {one.layer}: {one.why}", "rdm")
    return found


def _reduce(
    read_layers: Activations, network: Network, stimuli: Stimuli, measure: Measure, left_out: list[LeftOut]
) -> None:
    """The RDMs of all layers of a network, and what has none."""
    for name, values in read_layers:
        for what, into in (("RDM", network.rdms), ("centroid RDM", network.centroids)):
            if into is network.centroids and len(stimuli.classes) < 3:
                continue
            try:
                patterns = values if into is network.rdms else centroids(values, stimuli.labels)
                rdm, why = _dissimilar(measure, patterns)
            except Exception as error:
                raise UserError(f"layer {name}: {one_line(error)}") from error
            about = (network.method, network.run.folder.name, network.task, name, what)
            silent = int(undefined(rdm).sum())
            if why:
                left_out.append(LeftOut(*about, why))
            else:
                into[name] = rdm
                if silent:
                    of = "classes" if into is network.centroids else "stimuli"
                    left_out.append(
                        LeftOut(*about, f"{silent} of {len(patterns)} {of} have no dissimilarity there", silent)
                    )


def _dissimilar(measure: Measure, values: Tensor) -> tuple[NDArray[np.float64], str]:
    """An RDM, and why it can be compared with none: nothing where it can."""
    found = partial_rdm(measure, values)
    silent = undefined(found)
    left = without(found, silent)
    if (~silent).sum() < 3:
        return found, f"{int(silent.sum())} of {len(silent)} patterns have no dissimilarity there"
    if bool((values == values[:1]).all()):
        return found, "the layer gives the same for all"
    if np.ptp(left) <= 1e-12 * np.abs(left).max():
        return found, "all dissimilarities are equal: such RDMs have no correlation"
    return found, ""


def members_of(networks: Sequence[Network]) -> Members:
    """Networks by method and task."""
    found: Members = {}
    for network in networks:
        found.setdefault((network.method, network.task), []).append(network)
    return found
