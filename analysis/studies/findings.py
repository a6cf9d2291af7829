"""All numbers of an analysis, and the RDMs that it keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from orthotrace.analysis import similarity
from orthotrace.analysis.inference.ceilings import Ceiling
from orthotrace.analysis.networks.names import names_of
from orthotrace.analysis.networks.read import Members
from orthotrace.analysis.networks.runs import Network, Stimuli
from orthotrace.analysis.networks.storage import write_rdms
from orthotrace.analysis.rdm.categories import clustering_index
from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.analysis.similarity.invariances import declaration
from orthotrace.analysis.studies.consistency import PairMean, between_networks
from orthotrace.analysis.studies.correspondence import accuracy, layer_similarities
from orthotrace.analysis.studies.references import Agreement, Reference, agreements
from orthotrace.analysis.studies.similarities import Similarity, similarities
from orthotrace.core.digests import remove
from orthotrace.results.columns import SCORES

if TYPE_CHECKING:
    from orthotrace.results.groups import Group

# (method, task) -> layer -> what was found.
PairMeans = dict[tuple[str, int], dict[str, PairMean]]
# Enough to repeat an analysis.
REPEATED = ("rdm", "measures", "references", "interval", "tasks", "layers", "labels", "order", "facets")
NAMES = {"correlation": "correlation distance, 1 - r"}


@dataclass(frozen=True)
class Correspondence:
    """How often each layer of a network is most like each layer of another of the same method.

    Attributes:
        accuracy: how often it is the same layer.
        frequency: (layers, layers), over all ordered pairs of networks; rows sum to 1.
    """

    accuracy: float
    frequency: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Measured:
    """A measure of similarity of activations that was used.

    Attributes:
        function: its path, with the arguments that were given.
        invariances: what it is declared invariant to; None where nothing is.
        metric: it is declared a distance: less is more alike.
    """

    function: str
    invariances: list[str] | None
    metric: bool

    @classmethod
    def of(cls, measure: Similarity) -> Measured:
        """Of a function, or a partial of one."""
        function: Any = getattr(measure, "func", measure)
        given = getattr(measure, "keywords", {})
        arguments = f"({', '.join(f'{name}={value}' for name, value in given.items())})" if given else ""
        module = getattr(function, "__module__", "")
        # Ours are known by the package that has them all.
        module = similarity.__name__ if module.startswith(f"{similarity.__name__}.") else module
        path = f"{module}.{getattr(function, '__qualname__', function)}{arguments}"
        about = declaration(measure)
        return cls(path, None, False) if about is None else cls(path, sorted(about.invariant_to), about.metric)


@dataclass(frozen=True)
class Findings:
    """What an analysis found, by method and task; of consistencies where there are two seeds and more.

    Attributes:
        consistency: of the RDMs of all stimuli.
        centroids: of the RDMs of the means of classes; nothing below three classes.
        clustering: layer -> the category clustering index of each network.
        similarity: measure -> similarity of activations.
        measures: measure -> its function and declared properties.
        correspondence: where there are two layers and more.
        references: name -> agreement of every layer.
        ceilings: name -> of each reference; None with one RDM.
        compared: name -> the reference itself.
        measure: name of the measure of dissimilarity.
    """

    consistency: PairMeans
    centroids: PairMeans
    clustering: dict[tuple[str, int], dict[str, tuple[float, ...]]]
    similarity: dict[str, PairMeans]
    measures: dict[str, Measured]
    correspondence: dict[tuple[str, int], Correspondence]
    references: dict[str, dict[tuple[str, int], dict[str, Agreement]]]
    ceilings: dict[str, Ceiling | None]
    compared: Mapping[str, Reference]
    measure: str

    @property
    def called(self) -> str:
        """The measure of dissimilarity, in figures."""
        return "1 − r" if self.measure == "correlation" else self.measure.replace("_", " ")

    def as_json(
        self, grouped: Sequence[Group], stimuli: Stimuli, networks: Sequence[Network], options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The content of results.json, the planes apart."""
        return {
            "schema": 2,
            "measure": NAMES.get(self.measure, self.measure),
            "options": {key: options[key] for key in REPEATED},
            "stimuli": {
                "sha256": stimuli.digest,
                "count": len(stimuli.labels),
                "per_class": stimuli.per_class,
                "task": stimuli.task,
                "classes": list(stimuli.classes),
            },
            "layers": list(networks[0].rdms),
            "runs": {group.label: [run.folder.name for run in group.runs] for group in grouped},
            "scores": {group.label: {score: group.values(score) for score in SCORES} for group in grouped},
            "consistency": _rows(self.consistency),
            "centroid_consistency": _rows(self.centroids),
            "clustering": [
                {"method": method, "task": task, "layer": layer, "values": list(values)}
                for (method, task), by_layer in self.clustering.items()
                for layer, values in by_layer.items()
            ],
            "similarity": [
                row
                for name, found in self.similarity.items()
                for row in _rows(found, measure=name, **asdict(self.measures[name]))
            ],
            "correspondence": [
                {"method": method, "task": task, **asdict(one)} for (method, task), one in self.correspondence.items()
            ],
            "references": [
                {**row, "ceiling": None if (limits := self.ceilings[name]) is None else asdict(limits)}
                for name, found in self.references.items()
                for row in _rows(found, reference=name, path=self.compared[name].path, by=self.compared[name].method)
            ],
        }


def _rows(found: Mapping[tuple[str, int], Mapping[str, Any]], **about: Any) -> list[dict[str, Any]]:
    return [
        {**about, "method": method, "task": task, "layer": layer, **asdict(one)}
        for (method, task), by_layer in found.items()
        for layer, one in by_layer.items()
    ]


def find(
    members: Members,
    shown: Stimuli,
    measures: Mapping[str, Similarity],
    references: Mapping[str, Reference],
    rdms: Mapping[str, RDMs],
    measure: str,
    **interval: Any,
) -> Findings:
    """All comparisons, with intervals as for consistency.between_networks.

    Raises:
        UserError: a measure that fails.
    """
    several = {key: same for key, same in members.items() if len(same) > 1}
    layers = list(next(iter(members.values()))[0].rdms)
    # Classes are few, and drawn from no more of their kind: they are not resampled.
    plain = {**interval, "stimuli": False}
    labels = shown.labels.numpy()
    agreed = {name: agreements(members, rdms[name], one.method, interval["level"]) for name, one in references.items()}
    return Findings(
        consistency={
            key: {layer: between_networks([one.rdms[layer] for one in same], **interval) for layer in layers}
            for key, same in several.items()
        },
        centroids={
            key: {
                layer: between_networks(np.stack([one.centroids[layer] for one in same]), **plain) for layer in layers
            }
            for key, same in several.items()
            if same[0].centroids
        },
        clustering={
            key: {layer: tuple(clustering_index(one.rdms[layer], labels) for one in same) for layer in layers}
            for key, same in members.items()
            if shown.per_class > 1
        },
        similarity=similarities(
            several, shown, measures, **{name: value for name, value in interval.items() if name != "stimuli"}
        ),
        measures={name: Measured.of(one) for name, one in measures.items()},
        correspondence={key: corresponding(same) for key, same in several.items() if len(layers) > 1},
        references={name: found for name, (found, _) in agreed.items()},
        ceilings={name: limits for name, (_, limits) in agreed.items()},
        compared=references,
        measure=measure,
    )


def corresponding(same: Sequence[Network]) -> Correspondence:
    """Correspondence of the layers of some networks, by the Pearson correlation of their RDMs."""
    found = layer_similarities([np.stack(list(one.rdms.values())) for one in same])
    layers = len(same[0].rdms)
    counts = np.zeros((layers, layers))
    for values in found.values():
        for one in (values, values.T):
            counts[np.arange(layers), one.argmax(axis=1)] += 1
    return Correspondence(accuracy(found), tuple(tuple(row) for row in (counts / (2 * len(found))).tolist()))


def keep_rdms(folder: Path, networks: Sequence[Network], stimuli: Stimuli, measure: str) -> None:
    """Write the RDMs of every network; those of an earlier analysis that are not among them go."""
    written, names = set(), names_of(network.run.folder for network in networks)
    for network in networks:
        name = names[network.run.folder]
        path = folder / f"{name}-task{network.task}.safetensors"
        about = {
            "method": network.method,
            "run": name,
            "task": network.task,
            **{f"seed_{name}": value for name, value in network.run.scores["seeds"].items()},
            "stimuli": stimuli.digest,
        }
        layers = np.array(list(network.rdms))
        stack = np.stack(list(network.rdms.values()))
        write_rdms(path, RDMs(stack, measure, stimuli.descriptors(), {"name": layers}, about))
        written |= {path, path.with_suffix(".json")}
    for path in folder.iterdir():
        if path not in written and path.suffix in (".safetensors", ".json"):
            remove(path)
