"""orthotrace-analyze: from a folder of runs to figures, numbers and a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import Field

from orthotrace.configuration import build, plain
from orthotrace.entry import check_keys, launch, quieten, told
from orthotrace.errors import UserError, checked
from orthotrace.files import write_json

if TYPE_CHECKING:
    from analysis.figures.study import Consistent
    from analysis.runs import Network, Stimuli
    from orthotrace.run import Run
    from orthotrace.summary import Group

MEASURE = "correlation distance, 1 - r"


def main() -> None:
    """The command."""
    launch(job, "analyze")


def job(config: DictConfig) -> None:
    """One analysis."""
    quieten()
    with told("analyze"):
        check_keys(config, "analyze")
        print(f"report: {analyse(config)}", flush=True)


@checked
def check_interval(
    method: Literal["jackknife", "bootstrap"],
    level: Annotated[float, Field(gt=0, lt=1)],
    resamples: Annotated[int, Field(ge=100)],
    seed: int,
) -> None:
    """Types and ranges of the keys below interval."""


@checked
def check_stimuli(
    task: Annotated[int, Field(ge=1)] | None, per_class: Annotated[int, Field(ge=1)], classes: list[str | int] | None
) -> None:
    """Types and ranges of the keys below stimuli."""


@checked
def check_layers(*, layers: list[str] | None) -> None:
    """Type of the key layers."""


def analyse(config: DictConfig) -> Path:
    """Analyse the chosen runs and write the folder of the analysis.

    Returns:
        The report.

    Raises:
        UserError: whatever the user can mend.
    """
    options: dict[str, Any] = plain(config)
    check_layers(layers=options["layers"])
    for key, check in {"interval": check_interval, "stimuli": check_stimuli}.items():
        try:
            check(**options[key])
        except UserError as error:
            raise error.below(key) from error
    # torch takes a second to import: what does not need it has been answered.
    from analysis.figures.study import draw
    from analysis.report import write_report
    from analysis.runs import select
    from orthotrace.summary import groups, print_summary

    tracker = build(config, "logger")
    runs = select(options["runs"], options["where"])
    grouped = groups(runs)
    stimuli = common_stimuli(runs, **options["stimuli"])
    networks = read_networks(grouped, stimuli, options["tasks"], options["layers"])
    consistent = consistencies(networks, **options["interval"])
    out = Path(options["out"])
    results = results_of(grouped, stimuli, networks, consistent)
    pictures, plane = draw(out / "figures", grouped, stimuli, networks, consistent)
    results["mds"] = plane
    keep_rdms(out / "rdms", networks, stimuli)
    report = write_report(out, grouped, results, pictures)
    write_json(out / "results.json", results)
    tracker.start(out, "analyse", options["name"], f"analysis of {Path(options['runs']).name}", [], options)
    try:
        tracker.figures(
            {f"figures/{path.stem}": path for path in pictures.values()},
            {
                f"consistency/{one['method']}/task{one['task']}/{one['layer']}": one["mean"]
                for one in results["consistency"]
            },
        )
    finally:
        tracker.finish()
    print_summary(runs)
    return report


def common_stimuli(runs: Sequence[Run], task: int | None, per_class: int, classes: Sequence[Any] | None) -> Stimuli:
    """The stimuli of all runs, which must be the same images.

    Raises:
        UserError: two runs show other images.
    """
    from analysis.runs import stimuli_of

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


def read_networks(
    grouped: Sequence[Group], stimuli: Stimuli, tasks: str | list[int], layers: Sequence[str] | None
) -> list[Network]:
    """Rebuild every network and reduce its activations to RDMs, layer by layer.

    Raises:
        UserError: layers that do not match, a checkpoint that is damaged, a pattern without a correlation.
    """
    from rich.console import Console
    from rich.progress import track

    from analysis.activations import activations, readable_layers
    from analysis.rdm import correlation
    from analysis.runs import Network, tasks_of

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
        rdms = {}
        try:
            for name, values in activations(model, stimuli.images, names):
                try:
                    rdms[name] = correlation(values)
                except ValueError as error:
                    raise UserError(f"{run.folder.name}, after task {task}, layer {name}: {error}") from error
        except ValueError as error:
            raise UserError(f"{run.folder.name}: {error}", "layers") from error
        networks.append(Network(method, run, task, rdms))
    return networks


def consistencies(networks: Sequence[Network], **interval: Any) -> Consistent:
    """(method, task) -> layer -> consistency between seeds, where there are two seeds and more."""
    from analysis.compare import consistency
    from analysis.consistency import pair_mean

    members: dict[tuple[str, int], list[Network]] = {}
    for network in networks:
        members.setdefault((network.method, network.task), []).append(network)
    return {
        key: {layer: pair_mean(consistency([one.rdms[layer] for one in same]), **interval) for layer in same[0].rdms}
        for key, same in members.items()
        if len(same) > 1
    }


def results_of(
    grouped: Sequence[Group], stimuli: Stimuli, networks: Sequence[Network], consistent: Consistent
) -> dict[str, Any]:
    """The content of results.json, the planes apart."""
    from orthotrace.summary import SCORES

    return {
        "schema": 1,
        "measure": MEASURE,
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
        "consistency": [
            {"method": method, "task": task, "layer": layer, **asdict(one)}
            for (method, task), by_layer in consistent.items()
            for layer, one in by_layer.items()
        ],
    }


def keep_rdms(folder: Path, networks: Sequence[Network], stimuli: Stimuli) -> None:
    """Write the RDMs of every network; those of an earlier analysis that are not among them go."""
    from analysis.storage import write_rdms

    written = set()
    for network in networks:
        path = folder / f"{network.run.folder.name}-task{network.task}.safetensors"
        about = {
            "measure": MEASURE,
            "method": network.method,
            "run": network.run.folder.name,
            "task": network.task,
            "seeds": network.run.scores["seeds"],
            "layers": list(network.rdms),
            "stimuli": stimuli.digest,
            "labels": stimuli.labels.tolist(),
            "order": "upper triangle, row by row",
        }
        write_rdms(path, network.rdms, about)
        written |= {path, path.with_suffix(".json")}
    for path in folder.iterdir():
        if path not in written and path.suffix in (".safetensors", ".json"):
            path.unlink()
