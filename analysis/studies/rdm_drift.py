"""How much of its representation a network keeps while it learns further tasks."""

from collections.abc import Sequence

import numpy as np

from orthotrace.analysis.networks.runs import Network
from orthotrace.analysis.rdm.compare import pearson
from orthotrace.analysis.rdm.stored import together
from orthotrace.analysis.rdm.undefined import on_shared
from orthotrace.results.statistics import Interval, mean_interval

# Method -> layer -> task -> mean over networks.
Drift = dict[str, dict[str, dict[int, Interval]]]


def rdm_drift(networks: Sequence[Network], layers: Sequence[str], level: float = 0.95) -> Drift:
    """Squared Pearson correlation of the RDM of a layer with that of the same network after its first task here.

        r^2(t) = corr(D_1, D_t)^2

    Args:
        networks: after several tasks each; those of one task alone say nothing.
        layers: names.
        level: of the intervals over networks by Student's t.

    Returns:
        Method -> layer -> task, the first left out -> mean and interval, in [0, 1]; where it is defined.
    """
    courses: dict[tuple[str, str], dict[int, Network]] = {}
    for one in networks:
        courses.setdefault((one.method, str(one.run.folder)), {})[one.task] = one
    values: dict[str, dict[str, dict[int, list[float]]]] = {}
    for (method, _), by_task in courses.items():
        first, *later = (by_task[task] for task in sorted(by_task))
        for layer in layers:
            rdms = [one.rdms for one in (first, *later) if layer in one.rdms]
            if layer not in first.rdms or len(rdms) < 2:
                continue
            found = (
                on_shared(pearson, together([(first.rdms, layer)]), together((one, layer) for one in rdms[1:]))[0] ** 2
            )
            tasks = [one.task for one in later if layer in one.rdms]
            for task, value in zip(tasks, found.tolist(), strict=True):
                if np.isfinite(value):
                    values.setdefault(method, {}).setdefault(layer, {}).setdefault(task, []).append(value)
    return {
        method: {
            layer: {task: mean_interval(of, level) for task, of in sorted(by_task.items())}
            for layer, by_task in by_layer.items()
        }
        for method, by_layer in values.items()
    }
