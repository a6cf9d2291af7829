"""Similarity of the layers of networks of two groups, such as two architectures, layer by layer."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from orthotrace.analysis.networks.given import read_layer
from orthotrace.analysis.networks.read import Members, NetworkReadings
from orthotrace.analysis.networks.runs import Network, Stimuli
from orthotrace.analysis.rdm.compare import pearson
from orthotrace.analysis.rdm.stored import together
from orthotrace.analysis.rdm.undefined import on_shared
from orthotrace.analysis.studies.correspondence import activation_similarities
from orthotrace.analysis.studies.similarities import Similarity
from orthotrace.core.errors import UserError, one_line

# Of RDMs, beside the measures of activations that the user names.
RDMS = "rdm"


@dataclass(frozen=True)
class LayerPairs:
    """How similar each layer of one group is to each layer of another.

    Attributes:
        measure: "rdm", the Pearson correlation of RDMs, or a measure of activations by its name.
        group: label of the one.
        other: label of the other.
        task: after how many tasks.
        layers: of the one.
        others: layers of the other.
        similarity: (layers, others), the mean over pairs of networks; None where no pair has one.
        pairs: of networks.
    """

    measure: str
    group: str
    other: str
    task: int
    layers: tuple[str, ...]
    others: tuple[str, ...]
    similarity: tuple[tuple[float | None, ...], ...]
    pairs: int

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The similarity, NaN where there is none."""
        return np.array([[np.nan if one is None else one for one in row] for row in self.similarity])


def between_groups(
    members: Members, readings: NetworkReadings, stimuli: Stimuli, measures: Mapping[str, Similarity]
) -> list[LayerPairs]:
    """The layers of every two groups after the same task, by their RDMs and by each measure of activations.

    RDMs are compared over all pairs of networks; activations, which take much longer, of the first network of one with
    the first of the other, and so on. A distance counts with a minus: more is more alike.

    Raises:
        UserError: a measure that fails; names it.
    """
    found = []
    jobs = [(one, two) for one, two in itertools.combinations(members, 2) if one[1] == two[1]]
    for one, two in track(jobs, "groups", transient=True, disable=not Console().is_terminal):
        own, others = (_layers(members[key], readings.layers) for key in (one, two))
        if not own or not others:
            continue
        pairs = list(itertools.product(members[one], members[two]))
        found.append(_mean(RDMS, one, two, own, others, [_of_rdms(a, b, own, others) for a, b in pairs]))
        for name, measure in measures.items():
            same = list(zip(members[one], members[two], strict=False))
            matrices = [_of_activations(name, measure, a, b, own, others, readings, stimuli) for a, b in same]
            found.append(_mean(name, one, two, own, others, matrices))
    return found


def _layers(networks: Sequence[Network], layers: Sequence[str]) -> list[str]:
    """The layers of which some network has an RDM."""
    return [layer for layer in layers if any(layer in one.rdms for one in networks)]


def _of_rdms(a: Network, b: Network, own: Sequence[str], others: Sequence[str]) -> NDArray[np.float64]:
    rows, columns = ([layer for layer in of if layer in one.rdms] for one, of in ((a, own), (b, others)))
    matrix = np.full((len(own), len(others)), np.nan)
    if rows and columns:
        values = on_shared(
            pearson, *(together((of.rdms, name) for name in names) for of, names in ((a, rows), (b, columns)))
        )
        matrix[np.ix_([own.index(one) for one in rows], [others.index(one) for one in columns])] = values
    return matrix


def _of_activations(
    name: str,
    measure: Similarity,
    a: Network,
    b: Network,
    own: Sequence[str],
    others: Sequence[str],
    readings: NetworkReadings,
    stimuli: Stimuli,
) -> NDArray[np.float64]:
    places, windows = readings.places, readings.time.windows
    values = [
        [read_layer(one.run, one.task, stimuli, layer, places[layer].read, windows).double() for layer in of]
        for one, of in ((a, own), (b, others))
    ]
    try:
        return activation_similarities(values, measure)[0, 1]
    # The user's own code may fail in any way.
    except Exception as error:
        raise UserError(
            f"{a.run.folder.name} and {b.run.folder.name}: {one_line(error)}", f"measures.{name}"
        ) from error


def _mean(
    measure: str,
    one: tuple[str, int],
    two: tuple[str, int],
    own: Sequence[str],
    others: Sequence[str],
    matrices: Sequence[NDArray[np.float64]],
) -> LayerPairs:
    stack = np.stack(matrices)
    there = ~np.isnan(stack)
    count = there.sum(axis=0)
    total = np.where(there, stack, 0).sum(axis=0)
    rows = tuple(
        tuple(float(total[i, j] / count[i, j]) if count[i, j] else None for j in range(len(others)))
        for i in range(len(own))
    )
    return LayerPairs(measure, one[0], two[0], one[1], tuple(own), tuple(others), rows, len(matrices))
