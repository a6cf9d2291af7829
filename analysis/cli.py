"""orthotrace-analyze: from a folder of runs to figures, numbers and a report."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import Field

from orthotrace.analysis.keys import refuse_for_given, refuse_for_runs
from orthotrace.analysis.out import folder_name, out_of
from orthotrace.cli.composed import check_composed
from orthotrace.cli.errors import mistakes_on_one_line
from orthotrace.cli.launch import launch, quieten
from orthotrace.config.build import build, plain
from orthotrace.config.renamed import current
from orthotrace.core.errors import UserError, checked, import_fault, nearest
from orthotrace.core.folders import held
from orthotrace.core.interrupt import deferred, working_in

if TYPE_CHECKING:
    from orthotrace.analysis.networks.runs import Stimuli
    from orthotrace.analysis.rdm.rdms import Measure
    from orthotrace.analysis.studies.references import Reference
    from orthotrace.results.run_folder import Run


def main() -> None:
    """The command."""
    launch(job, "analyze")


def job(config: DictConfig) -> None:
    """One analysis; of a multirun each has a folder of its own, below the one that all would have."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    quieten()
    with mistakes_on_one_line("analyze"):
        hydra: Any = HydraConfig.get()
        check_composed(config, hydra, "analyze")
        below = folder_name(hydra.overrides.task) if hydra.mode == RunMode.MULTIRUN else ""
        working_in(out_of(plain(config)) / below)
        print(f"report: {analyse(config, below)}", flush=True)


@checked
@dataclass(frozen=True)
class StimulusOptions:
    """Which images are stimuli: the keys below stimuli."""

    task: Annotated[int, Field(ge=1)] | None
    per_class: Annotated[int, Field(ge=1)] | None
    classes: list[str | int] | None
    path: Annotated[str, Field(min_length=1)] | None
    labels: Annotated[str, Field(min_length=1)] | None
    size: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None
    mean: float | Annotated[list[float], Field(min_length=1)] | None
    std: Annotated[float, Field(gt=0)] | Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] | None


@checked
@dataclass(frozen=True)
class ConceptOptions:
    """How many images of each part are shown to concept layers: the key below concepts."""

    images: Annotated[int, Field(ge=10)] | None


@checked
@dataclass(frozen=True)
class IntervalOptions:
    """Intervals of means over pairs of networks: the keys below interval, see consistency.between_networks."""

    method: Literal["jackknife", "bootstrap"]
    level: Annotated[float, Field(gt=0, lt=1)]
    resamples: Annotated[int, Field(ge=100)]
    seed: int
    stimuli: bool


@checked
@dataclass(frozen=True)
class DropoutOptions:
    """Dropout masks that are drawn at test too: the keys below dropout."""

    samples: Annotated[int, Field(ge=1)] | None
    average: Literal["activations", "rdms"]
    seed: Annotated[int, Field(ge=0)]


@checked
@dataclass(frozen=True)
class SpikeOptions:
    """How spiking networks are read over time: the keys below spikes."""

    windows: Annotated[int, Field(ge=1)] | None
    tau: Annotated[float, Field(gt=0)]
    cost: Annotated[float, Field(ge=0)]


@checked
@dataclass(frozen=True)
class ParallelOptions:
    """Processes that work on networks at once: the keys below parallel, see networks.spread."""

    jobs: Annotated[int, Field(ge=1)]
    backend: Literal["loky", "dask", "ray"]


@checked
@dataclass(frozen=True)
class Options:
    """The keys that have types and ranges; others are checked where they are used.

    Raises:
        UserError: a value of another type or out of its range.
    """

    layers: list[str | int] | None
    read: Literal["post", "pre", "module"]
    stimuli: StimulusOptions
    concepts: ConceptOptions
    interval: IntervalOptions
    readout: bool
    degeneracy: bool
    factors: list[str]
    dropout: DropoutOptions
    spikes: SpikeOptions
    parallel: ParallelOptions
    memory: str | None
    trust: list[str]
    formats: list[Literal["pdf", "svg", "png"]]
    style: Literal["nature", "neurips", "icml", "cvpr", "slides"]
    figures: list[str] | None
    labels: dict[str, str] | None
    order: list[str | int | float]
    facets: str | None
    groups: list[str] | None


def analyse(config: DictConfig, below: str = "") -> Path:
    """Analyse the chosen runs, or the networks that are given, and write the folder of the analysis.

    Args:
        config: as it was composed.
        below: a folder in it, of one of several analyses.

    Returns:
        The report.

    Raises:
        UserError: whatever the user can mend.
    """
    options: dict[str, Any] = plain(config)
    chosen = Options(**{one.name: options[one.name] for one in fields(Options)})
    out = out_of(options) / below
    # torch takes a second to import: what does not need it has been answered. Some libraries catch whatever is raised
    # while they are imported.
    with deferred():
        from orthotrace.analysis.comparison import compare_groups
        from orthotrace.analysis.concepts.study import read_concepts
        from orthotrace.analysis.figures.facets import Facets
        from orthotrace.analysis.inference.ceilings import warning
        from orthotrace.analysis.networks.epochs import at_epochs
        from orthotrace.analysis.networks.left_out import left_out_line
        from orthotrace.analysis.networks.runs import select
        from orthotrace.analysis.networks.spread import Spreading
        from orthotrace.analysis.settings import Settings
        from orthotrace.analysis.studies.dropout import DropoutSampling
        from orthotrace.analysis.studies.group_names import facet_key, named, panels_of
        from orthotrace.results.groups import groups
        from orthotrace.results.summary import print_summary

    spreading = Spreading(**vars(chosen.parallel))
    tracker = build(config, "logger")
    measure = measure_of(options["rdm"], chosen.spikes)
    similar = measures_of(config)
    outside = references_of(options["references"])
    runs: list[Run] = []
    tasks = options["tasks"]
    if options["networks"] is None:
        refuse_for_runs(options)
        runs = select(str(options["runs"]), options["where"], chosen.trust)
        if options["epochs"] is not None:
            runs, tasks = at_epochs(runs, options["epochs"])
        grouped: Any = groups(runs)
        shown = chosen.stimuli
        stimuli = common_stimuli(runs, shown.task, shown.per_class, shown.classes)
    else:
        refuse_for_given(options)
        grouped, stimuli = given_of(config, chosen)
    grouped = named(grouped, chosen.labels or {}, chosen.order)
    facets = Facets(panels_of(grouped, facet_key(grouped, chosen.facets)))
    if similar and runs and all(len(group.runs) < 2 for group in grouped):
        raise UserError("no group has two networks, so there are no pairs to compare: choose more runs", "measures")
    # Names such as 2026 are read as numbers.
    layers = None if chosen.layers is None else [str(layer) for layer in chosen.layers]
    interval = vars(chosen.interval)
    settings = Settings(
        options, measure, layers, chosen.read, tasks, similar, outside, interval, readout=chosen.readout,
        degeneracy=chosen.degeneracy, factors=chosen.factors, dropout=DropoutSampling(**vars(chosen.dropout)),
        windows=chosen.spikes.windows,
        formats=chosen.formats, style=chosen.style, figures=chosen.figures, spreading=spreading, memory=chosen.memory,
    )  # fmt: skip

    def concepts() -> Any:
        return read_concepts(grouped, tasks, stimuli.task, chosen.concepts.images, chosen.interval.level, spreading)

    # Another analysis that writes there would mix its files with these.
    with held(out):
        done = compare_groups(grouped, stimuli, settings, out, facets, concepts if runs else None)
        assert done.report is not None
        for name, limits in done.findings.ceilings.items():
            if said := warning(limits, done.findings.compared[name].method):
                print(f"{name}: {said}", flush=True)
        of = options["runs"] if runs else out
        tracker.start(out, "analyse", str(options["name"]), f"analysis of {Path(str(of)).name}", [], options)
        means = {
            f"consistency/{one['method']}/task{one['task']}/{one['layer']}": one["mean"]
            for one in done.results["consistency"]
        }
        try:
            tracker.figures({f"figures/{path.stem}": path for path in done.pictures.values()}, means)
            tracker.analysis(
                out, tables_of(done.results), [(one.label, run.folder) for one in grouped for run in one.runs]
            )
        finally:
            tracker.finish()
        if left_out := [*done.readings.left_out, *done.findings.left_out]:
            print(left_out_line(left_out), file=sys.stderr, flush=True)
        if runs:
            print_summary(
                runs, "after training, whichever epochs are analysed" if options["epochs"] is not None else ""
            )
        else:
            print("no training scores: accuracy, capacity and their tests are left out", flush=True)
        return done.report


def tables_of(results: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What of results.json is rows.

    Example:
        >>> tables_of({"schema": 2, "factors": [{"layer": "fc1", "share": 0.5}], "layers": ["fc1"], "concepts": []})
        {'factors': [{'layer': 'fc1', 'share': 0.5}]}
    """
    rows = {key: of for key, of in results.items() if isinstance(of, list)}
    return {key: of for key, of in rows.items() if of and all(isinstance(one, dict) for one in of)}


def given_of(config: DictConfig, chosen: Options) -> tuple[Any, Stimuli]:
    """The groups of networks that are given, and their stimuli.

    Raises:
        UserError: as comparison.given_groups and given_stimuli.
    """
    from orthotrace.analysis.comparison import given_groups, given_stimuli

    options: dict[str, Any] = plain(config)
    shown = vars(chosen.stimuli) | {"task": None}
    del shown["task"]
    path, dataset = shown.pop("path"), options.get("dataset")
    if dataset is not None and path is not None:
        raise UserError("give dataset or stimuli.path", "stimuli.path")
    if dataset is not None and shown["labels"] is not None:
        raise UserError("a data set has labels of its own", "stimuli.labels")
    grouped, rows = given_groups(options["networks"], chosen.groups, chosen.trust)
    source = build(config, "dataset") if dataset is not None else path
    return grouped, given_stimuli(grouped, source, rows, **shown)


def measure_of(name: Any, spikes: SpikeOptions) -> Measure:
    """A measure of dissimilarity by its name, or a function of the user's by its path.

    Raises:
        UserError: there is none.
    """
    from orthotrace.analysis.networks.trains import CONSTANTS, named_measure
    from orthotrace.analysis.rdm.dissimilarity import MEASURES

    if (found := named_measure(str(name), spikes.tau, spikes.cost)) is not None:
        return found
    if not isinstance(name, str) or "." not in name:
        hint = nearest(str(name), [*MEASURES, *CONSTANTS])
        raise UserError(f"there is no measure '{name}'; {hint}; or package.function", "rdm")
    return imported(name, "rdm")


def imported(path: str, key: str) -> Any:
    """A function by its path, package.function.

    Raises:
        UserError: it cannot be imported; names the nearest.
    """
    module, _, name = current(path).rpartition(".")
    try:
        there = importlib.import_module(module)
    except Exception as error:
        raise UserError(f"'{path}' cannot be imported: {import_fault(error)}", key) from error
    if not callable(getattr(there, name, None)):
        functions = [one for one, value in vars(there).items() if callable(value) and not one.startswith("_")]
        raise UserError(f"there is no function '{name}' in {module}; {nearest(name, functions)}", key)
    return getattr(there, name)


def check_file_name(name: Any, key: str) -> None:
    """Refuse a name that would lead out of the analysis folder as part of a file's name."""
    if re.search(r"[/\\\0]", str(name)):
        raise UserError("becomes part of the names of files: write it without slashes", key)


def measures_of(config: DictConfig) -> dict[str, Callable[[Any, Any], float]]:
    """The measures of similarity that the configuration names.

    Raises:
        UserError: one without a _target_, or that cannot be imported; names it.
    """
    found = {}
    for name, node in plain(config.measures).items():
        check_file_name(name, f"measures.{name}")
        if not isinstance(node, dict) or "_target_" not in node:
            raise UserError(f"write +measures.{name}._target_=package.function", f"measures.{name}")
        imported(str(node["_target_"]), f"measures.{name}")
        found[name] = build(config, f"measures.{name}", _partial_=True)
    return found


def references_of(nodes: Mapping[str, Any]) -> dict[str, Reference]:
    """The references that the configuration names.

    Raises:
        UserError: one without a path, or with a value that does not fit; names it.
    """
    from orthotrace.analysis.studies.references import reference

    found = {}
    for name, node in nodes.items():
        check_file_name(name, f"references.{name}")
        if not isinstance(node, dict) or "path" not in node:
            raise UserError(f"write +references.{name}.path=FILE", f"references.{name}")
        try:
            found[name] = reference(**node)
        except UserError as error:
            raise error.below(f"references.{name}") from error
    return found


def common_stimuli(
    runs: Sequence[Run], task: int | None, per_class: int | None, classes: Sequence[Any] | None
) -> Stimuli:
    """The stimuli of all runs, which must be the same images.

    Raises:
        UserError: two runs show other images.
    """
    from orthotrace.analysis.networks.runs import stimuli_of

    found: dict[str, tuple[Run, Stimuli]] = {}
    made: dict[str, Stimuli] = {}
    for run in runs:
        # Runs that show the same images need not make them again.
        key = str([OmegaConf.to_container(run.config[name]) for name in ("dataset", "stream")])
        key += "" if task is None else str(run.scores["seeds"]["stream"])
        if key not in made:
            made[key] = stimuli_of(run, task, per_class, classes)
        found.setdefault(made[key].digest, (run, made[key]))
    if len(found) > 1:
        (first, _), (second, _) = list(found.values())[:2]
        way = "choose runs of one data set by where, such as +where.dataset.path=FOLDER"
        if task is not None:
            way = "choose runs of one stream by where, or stimuli.task=null, whose images do not depend on the seed"
        raise UserError(f"{first.folder.name} and {second.folder.name} show different images: {way}")
    return next(iter(found.values()))[1]
