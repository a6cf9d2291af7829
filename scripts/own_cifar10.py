"""What scripts/own_cifar10.sh ends with: accuracy, curves and orthogonality of its runs as JSON, and the figure.

python scripts/own_cifar10.py [--draw]      with --draw the figure alone, from what was written
"""

from __future__ import annotations

import csv
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import MaxNLocator
from omegaconf import OmegaConf
from records import read_record, write_record

from orthotrace.analysis.figures.style import COLOURS, letter, now, styled
from orthotrace.core.files import read, whole
from orthotrace.layers import deviations
from orthotrace.results.run_folder import Run, find

RUNS, RESULTS, FIGURE = (
    Path("runs/own_cifar10"),
    Path("scripts/results/own_cifar10.json"),
    Path("docs/figures/own_curves.png"),
)
SETTING = (
    "CIFAR-10 as one task; convolutions 16-16-32-32-64-64 in stages of two and a layer of 128, batch normalisation, "
    "4 epochs, batch 128, SGD .05 with momentum .9 and a cosine"
)
LABELS = {"free": "free weights", "own": "orthogonal weight normalisation"}
CURVES = ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy")


def results(folder: Path) -> dict[str, Any]:
    """Of all finished runs, by the kind of their weights: each list has an entry for each seed."""
    found: dict[str, Any] = {}
    for run in sorted((run for run in find(folder) if run.finished), key=lambda run: run.scores["seeds"]["init"]):
        kind = OmegaConf.select(run.config, "model.weights.kind") or "free"
        of = found.setdefault(kind, {"seeds": [], "test_accuracy": [], "seconds": [], "deviation": {}, "curves": {}})
        of["seeds"].append(run.scores["seeds"]["init"])
        of["test_accuracy"].append(run.scores["acc"])
        of["seconds"].append(round(sum(run.scores["seconds"])))
        for layer, value in worst(run).items():
            of["deviation"].setdefault(layer, []).append(value)
        for name, values in curves(run).items():
            of["curves"].setdefault(name, []).append(values)
    return {kind: found[kind] for kind in LABELS if kind in found}


def worst(run: Run) -> dict[str, float]:
    """Type of layer -> the largest |W W^T - I| within the groups of its orthogonal weights."""
    network = run.network()
    found: dict[str, float] = {}
    for name, value in deviations(network).items():
        kind = "Linear" if isinstance(network.get_submodule(name), torch.nn.Linear) else "Conv2d"
        found[kind] = max(value, found.get(kind, 0.0))
    return found


def curves(run: Run) -> dict[str, list[float]]:
    """The metrics of each epoch."""

    def load(path: Path) -> list[dict[str, str]]:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    rows = read(run.metrics_file, load)
    return {name: [float(row[name]) for row in rows] for name in CURVES}


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Loss and accuracy over epochs: of the validation images solid, in training dashed; seeds thin, means thick."""
    with styled():
        figure, panels = plt.subplots(1, 2, figsize=(now().page, 2.4), layout="constrained")
        for number, (axes, what) in enumerate(zip(panels, ("loss", "accuracy"), strict=True)):
            for (kind, of), colour in zip(found.items(), COLOURS, strict=False):
                for part, line in (("validation", "-"), ("train", "--")):
                    label = f"{LABELS[kind]}, {'validation' if part == 'validation' else 'training'}"
                    _lines(axes, of["curves"][f"{part}_{what}"], line, colour, label)
            axes.set(xlabel="Epoch", ylabel=what.capitalize())
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            letter(axes, number)
        panels[0].legend(loc="best")
        with whole(path) as temporary:
            figure.savefig(temporary, metadata={"Software": None})
        plt.close(figure)


def _lines(axes: Any, seeds: Sequence[Sequence[float]], line: str, colour: str, label: str) -> None:
    values = np.array(seeds)
    epochs = np.arange(1, values.shape[1] + 1)
    axes.plot(epochs, values.T, line, color=colour, linewidth=0.5, alpha=0.5)
    axes.plot(epochs, values.mean(axis=0), line, color=colour, linewidth=1.5, label=label)


def main() -> None:
    """Read, write and draw."""
    if sys.argv[1:] != ["--draw"]:
        content = {
            "command": "bash scripts/own_cifar10.sh FOLDER_OF_PARQUET",
            "machine": f"CPU, 2 jobs of 1 thread, torch {torch.__version__}, Python {platform.python_version()}",
            "setting": SETTING,
            "results": results(RUNS),
        }
        write_record(RESULTS, content)
    found = read_record(RESULTS)["results"]
    draw(found, FIGURE)
    for kind, of in found.items():
        print(f"{kind}: test accuracy {np.mean(of['test_accuracy']):.3f}, deviation {of['deviation']}")


if __name__ == "__main__":
    main()
