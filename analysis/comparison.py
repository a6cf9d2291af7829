"""Networks compared: from their layers to numbers, figures and a report, whatever they come from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from orthotrace.analysis.concepts.study import ConceptNetwork, concept_rows, layer_rows
from orthotrace.analysis.extras import check_extras, extra_studies
from orthotrace.analysis.figures.chosen import check_figures
from orthotrace.analysis.figures.facets import Facets
from orthotrace.analysis.figures.layer_similarity import layer_by_layer
from orthotrace.analysis.figures.study import draw
from orthotrace.analysis.networks.given import BuiltNetwork, GivenGroup
from orthotrace.analysis.networks.kept import KeptRdms
from orthotrace.analysis.networks.listed import check_layers, check_networks, given_rows, grouped_networks, networks_of
from orthotrace.analysis.networks.names import names_of
from orthotrace.analysis.networks.read import AnyGroup, NetworkReadings, check_time, members_of, read_networks
from orthotrace.analysis.networks.runs import Stimuli
from orthotrace.analysis.networks.shown import of_array, of_file, of_number, of_source, scaled
from orthotrace.analysis.networks.spread import Spreading, check_spread
from orthotrace.analysis.networks.trains import CONSTANTS, COST, TAU, named_measure
from orthotrace.analysis.rdm.arguments import whole
from orthotrace.analysis.rdm.dissimilarity import MEASURES
from orthotrace.analysis.rdm.memory import size_of, tidy, within
from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.analysis.rdm.stored import together
from orthotrace.analysis.report.folder import check_folder, is_repeated
from orthotrace.analysis.report.report import write_report
from orthotrace.analysis.settings import Settings, interval_of
from orthotrace.analysis.studies.between import RDMS, LayerPairs, between_groups
from orthotrace.analysis.studies.dropout import DropoutSampling
from orthotrace.analysis.studies.findings import REPEATED, Findings, Measured, find, keep_rdms
from orthotrace.analysis.studies.group_names import facet_key, named, panels_of
from orthotrace.analysis.studies.references import Reference, read_references
from orthotrace.core.errors import UserError, nearest
from orthotrace.core.files import write_csv, write_json
from orthotrace.core.folders import held
from orthotrace.data.sources.base import Source
from orthotrace.results.groups import Group

if TYPE_CHECKING:
    from orthotrace.analysis.networks.places import Read
    from orthotrace.analysis.rdm.rdms import Measure
    from orthotrace.analysis.studies.similarities import Similarity


@dataclass(frozen=True)
class NetworkComparison:
    """What a comparison found.

    Attributes:
        results: the content of results.json.
        readings: the networks, and where their layers were read.
        findings: the numbers as they were found.
        stimuli: that all saw.
        report: report.html; None where nothing was written.
        pictures: caption -> figure.
    """

    results: Mapping[str, Any] = field(repr=False)
    readings: NetworkReadings = field(repr=False)
    findings: Findings = field(repr=False)
    stimuli: Stimuli = field(repr=False)
    report: Path | None = None
    pictures: Mapping[str, Path] = field(default_factory=dict, repr=False)

    @property
    def rdms(self) -> dict[str, RDMs]:
        """Name of a network, with its task where there are several -> the RDMs of its layers."""
        networks = self.readings.networks
        names = names_of(one.run.folder for one in networks)
        several = len({one.task for one in networks}) > 1
        found = {}
        for one in networks:
            if one.rdms:
                layers = {"name": np.array(list(one.rdms))}
                name = names[one.run.folder] + (f"-task{one.task}" if several else "")
                stack = together((one.rdms, layer) for layer in one.rdms)
                found[name] = RDMs(stack, self.findings.measure, self.stimuli.descriptors(), layers)
        return found


def compare_groups(
    grouped: Sequence[AnyGroup],
    stimuli: Stimuli,
    settings: Settings,
    out: Path | None,
    facets: Facets,
    concepts: Any = None,
) -> NetworkComparison:
    """Compare networks, and write the folder of the analysis.

    Args:
        grouped: runs, or networks that were given.
        stimuli: that all see.
        settings: how.
        out: the folder; None to write nothing.
        facets: the groups in panels.
        concepts: a function that reads the concept layers of runs; None where there are none.

    Raises:
        UserError: whatever the user can mend.
    """
    if out is not None:
        check_folder(out)
    given = [group for group in grouped if isinstance(group, GivenGroup)]
    check_spread([run for group in given for run in group.runs], settings.spreading, out)
    check_figures(settings.figures or ())
    check_extras(grouped, settings)
    check_time(grouped, settings.tasks, settings.time, str(settings.options["rdm"]))
    if settings.memory is not None:
        size_of(settings.memory)
    name = settings.called + settings.time.called
    kept = None if out is None else KeptRdms(out, stimuli, name, settings.measure, settings.read)
    # Files from outside are read before the networks, which take long.
    rdms = read_references(settings.references, stimuli, settings.measure)
    if given:
        runs = [run for group in given for run in group.runs]
        check_layers(runs, stimuli, settings.layers, settings.read, kept, settings.time)
    if out is None:
        with within(settings.memory):
            return _compared(grouped, stimuli, settings, rdms, kept, None, facets, ())
    # Another analysis that writes there would mix its files with these.
    with held(out):
        tidy(out)
        try:
            with within(settings.memory, out):
                return _compared(grouped, stimuli, settings, rdms, kept, out, facets, concepts)
        except UserError as error:
            # What cannot be asked leaves nothing; a file that is damaged, or a full disk, leaves what is done.
            if kept is not None and str(error.key).split(".")[0] in ("rdm", "measures", "layers", "spikes"):
                kept.forget()
            raise


def _compared(
    grouped: Sequence[AnyGroup],
    stimuli: Stimuli,
    settings: Settings,
    references: Mapping[str, RDMs],
    kept: KeptRdms | None,
    out: Path | None,
    facets: Facets,
    concepts: Any,
) -> NetworkComparison:
    name, level = settings.called, settings.interval["level"]
    readings = read_networks(
        grouped, stimuli, settings.tasks, settings.layers, settings.measure, settings.read, kept, settings.time,
        settings.spreading,
    )  # fmt: skip
    concept_layers: Sequence[ConceptNetwork] = concepts() if concepts else ()
    found = find(
        readings, stimuli, settings.measures, settings.references, references, name, settings.spreading,
        **settings.interval,
    )  # fmt: skip
    extras = extra_studies(grouped, readings, stimuli, settings, facets, out, found.left_out)
    results = found.as_json(grouped, stimuli, readings, settings.options)
    given = isinstance(grouped[0], GivenGroup)
    pairs: list[LayerPairs] = []
    if given:
        pairs = between_groups(members_of(readings.networks), readings, stimuli, settings.measures)
        results["between"] = [asdict(one) for one in pairs]
        results["given"] = given_rows(grouped)
    results["networks"] = len(readings.networks)
    results["concepts"], results["concept_layers"] = concept_rows(concept_layers), layer_rows(concept_layers)
    results |= {key: one.rows for key, one in extras.items()}
    if out is None:
        return NetworkComparison(results, readings, found, stimuli)
    scored = [group for group in grouped if isinstance(group, Group)]
    more = between_drawings(pairs, found.measures) | {
        name: of for one in extras.values() for name, of in one.drawings.items()
    }
    pictures, plane = draw(
        out / "figures", scored, stimuli, readings, found, concept_layers, settings.formats, facets, level,
        settings.style, more, settings.figures, settings.figures is not None and is_repeated(out, results),
    )  # fmt: skip
    results["mds"] = plane
    if given:
        pictures = {of_given(caption, grouped): path for caption, path in pictures.items()}
    keep_rdms(out / "rdms", readings.networks, stimuli, name, kept)
    write_csv(out / "stimuli.csv", stimuli.rows())
    report = write_report(out, grouped, results, pictures, [one.section for one in extras.values()])
    write_json(out / "results.json", results)
    return NetworkComparison(results, readings, found, stimuli, report, pictures)


def between_drawings(pairs: Sequence[LayerPairs], measures: Mapping[str, Measured]) -> dict[str, tuple[str, Any]]:
    """A figure for each measure: the layers of one group against those of another, of the last task."""
    drawings = {}
    last = max((one.task for one in pairs), default=0)
    for measure in dict.fromkeys(one.measure for one in pairs):
        own = [one for one in pairs if one.measure == measure and one.task == last]
        by, label, most = measure, f"Similarity ({measure})", 1.0
        if measure == RDMS:
            by, label = "the Pearson correlation of RDMs", "Correlation of RDMs (r)"
        elif measures[measure].metric:
            by, label, most = f"minus the distance {measure}", f"Minus the distance ({measure})", 0.0
        matrices = {f"{one.group} and {one.other}": (one.matrix, one.layers, one.others) for one in own}
        names = (own[0].group, own[0].other) if len(own) == 1 else ("one group", "the other group")
        counts = sorted({one.pairs for one in own})
        over = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        drawings["layers" if measure == RDMS else f"layers-{measure}"] = (
            f"Similarity of every layer of one group (rows, the first at the bottom) to every layer of another "
            f"(columns), by {by}, after task {last}: the mean over {over} pairs of networks. Titles name the "
            "group of the rows first.",
            lambda matrices=matrices, label=label, names=names, most=most: layer_by_layer(matrices, label, names, most),
        )
    return drawings


def of_given(caption: str, grouped: Sequence[AnyGroup]) -> str:
    """A caption without what networks that were given have not: test images, and tasks where there is one.

    Example:
        >>> of_given("RDMs of 9 test images after task 1, mean over seeds.", [])
        'RDMs of 9 stimuli, mean over seeds.'
    """
    caption = caption.replace("test images", "stimuli")
    if any(run.tasks != [1] for group in grouped for run in group.runs):
        return caption
    return re.sub(r",? after task \d+", "", caption)


def given_groups(
    networks: Any, groups: Sequence[str] | None = None, trust: Sequence[str] = ()
) -> tuple[list[GivenGroup], int | None]:
    """The groups of networks that were given, checked, and the number of stimuli of activations; None without any.

    Raises:
        UserError: as listed.networks_of, grouped_networks and check_networks, or fewer than two networks.
    """
    found = networks_of(networks, trust)
    grouped = grouped_networks(found, groups)
    if sum(len(one.stages) for one in found) < 2:
        raise UserError("there is one network only: to compare takes two or more", "networks")
    return grouped, check_networks(found)


def given_stimuli(
    grouped: Sequence[GivenGroup],
    stimuli: Any,
    rows: int | None,
    labels: Any = None,
    per_class: int | None = None,
    classes: Sequence[str] | None = None,
    size: Any = None,
    mean: Any = None,
    std: Any = None,
) -> Stimuli:
    """The stimuli of networks that were given.

    Args:
        grouped: the networks.
        stimuli: a data set, a path, an array; None for activations alone.
        rows: of activations.
        labels: as for shown.of_array, as what follows.
        per_class: images of each class.
        classes: which.
        size: of the images of a folder.
        mean: subtracted.
        std: divided by.

    Raises:
        UserError: none where a network needs some, or another number than there are activations of.
    """
    if stimuli is None:
        for run in (run for group in grouped for run in group.runs):
            if rows is None or any(isinstance(stage, BuiltNetwork) for stage in run.stages.values()):
                raise UserError(f"{run.name} needs some: dataset=NAME, or stimuli.path=FOLDER or FILE.npy", "stimuli")
        assert rows is not None
        return of_number(rows, labels, per_class, classes)
    if isinstance(stimuli, Source):
        found = of_source(stimuli, per_class, classes)
    elif isinstance(stimuli, (str, Path)):
        found = of_file(stimuli, labels, per_class, classes, size)
    else:
        found = of_array(stimuli, labels, per_class, classes)
    there = len(found.labels) if found.given is None else found.given
    if rows is not None and rows != there:
        raise UserError(f"activations are of {rows} stimuli, but there are {there}", "networks")
    return scaled(found, mean, std)


def compare_networks(
    networks: Any,
    stimuli: Any = None,
    labels: Any = None,
    *,
    out: Path | str | None = None,
    layers: Sequence[str] | None = None,
    read: Read = "post",
    rdm: str | Measure = "correlation",
    measures: Mapping[str, Similarity] | None = None,
    references: Mapping[str, Reference] | None = None,
    groups: Sequence[str] | None = None,
    tasks: Any = "last",
    per_class: int | None = None,
    classes: Sequence[str] | None = None,
    trust: Sequence[str] = (),
    formats: Sequence[str] = ("pdf", "svg", "png"),
    style: str = "nature",
    figures: Sequence[str] | None = None,
    degeneracy: bool = False,
    factors: Sequence[str] = (),
    dropout: DropoutSampling | None = None,
    windows: int | None = None,
    tau: float = TAU,
    cost: float = COST,
    parallel: Spreading | None = None,
    memory: str | None = None,
    **interval: Any,
) -> NetworkComparison:
    """Compare any networks, or their activations: RDMs, consistency within groups, similarity of layers between them.

    Networks are held one at a time, unless they are given as modules.

    Args:
        networks: name -> module, or a list, or a YAML file, as for listed.networks_of: modules, callables with weights
            from a file, activations as arrays or from a file, and columns that say which seed and group they are of.
        stimuli: an array (n, ...) as the networks take it, a folder of images, a .npy file, or a data set of
            orthotrace.data.sources; None where all networks are activations.
        labels: the class of each, (n,); None for no classes.
        out: a folder for figures, tables, RDMs and the report, in which RDMs are found again; None to write nothing.
        layers: names or patterns such as conv*; None for all.
        read: where a layer is read, see networks.activations.activations.
        rdm: dissimilarity of two stimuli: a name of rdm.dissimilarity, or a function; of spiking networks also
            van_rossum or victor_purpura, of their spikes at every step.
        measures: name -> similarity of two activations.
        references: name -> data from outside.
        groups: columns whose values make groups; None for all that are no seeds.
        tasks: which values of the column task, see networks.runs.tasks_of.
        per_class: stimuli of each class; None for all of an array, 20 of a data set.
        classes: which, None for all.
        trust: callables, modules or packages of your own that a YAML file may call.
        formats: of the figures; an empty list draws none.
        style: of the figures: nature, neurips, icml, cvpr or slides.
        figures: names or patterns of those to draw; None for all.
        degeneracy: tell how degenerate layers are, see studies.degeneracy.
        factors: columns of which it is told how much of the variance of RDMs each explains, see studies.factors.
        dropout: masks of dropout that are drawn at test too; None for none.
        windows: of time in which spiking networks are read, each layer in each; None for their firing rates.
        tau: of van_rossum, in steps.
        cost: of victor_purpura, of moving a spike by a step.
        parallel: processes that work on networks at once, see networks.spread; None for this one.
        memory: that the process may take, such as 8GB; RDMs then lie in files, and the numbers are the same. None for
            no bound.
        interval: as for consistency.between_networks.

    Raises:
        UserError: whatever the user can mend, in one line, before anything is written.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> wide = nn.Sequential(nn.Linear(4, 9), nn.ReLU())
        >>> deep = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
        >>> found = compare_networks({"wide": wide, "deep": deep}, torch.eye(4))
        >>> (pair,) = found.results["between"]
        >>> pair["layers"], pair["others"], len(pair["similarity"][0])
        (('1',), ('1', '2'), 2)
    """
    name = rdm if isinstance(rdm, str) else getattr(rdm, "__name__", "own")
    measure = named_measure(rdm, tau, cost) if isinstance(rdm, str) else rdm
    if measure is None:
        raise UserError(
            f"there is no measure '{rdm}'; {nearest(str(rdm), [*MEASURES, *CONSTANTS])}; or a function", "rdm"
        )
    if windows is not None:
        windows = whole(windows, "windows", 1)
    grouped, rows = given_groups(networks, groups, trust)
    shown = given_stimuli(grouped, stimuli, rows, labels, per_class, classes)
    grouped = named(grouped, {}, ())
    asked = {"layers": None if layers is None else list(layers), "read": read, "tasks": tasks, "rdm": name}
    asked |= {"interval": interval_of(interval), "measures": dict.fromkeys(measures or ()), "labels": None}
    asked |= {"degeneracy": degeneracy}
    asked |= {"factors": list(factors)} if factors else {}
    asked |= {"dropout": asdict(dropout)} if dropout else {}
    asked["spikes"] = {"windows": windows, "tau": tau, "cost": cost}
    asked |= {key: asked.get(key) for key in REPEATED}
    settings = Settings(
        asked, measure, layers, read, tasks, measures or {}, references or {}, asked["interval"],
        degeneracy=degeneracy, factors=list(factors), dropout=dropout or DropoutSampling(), windows=windows,
        formats=list(formats), style=style, figures=figures,
        spreading=parallel or Spreading(), memory=memory,
    )  # fmt: skip
    facets = Facets(panels_of(grouped, facet_key(grouped)))
    return compare_groups(grouped, shown, settings, None if out is None else Path(out), facets)
