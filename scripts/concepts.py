"""What scripts/concepts_mnist.sh, concepts_cifar10.sh and concept_drift.sh end with: JSON, figures, and the table.

python scripts/concepts.py concepts_mnist
"""

from __future__ import annotations

import argparse
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from family import cell
from records import read_record, write_record
from torch import nn

from orthotrace.analysis.concepts.images import ConceptImageLoader, concept_layers, reduction
from orthotrace.analysis.concepts.layer_outputs import (
    ConceptEvaluation,
    LabelledImages,
    axis_purity,
    evaluate_concepts,
    read_layer,
)
from orthotrace.analysis.concepts.study import ConceptNetwork, over_tasks, read_concepts
from orthotrace.analysis.figures.concept_images import top_images_grid
from orthotrace.analysis.figures.concept_maps import separability_maps
from orthotrace.analysis.figures.concepts import concepts_over_tasks, purity_by_concept
from orthotrace.analysis.figures.style import styled
from orthotrace.config.build import plain
from orthotrace.core.files import whole
from orthotrace.data.streams import Stream
from orthotrace.layers import fit
from orthotrace.results.groups import groups
from orthotrace.results.run_folder import Run, find

RESULTS, DOCS = Path("scripts/results"), Path("docs/figures")
# Training images by whose statistics a trained network's features are whitened.
FITTED = 5000
KINDS = {"cw": "concept whitening", "bn": "batch norm"}


def finished(folder: str) -> list[Run]:
    """All finished runs, by seed."""
    return sorted((run for run in find(folder) if run.finished), key=lambda run: run.scores["seeds"]["init"])


def compare(name: str) -> dict[str, Any]:
    """Networks with concept whitening beside the same networks with batch normalisation, at the same layer."""
    runs = finished(f"runs/{name}")
    whitened = [run for run in runs if concept_layers(run)]
    layer = concept_layers(whitened[0])[0]
    sets = plain(whitened[0].config.concepts.sets)
    images = ConceptImageLoader()
    found: dict[str, Any] = {"layer": layer, "concepts": [], "kinds": {}}
    evaluated: dict[str, list[ConceptEvaluation]] = {"cw": [], "bn": []}
    fitted: list[dict[str, Any]] = []
    shown: Any = None
    for run in runs:
        kind = "cw" if concept_layers(run) else "bn"
        of_run, stream = images.of(run, 1, sets)
        parts = images.parts(of_run)
        model = run.network()
        outputs = read_layer(model, layer, parts, of_run.names, reduction(model.get_submodule(layer)))
        found["concepts"] = list(of_run.names)
        evaluated[kind].append(evaluate_concepts(outputs))
        of = found["kinds"].setdefault(kind, {"seeds": [], "accuracy": [], "seconds": []})
        of["seeds"].append(run.scores["seeds"]["init"])
        of["accuracy"].append(run.scores["acc"])
        of["seconds"].append(round(sum(run.scores["seconds"])))
        if kind == "cw" and shown is None:
            shown = (of_run.test.images.images.double().numpy(), outputs)
        if kind == "bn":
            fitted.append(after_training(model, layer, parts, of_run.names, stream))
    for kind, all_evaluated in evaluated.items():
        found["kinds"][kind] |= numbers(all_evaluated)
    found["fit"] = {key: [one[key] for one in fitted] for key in fitted[0]}
    with styled():
        draw(name, evaluated, found["concepts"], shown)
    return found


def after_training(
    model: nn.Module, layer: str, parts: Mapping[str, LabelledImages], concepts: Sequence[str], stream: Stream
) -> dict[str, Any]:
    """What becomes of a trained network without concepts when they are laid along axes of a layer, without training."""
    test = stream.test(0)

    def accuracy() -> float:
        right = [(model(x).argmax(1) == y).float() for x, y in test.split(500, next(model.parameters()))]
        return round(float(torch.cat(right).mean()), 4)

    with torch.no_grad():
        before = accuracy()
        shown, train = parts["train"], stream.task(0).train
        some = train.take(torch.arange(min(FITTED, len(train))))
        fit(
            model,
            layer,
            {name: shown.inputs[torch.from_numpy(of)] for name, of in zip(concepts, shown.has.T, strict=True)},
            (batch for batch, _ in some.split(500, next(model.parameters()))),
            reduction="pool_max",
        )
        after = accuracy()
    outputs = read_layer(model, f"{layer}.1", parts, tuple(concepts), reduction(model.get_submodule(f"{layer}.1")))
    axis = axis_purity(outputs)
    assert axis is not None
    return {"before": before, "after": after, "axis": [round(float(value), 4) for value in axis.auc.value]}


def numbers(evaluated: Sequence[ConceptEvaluation]) -> dict[str, Any]:
    """Purity of every detector, (networks, concepts), and how separate and white the features are."""
    found: dict[str, Any] = {}
    for key in ("axis", "filter", "probe", "vector"):
        purities = [getattr(one, key) for one in evaluated]
        if purities[0] is not None:
            found[key] = [[round(float(value), 4) for value in one.auc.value] for one in purities]
    found["axis_interval"] = [
        [[round(float(a), 4), round(float(b), 4)] for a, b in zip(one.axis.auc.low, one.axis.auc.high, strict=True)]
        for one in evaluated
        if one.axis is not None
    ]
    for key in ("inter", "intra", "similarity"):
        found[key] = [round(float(getattr(one.separate, key)), 4) for one in evaluated]
    found["whiteness"] = [round(one.white, 4) for one in evaluated]
    return found


def draw(name: str, evaluated: Mapping[str, Sequence[ConceptEvaluation]], concepts: Sequence[str], shown: Any) -> None:
    """The figures of a comparison."""
    purities = {
        "concept axis": [one.axis for one in evaluated["cw"] if one.axis is not None],
        "best filter of batch norm": [one.filter for one in evaluated["bn"]],
        "linear probe": [one.probe for one in evaluated["cw"]],
        "concept vector": [one.vector for one in evaluated["cw"]],
    }
    keep(purity_by_concept(purities, concepts), f"{name}_purity")
    alike = {KINDS[kind]: evaluated[kind][0].separate for kind in ("bn", "cw")}
    keep(separability_maps(alike, concepts), f"{name}_separability")
    pixels, outputs = shown
    values = pixels / pixels.max()
    keep(top_images_grid(values, outputs.active["test"], concepts, outputs.has["test"]), f"{name}_images")


def keep(drawn: tuple[Any, Any], name: str) -> None:
    """Write a figure of the documentation."""
    figure, _ = drawn
    with whole(DOCS / f"{name}.png") as temporary:
        figure.savefig(temporary, metadata={"Software": None})
    plt.close(figure)


def drift(name: str) -> dict[str, Any]:
    """Purity and angle of every concept after every task, for every method and seed."""
    networks = read_concepts(groups(finished(f"runs/{name}")), "all", 1, 2000, 0.95)
    by_method: dict[str, list[ConceptNetwork]] = {}
    for one in networks:
        by_method.setdefault(str(one.run.scores["method"]), []).append(one)
    values = {method: over_tasks(of) for method, of in by_method.items()}
    concepts = list(networks[0].outputs.concepts)
    draw_drift({method: one[0] for method, one in values.items()}, concepts, name)
    found: dict[str, Any] = {"layer": networks[0].layer, "concepts": concepts, "methods": {}}
    for method, (purity, angle) in values.items():
        runs = list(dict.fromkeys(one.run.folder for one in by_method[method]))
        scores = [Run(folder).scores for folder in runs]
        found["methods"][method] = {
            "seeds": [one["seeds"]["init"] for one in scores],
            "acc": [one["acc"] for one in scores],
            "bwt": [one["bwt"] for one in scores],
            "purity": np.round(purity, 4).tolist(),
            "angle": np.round(angle, 2).tolist(),
        }
    return found


def draw_drift(purities: Mapping[str, Any], concepts: Sequence[str], name: str) -> None:
    """Purity of every concept after every task; also of what is in the committed record."""
    with styled():
        keep(concepts_over_tasks(purities, concepts), f"{name}_purity")


def compared_table(found: Mapping[str, Any]) -> list[str]:
    """The lines of the table of a comparison."""
    cw, bn = found["kinds"]["cw"], found["kinds"]["bn"]
    lines = [
        "| concept | axis | best filter of batch norm | linear probe | concept vector | axis fitted after training |",
        "|---|---|---|---|---|---|",
    ]
    detectors = (cw["axis"], bn["filter"], cw["probe"], cw["vector"], found["fit"]["axis"])
    for number, concept in enumerate(found["concepts"]):
        cells = [cell([one[number] for one in of]) for of in detectors]
        lines.append(f"| {concept} | {' | '.join(cells)} |")
    means = [cell([statistics.fmean(one) for one in of]) for of in detectors]
    lines += [f"| **mean** | {' | '.join(means)} |", ""]
    lines += ["| | concept whitening | batch norm | fitted after training |", "|---|---|---|---|"]
    for key, title in {
        "accuracy": "accuracy",
        "similarity": "inter/intra-concept similarity",
        "whiteness": "whiteness",
    }.items():
        fitted = cell(found["fit"]["after"]) if key == "accuracy" else "–"
        lines.append(f"| {title} | {cell(cw[key])} | {cell(bn[key])} | {fitted} |")
    return lines


def drift_table(found: Mapping[str, Any]) -> list[str]:
    """The lines of the table of drifts: mean purity over concepts after every task."""
    tasks = len(next(iter(found["methods"].values()))["purity"][0])
    lines = [
        f"| method | ACC | BWT | {' | '.join(f'after task {task + 1}' for task in range(tasks))} |",
        f"|---|---|---|{'---|' * tasks}",
    ]
    for method, of in found["methods"].items():
        means = np.asarray(of["purity"]).mean(axis=2)
        cells = [cell(means[:, task].tolist()) for task in range(tasks)]
        lines.append(f"| {method} | {cell(of['acc'])} | {cell(of['bwt'])} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """One of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["concepts_mnist", "concepts_cifar10", "concept_drift"])
    name = parser.parse_args().name
    content = {
        "command": f"bash scripts/{name}.sh FOLDER_OF_PARQUET",
        "machine": f"CPU, 2 jobs of 1 thread, torch {torch.__version__}, Python {platform.python_version()}",
        **(drift(name) if name == "concept_drift" else compare(name)),
    }
    RESULTS.mkdir(exist_ok=True)
    write_record(RESULTS / f"{name}.json", content)
    print("\n".join(table(name)))


def table(name: str) -> list[str]:
    """The lines of the table, from the results that were written."""
    found = read_record(RESULTS / f"{name}.json")
    return drift_table(found) if name == "concept_drift" else compared_table(found)


if __name__ == "__main__":
    main()
