"""From runs to RDMs: networks are rebuilt one after the other, and reduced as they come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import track

from orthotrace.analysis.networks.activations import activations, readable_layers
from orthotrace.analysis.networks.runs import Network, Stimuli, tasks_of
from orthotrace.analysis.rdm.categories import centroids
from orthotrace.analysis.rdm.triangles import checked_triangle
from orthotrace.core.errors import UserError, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from orthotrace.analysis.rdm.rdms import Measure
    from orthotrace.results.groups import Group

# (method, task) -> the networks of all seeds.
Members = dict[tuple[str, int], list[Network]]


def read_networks(
    grouped: Sequence[Group],
    stimuli: Stimuli,
    tasks: str | list[int],
    layers: Sequence[str] | None,
    measure: Measure,
) -> list[Network]:
    """Rebuild every network and reduce its activations to RDMs, layer by layer, after the tasks of runs.tasks_of.

    Layers are names of modules; None for all that can be read.

    Raises:
        UserError: layers that do not match, a checkpoint that is damaged, a pattern that the measure refuses.
    """
    jobs = [(group.label, run, task) for group in grouped for run in group.runs for task in tasks_of(run, tasks)]
    networks: list[Network] = []
    for method, run, task in track(jobs, "networks", transient=True, disable=not Console().is_terminal):
        model = run.network(task)
        names = list(layers) if layers else readable_layers(model)
        if networks and list(networks[0].rdms) != names:
            raise UserError(
                f"the layers of {run.folder.name} ({', '.join(names)}) and of {networks[0].run.folder.name} "
                f"({', '.join(networks[0].rdms)}) do not match: choose runs of one model by where, or name "
                "layers that all have",
                "layers",
            )
        rdms, centres = {}, {}
        try:
            for name, values in activations(model, stimuli.images, names):
                try:
                    rdms[name] = _dissimilar(measure, values)
                    if len(stimuli.classes) > 2:
                        centres[name] = _dissimilar(measure, centroids(values, stimuli.labels))
                # The measure may be the user's own, and fail in any way.
                except Exception as error:
                    raise UserError(
                        f"{run.folder.name}, after task {task}, layer {name}: {one_line(error)}", "rdm"
                    ) from error
        except UserError as error:
            if error.key not in ("layers", "images"):
                raise
            raise UserError(f"{run.folder.name}: {error.message}", error.key) from error
        networks.append(Network(method, run, task, rdms, centres))
    return networks


def _dissimilar(measure: Measure, values: Tensor) -> NDArray[np.float64]:
    """An RDM that can be compared: an upper triangle of finite numbers that is not constant."""
    found = checked_triangle(measure(values.clone()), len(values), "the measure")
    if np.ptp(found) <= 1e-12 * np.abs(found).max():
        raise UserError("all dissimilarities are equal: such RDMs have no correlation")
    return found


def members_of(networks: Sequence[Network]) -> Members:
    """Networks by method and task."""
    found: Members = {}
    for network in networks:
        found.setdefault((network.method, network.task), []).append(network)
    return found
