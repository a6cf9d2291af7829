"""All figures of an analysis."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from orthotrace.analysis.figures.chosen import chosen, is_figure
from orthotrace.analysis.figures.concept_study import concept_drawings
from orthotrace.analysis.figures.consistency import consistency_by_layer, marks
from orthotrace.analysis.figures.correspondence import layer_correspondence
from orthotrace.analysis.figures.exemplars import exemplar_against_centroid
from orthotrace.analysis.figures.facets import Facets
from orthotrace.analysis.figures.layers import values_by_layer
from orthotrace.analysis.figures.of_rdms import Compared, drawings_of_rdms
from orthotrace.analysis.figures.rdms import rdm_maps
from orthotrace.analysis.figures.scaling import rdms_in_a_plane
from orthotrace.analysis.figures.scores import Drawings, drawings_of_scores
from orthotrace.analysis.figures.style import FORMATS, save, styled
from orthotrace.analysis.figures.windows import drawings_of_windows
from orthotrace.analysis.inference.ceilings import warning
from orthotrace.analysis.networks.epochs import along_of, told
from orthotrace.analysis.networks.names import names_of
from orthotrace.analysis.networks.places import READ
from orthotrace.analysis.rdm import memory
from orthotrace.analysis.rdm.compare import pearson
from orthotrace.analysis.rdm.mds import smacof
from orthotrace.analysis.rdm.stacks import blocks
from orthotrace.analysis.rdm.stored import StoredStack, together
from orthotrace.analysis.rdm.triangles import stimuli_of
from orthotrace.analysis.rdm.undefined import on_shared
from orthotrace.analysis.studies.consistency import comparable
from orthotrace.core.digests import remove

if TYPE_CHECKING:
    from orthotrace.analysis.concepts.study import ConceptNetwork
    from orthotrace.analysis.networks.read import NetworkReadings
    from orthotrace.analysis.networks.runs import Network, Stimuli
    from orthotrace.analysis.studies.findings import Findings
    from orthotrace.results.groups import Group


def draw(
    folder: Path,
    grouped: Sequence[Group],
    stimuli: Stimuli,
    readings: NetworkReadings,
    findings: Findings,
    concepts: Sequence[ConceptNetwork] = (),
    formats: Collection[str] = FORMATS,
    facets: Facets | None = None,
    level: float = 0.95,
    style: str = "nature",
    more: Mapping[str, tuple[str, Any]] | None = None,
    wanted: Sequence[str] | None = None,
    repeated: bool = False,
) -> tuple[dict[str, Path], dict[str, Any] | None]:
    """Draw all figures, of the last task that was chosen where one task is shown; none where no format is given.

    Args:
        folder: where.
        grouped: the groups of runs; none where networks have no scores.
        stimuli: that the networks saw.
        readings: the networks of the runs, and where their layers are read.
        findings: what was found.
        concepts: concept layers of the networks.
        formats: of style.FORMATS.
        facets: the groups in panels; None for one panel.
        level: of intervals over seeds.
        style: a name of style.STYLES.
        more: other figures of layers: name -> caption, and what draws it.
        wanted: names of figures, or patterns; None for all.
        repeated: the numbers are those of the earlier analysis in this folder: its other figures stay.

    Returns:
        Caption -> PNG, and the points of the plane, None where there are too few RDMs for one.

    Raises:
        UserError: there is no such figure.
    """
    last = max(network.task for network in readings.networks)
    shown = [network for network in readings.networks if network.task == last]
    facets = facets or Facets.one(group.label for group in grouped)
    of_layers = _of_rdms(shown, readings.layers, facets.labels, stimuli, findings) if formats else {}
    compared = _compared(shown, readings.layers)
    plane = _plane(compared)
    if plane is not None:
        of_layers |= _in_a_plane(plane, shown, readings.layers, facets)
    of_layers |= _of_findings(findings, last, stimuli, facets) | dict(more or {})
    if readings.time.windows is not None:
        of_layers |= drawings_of_windows(at_task(findings.consistency, last), last, facets)
    along = along_of(network.run for network in readings.networks)
    of_layers |= drawings_of_rdms(compared, readings.layers, facets.labels, stimuli, findings.drift, along)
    read = next(iter(readings.places.values())).read
    where = f" Layers are read {READ[read]}."
    if readings.time.windows is not None:
        where += f" Spiking networks are read in {readings.time.windows} windows of time: @ stands before their steps."
    drawings = drawings_of_scores(grouped, facets, level) | {
        name: (told(caption, along) + where, make) for name, (caption, make) in of_layers.items()
    }
    if concepts:
        of_concepts = concept_drawings(concepts, stimuli.task, along)
        drawings |= {name: (told(caption, along), make) for name, (caption, make) in of_concepts.items()}
    if not formats:
        drawings = {}
    named = chosen(wanted if formats else None, drawings)
    pictures = {}
    with styled(style):
        for name, (caption, make) in drawings.items():
            if name not in named:
                if repeated and (path := folder / f"{name}.png").is_file():
                    pictures[caption] = path
                continue
            figure, rows = make()
            rows = [{**row, "read": read} for row in rows] if name in of_layers else rows
            pictures[caption] = save(figure, folder, name, rows, formats)
            plt.close(figure)
    # What an earlier analysis drew here and this one has no numbers for.
    shown_now = {path.stem for path in pictures.values()}
    for path in folder.glob("*"):
        if is_figure(path.stem) and path.stem not in shown_now:
            remove(path)
    return pictures, plane


def _of_rdms(
    shown: Sequence[Network], layers: Sequence[str], methods: Sequence[str], stimuli: Stimuli, findings: Findings
) -> Drawings:
    """The RDMs themselves."""
    means: dict[str, dict[str, Any]] = {}
    for method in methods:
        for layer in layers:
            rdms = [(one.rdms, layer) for one in shown if one.method == method and layer in one.rdms]
            if rdms:
                means.setdefault(method, {})[layer] = _mean(together(rdms))
    if not means:
        return {}
    as_task = "" if stimuli.task is None else f" as task {stimuli.task} shows them"
    grey = any(np.isnan(rdm).any() for by in means.values() for rdm in by.values())
    caption = (
        f"Representational dissimilarity ({findings.called}) of {len(stimuli.labels)} test images{as_task}, sorted "
        f"by class, after task {shown[0].task}, mean over seeds. Each row and column is an image; ticks are the "
        f"middles of the classes {', '.join(stimuli.classes)}."
        + (" Grey: undefined for these images in every seed." if grey else "")
    )
    return {"rdms": (caption, lambda: rdm_maps(means, stimuli.classes, stimuli.per_class, findings.called))}


def _mean(rdms: Any) -> NDArray[np.float64]:
    """Of each pair of stimuli over the networks that have it; NaN where none has."""
    if isinstance(rdms, StoredStack):
        n = stimuli_of(rdms.shape[1])
        # The mean itself, its matrix, and that as a picture.
        memory.need(8 * rdms.shape[1] + 3 * 8 * n * n, f"a figure of RDMs of {n} stimuli", "draw none: formats=[]")
        return np.concatenate([_mean(part) for part, _ in blocks(rdms, rdms)])
    there = ~np.isnan(rdms)
    if there.all():
        return rdms.mean(axis=0)
    count = there.sum(axis=0)
    return np.where(count > 0, np.where(there, rdms, 0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _compared(shown: Sequence[Network], layers: Sequence[str]) -> Compared:
    """The RDMs of all layers, and the correlations between them."""
    own = [(one, layer) for one in shown for layer in layers if layer in one.rdms]
    return own, on_shared(pearson, together((one.rdms, layer) for one, layer in own)) if own else np.zeros((0, 0))


def _plane(compared: Compared) -> dict[str, Any] | None:
    """All RDMs that can be compared as points of a plane; None where there are too few."""
    own, apart = compared[0], 1 - compared[1]
    kept = comparable(apart)
    # Two points lie on a line, whatever their distance.
    if len(kept) <= 2:
        return None
    apart = apart[np.ix_(kept, kept)]
    points, stress = smacof((apart + apart.T) / 2)
    names = names_of(one.run.folder for one, _ in own)
    places = [(one.method, names[one.run.folder], layer) for one, layer in (own[number] for number in kept)]
    keys = ("method", "run", "layer", "x", "y")
    found = [dict(zip(keys, (*place, *at), strict=True)) for place, at in zip(places, points.tolist(), strict=True)]
    return {"task": own[0][0].task, "stress": stress, "points": found}


def _in_a_plane(plane: Mapping[str, Any], shown: Sequence[Network], layers: Sequence[str], facets: Facets) -> Drawings:
    at = {(one["method"], one["run"], one["layer"]): (one["x"], one["y"]) for one in plane["points"]}
    # Those of which no RDM is left have no line.
    named = names_of(one.run.folder for one in shown)
    names = [(one.method, named[one.run.folder]) for one in shown]
    names = [name for name in names if any((*name, layer) in at for layer in layers)]
    points = np.array([at.get((*name, layer), (np.nan, np.nan)) for name in names for layer in layers])
    grow = f", whose markers grow from the first to the last: {', '.join(layers)}" if len(layers) > 1 else ""
    axes = " All panels have the same axes." if len(facets.panels) > 1 else ""
    caption = (
        f"All RDMs after task {plane['task']}, metric multidimensional scaling of 1 − r between them. Every marker is "
        f"a layer of a network; a line joins the layers of a network{grow}.{axes}{facets.caption}"
    )
    return {"mds": (caption, lambda: rdms_in_a_plane(points, names, layers, plane["stress"], facets))}


def at_task(found: Mapping[tuple[str, int], Any], task: int) -> dict[str, Any]:
    """What was found after one task, by method."""
    return {method: one for (method, after), one in found.items() if after == task}


def _of_findings(findings: Findings, task: int, stimuli: Stimuli, facets: Facets) -> Drawings:
    """Figures of what is compared."""
    drawings: Drawings = {}
    dots = f"Lines are means over seeds, dots seeds.{facets.caption}"
    if between := at_task(findings.consistency, task):
        drawings["consistency"] = (
            f"Representational consistency between seeds, the shared variance of their RDMs, after task {task}. "
            f"{marks(between)} Intervals resample networks, not pairs.{facets.caption}",
            lambda: consistency_by_layer(between, facets=facets),
        )
    if centroids := at_task(findings.centroids, task):
        drawings["centroids"] = (
            f"Consistency between seeds of the RDMs of the mean activations of the {len(stimuli.classes)} classes, "
            f"after task {task}: beside that of all stimuli, it shows whether networks agree on classes or on images. "
            f"{marks(centroids)}{facets.caption}",
            lambda: consistency_by_layer(centroids, "Centroid consistency (r²)", facets=facets),
        )
    if between and centroids:
        stimuli_too = any(one.stimuli for by_layer in between.values() for one in by_layer.values())
        over_networks = " Bars of classes are over networks alone." if stimuli_too else ""
        drawings["exemplars"] = (
            f"Consistency between seeds of the RDMs of all images, and of those of the mean activations of the "
            f"{len(stimuli.classes)} classes, after task {task}: networks that agree more on classes than on images "
            f"place classes alike, and images within them each in its own way. {marks(between)}{over_networks}",
            lambda: exemplar_against_centroid(facets.ordered(between), facets.ordered(centroids)),
        )
    if clustering := at_task(findings.clustering, task):
        drawings["clustering"] = (
            f"Category clustering index after task {task}, (between − within)/(between + within) of the mean "
            f"dissimilarities of stimuli of two classes and of one; the grey line is 0. {dots}",
            lambda: values_by_layer(clustering, "Category clustering index", facets=facets),
        )
    if correspondence := facets.ordered(at_task(findings.correspondence, task)):
        drawings["correspondence"] = (
            f"Correspondence of layers after task {task}: how often each layer of one network (rows) is most similar "
            "to each layer of another seed (columns), by the Pearson correlation of their RDMs. Numbers are shares of "
            "pairs of networks; titles say how often it is the same layer.",
            lambda: layer_correspondence(correspondence),
        )
    for name, found in findings.similarity.items():
        about = findings.measures[name]
        if shown := at_task(found, task):
            drawings[f"similarity-{name}"] = (
                f"{'Distance' if about.metric else 'Similarity'} of activations between seeds by {name} "
                f"({about.function}), after task {task}. {marks(shown)} Intervals resample networks, not pairs."
                f"{facets.caption}",
                lambda shown=shown, name=name: consistency_by_layer(shown, name, None, facets),
            )
    for name, found in findings.references.items():
        limits = findings.ceilings[name]
        method = findings.compared[name].method
        band = "" if limits is None else " The grey band is the noise ceiling."
        ceiling = f"{band} {warning(limits, method)}".rstrip()
        if not at_task(found, task):
            continue
        drawings[f"reference-{name}"] = (
            f"Agreement of every layer with {name} after task {task}, by the {method.replace('_', ' ')} comparison of "
            f"RDMs; the grey line is 0. {dots}{ceiling}",
            lambda found=found, name=name, limits=limits, method=method: values_by_layer(
                {key: {layer: one.values for layer, one in by.items()} for key, by in at_task(found, task).items()},
                f"Agreement with {name} ({method.replace('_', ' ')})",
                limits,
                facets,
            ),
        )
    return drawings
