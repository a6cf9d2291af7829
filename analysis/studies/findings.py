"""All numbers of an analysis, and the RDMs that it keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthotrace.analysis import similarity
from orthotrace.analysis.inference.ceilings import Ceiling
from orthotrace.analysis.networks.given import GivenNetwork
from orthotrace.analysis.networks.kept import KeptRdms
from orthotrace.analysis.networks.left_out import LeftOut
from orthotrace.analysis.networks.names import names_of
from orthotrace.analysis.networks.read import AnyGroup, Members, NetworkReadings, members_of
from orthotrace.analysis.networks.runs import Network, Stimuli
from orthotrace.analysis.networks.spread import Spreading
from orthotrace.analysis.networks.storage import write_stack
from orthotrace.analysis.networks.trains import CONSTANTS
from orthotrace.analysis.rdm.categories import clustering_index
from orthotrace.analysis.rdm.compare import pearson
from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.analysis.rdm.stored import together
from orthotrace.analysis.rdm.undefined import on_shared, undefined, without
from orthotrace.analysis.similarity.invariances import declaration
from orthotrace.analysis.studies.consistency import PairMean, between_networks, comparable
from orthotrace.analysis.studies.correspondence import accuracy, layer_similarities
from orthotrace.analysis.studies.rdm_drift import Drift, rdm_drift
from orthotrace.analysis.studies.references import Agreement, Reference, agreements
from orthotrace.analysis.studies.similarities import Similarity, similarities
from orthotrace.core.digests import remove
from orthotrace.core.errors import UserError
from orthotrace.results.columns import SCORES
from orthotrace.results.groups import Group

# (method, task) -> layer -> what was found.
PairMeans = dict[tuple[str, int], dict[str, PairMean]]
# Enough to repeat an analysis.
REPEATED = (
    "rdm",
    "measures",
    "references",
    "interval",
    "readout",
    "degeneracy",
    "factors",
    "dropout",
    "tasks",
    "epochs",
    "layers",
    "read",
    "labels",
    "order",
    "facets",
)
NAMES = {"correlation": "correlation distance, 1 - r"}
# In figures.
SHOWN = {
    "correlation": "1 − r",
    "van_rossum": "van Rossum distance",
    "victor_purpura": "Victor–Purpura distance",
}


@dataclass(frozen=True)
class Correspondence:
    """How often each layer of a network is most like each layer of another of the same method.

    Attributes:
        layers: names.
        accuracy: how often it is the same layer.
        frequency: (layers, layers), over all ordered pairs of networks; rows sum to 1.
    """

    layers: tuple[str, ...]
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
        drift: what networks keep of their RDMs over tasks; nothing where one task was analysed.
        left_out: what these comparisons had to leave out.
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
    drift: Drift
    left_out: list[LeftOut]

    @property
    def called(self) -> str:
        """The measure of dissimilarity, in figures."""
        name, bracket, constant = self.measure.partition(" (")
        return SHOWN.get(name, name.replace("_", " ")) + bracket + constant

    def as_json(
        self, grouped: Sequence[AnyGroup], stimuli: Stimuli, readings: NetworkReadings, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The content of results.json, the planes apart."""
        return {
            "schema": 2,
            "measure": NAMES.get(self.measure, self.measure),
            "options": repeated(options),
            "stimuli": {
                "sha256": stimuli.digest,
                "count": len(stimuli.labels),
                "per_class": stimuli.per_class,
                "task": stimuli.task,
                "classes": list(stimuli.classes),
            },
            "layers": readings.layers,
            # Where each layer is read, and after what.
            "read": [
                {"layer": name, "read": one.read, "after": list(one.after)} for name, one in readings.places.items()
            ],
            "left_out": [asdict(one) for one in (*readings.left_out, *self.left_out)],
            "runs": {group.label: [run.folder.name for run in group.runs] for group in grouped},
            "scores": {
                group.label: {score: group.values(score) for score in SCORES}
                for group in grouped
                if isinstance(group, Group)
            },
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
            "rdm_drift": [
                {"method": method, "layer": layer, "task": task, **asdict(one)}
                for method, by_layer in self.drift.items()
                for layer, by_task in by_layer.items()
                for task, one in by_task.items()
            ],
            "references": [
                {**row, "ceiling": None if (limits := self.ceilings[name]) is None else asdict(limits)}
                for name, found in self.references.items()
                for row in _rows(found, reference=name, path=self.compared[name].path, by=self.compared[name].method)
            ],
        }


def repeated(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that decide what an analysis finds; those of spikes where they decide something.

    Example:
        >>> options = {**dict.fromkeys(REPEATED), "rdm": "cosine", "spikes": {"windows": None, "tau": 2.0, "cost": 0.5}}
        >>> "spikes" in repeated(options), repeated({**options, "rdm": "van_rossum"})["spikes"]["tau"]
        (False, 2.0)
    """
    found, spikes = {key: options[key] for key in REPEATED}, options.get("spikes")
    decides = spikes and (spikes["windows"] is not None or options["rdm"] in CONSTANTS)
    return {**found, "spikes": spikes} if decides else found


def _rows(found: Mapping[tuple[str, int], Mapping[str, Any]], **about: Any) -> list[dict[str, Any]]:
    return [
        {**about, "method": method, "task": task, "layer": layer, **asdict(one)}
        for (method, task), by_layer in found.items()
        for layer, one in by_layer.items()
    ]


def find(
    readings: NetworkReadings,
    shown: Stimuli,
    measures: Mapping[str, Similarity],
    references: Mapping[str, Reference],
    rdms: Mapping[str, RDMs],
    measure: str,
    spreading: Spreading | None = None,
    **interval: Any,
) -> Findings:
    """All comparisons, with intervals as for consistency.between_networks; of what cannot be compared, what is left.

    Raises:
        UserError: a measure that fails.
    """
    members = members_of(readings.networks)
    several = {key: same for key, same in members.items() if len(same) > 1}
    # Classes are few, and drawn from no more of their kind: they are not resampled.
    plain = {**interval, "stimuli": False}
    left_out = _ended_early(readings.networks)
    agreed = {
        name: agreements(name, members, readings.layers, rdms[name], one.method, interval["level"], left_out)
        for name, one in references.items()
    }
    return Findings(
        consistency=consistencies(several, readings.layers, "consistency", left_out, interval),
        centroids=consistencies(several, readings.layers, "centroid consistency", left_out, plain),
        clustering=_clusterings(members, readings.layers, shown, left_out)
        if shown.per_class > 1 and shown.named
        else {},
        similarity=similarities(several, readings, shown, measures, left_out, spreading, **_without_stimuli(interval)),
        measures={name: Measured.of(one) for name, one in measures.items()},
        correspondence={
            key: found
            for key, same in several.items()
            if (found := corresponding(same, readings.layers, left_out)) is not None
        },
        references={name: found for name, (found, _) in agreed.items()},
        ceilings={name: limits for name, (_, limits) in agreed.items()},
        compared=references,
        measure=measure,
        drift=rdm_drift(readings.networks, readings.layers, interval["level"]),
        left_out=left_out,
    )


def _ended_early(networks: Sequence[Network]) -> list[LeftOut]:
    """Runs of fewer tasks than others: figures of layers are of the last task of all."""
    last = max(one.task for one in networks)
    ends = {one.run.folder: one for one in sorted(networks, key=lambda one: one.task)}
    why = f"those of layers are after task {last}, and this run ends before it; its numbers are in results.json"
    return [one.left_out("", "figures", why) for one in ends.values() if one.task < last]


def _without_stimuli(interval: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in interval.items() if name != "stimuli"}


def consistencies(
    several: Members, layers: Sequence[str], what: str, left_out: list[LeftOut], interval: Mapping[str, Any]
) -> PairMeans:
    """Consistency of each layer over the networks that have it and can be compared."""
    found: PairMeans = {}
    for key, same in several.items():
        for layer in layers:
            of = [
                (one, rdms) for one in same if layer in (rdms := one.rdms if what == "consistency" else one.centroids)
            ]
            if len(of) < 2:
                continue
            kept = comparable(on_shared(pearson, together((rdms, layer) for _, rdms in of)))
            for place, (one, _) in enumerate(of):
                if place not in kept:
                    left_out.append(one.left_out(layer, what, "it shares too few stimuli with another network"))
            if len(kept) > 1:
                found.setdefault(key, {})[layer] = between_networks(
                    together((of[place][1], layer) for place in kept), **interval
                )
    return found


def _clusterings(
    members: Members, layers: Sequence[str], shown: Stimuli, left_out: list[LeftOut]
) -> dict[tuple[str, int], dict[str, tuple[float, ...]]]:
    """The category clustering index of each layer of each network, over the stimuli that its RDM has."""
    found: dict[tuple[str, int], dict[str, tuple[float, ...]]] = {}
    labels = shown.labels.numpy()
    for key, same in members.items():
        for layer in layers:
            values = []
            for one in same:
                if layer in one.rdms:
                    silent = undefined(one.rdms[layer])
                    try:
                        values.append(clustering_index(without(one.rdms[layer], silent), labels[~silent]))
                    except UserError as error:
                        left_out.append(one.left_out(layer, "clustering", str(error)))
            if values:
                found.setdefault(key, {})[layer] = tuple(values)
    return found


def corresponding(same: Sequence[Network], layers: Sequence[str], left_out: list[LeftOut]) -> Correspondence | None:
    """Correspondence of the layers of some networks, by the Pearson correlation of their RDMs.

    Of the layers that most networks have, over the networks that have all of them; None of fewer than two of either.
    """
    most = [layer for layer in layers if 2 * sum(layer in one.rdms for one in same) > len(same)]
    having = [one for one in same if all(layer in one.rdms for layer in most)]
    if len(most) < 2:
        return None
    for one in same:
        if one not in having:
            left_out.append(one.left_out("", "correspondence", "it lacks a layer that most have"))
    stacks = [together((one.rdms, layer) for layer in most) for one in having]
    if len(stacks) < 2:
        return None
    found = layer_similarities(stacks)
    lacking = np.zeros((len(stacks), len(stacks)))
    for (a, b), values in found.items():
        lacking[a, b] = lacking[b, a] = np.nan if np.isnan(values).any() else 0
    kept = comparable(lacking)
    for place, one in enumerate(having):
        if place not in kept:
            left_out.append(one.left_out("", "correspondence", "it shares too few stimuli with another network"))
    found = {pair: values for pair, values in found.items() if set(pair) <= set(kept)}
    if not found:
        return None
    counts = np.zeros((len(most), len(most)))
    for values in found.values():
        for one in (values, values.T):
            counts[np.arange(len(most)), one.argmax(axis=1)] += 1
    frequency = tuple(tuple(row) for row in (counts / (2 * len(found))).tolist())
    return Correspondence(tuple(most), accuracy(found), frequency)


def keep_rdms(
    folder: Path, networks: Sequence[Network], stimuli: Stimuli, measure: str, kept: KeptRdms | None = None
) -> None:
    """Write the RDMs of every network; those of an earlier analysis that are not among them go.

    What is kept already takes no more space, see KeptRdms.
    """
    written, names = set(), names_of(network.run.folder for network in networks)
    for network in networks:
        name = names[network.run.folder]
        path = folder / f"{name}-task{network.task}.safetensors"
        about = {"method": network.method, "run": name, "task": network.task}
        if isinstance(network.run, GivenNetwork):
            # What the user says of a network, under names that are not ours.
            about |= {key: value for key, value in network.run.columns.items() if key not in about}
        else:
            about |= {f"seed_{name}": value for name, value in network.run.scores["seeds"].items()}
        about["stimuli"] = stimuli.digest
        if not network.rdms:
            continue
        layers = np.array(list(network.rdms))
        stack: Any = together((network.rdms, layer) for layer in network.rdms)
        there = None if kept is None else kept.holding(network.run, network.task, layers.tolist())
        described = {"pattern_descriptors": stimuli.descriptors(), "rdm_descriptors": {"name": layers}}
        write_stack(path, stack, measure, {**described, "descriptors": about}, there)
        written |= {path, path.with_suffix(".json")}
    for path in folder.iterdir():
        if path not in written and path.suffix in (".safetensors", ".json"):
            remove(path)
