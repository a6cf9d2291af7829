"""What scripts/quantised_mnist.sh ends with: test accuracies of its runs as JSON, and as a table.

python scripts/quantised_mnist.py
"""

from __future__ import annotations

import platform
import statistics
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from records import write_record

from orthotrace.results.run_folder import Run, find

RUNS, RESULTS = Path("runs/quantised_mnist"), Path("scripts/results/quantised.json")
SETTING = (
    "MNIST as one task, at most 1,000 training and test images of each class; convolutions 8-16-16 with batch "
    "normalisation, 5 epochs of Adam; SAWB on all but the first convolution and the readout"
)


def kind_of(run: Run) -> tuple[Any, Any, Any]:
    """Kind of the weights, their bits, and those of activations."""
    names = ("kind", "bits", "activation_bits")
    kind, *bits = (OmegaConf.select(run.config, f"model.weights.{name}") for name in names)
    return kind or "free", *bits


def results(folder: Path) -> list[dict[str, Any]]:
    """Of all finished runs: each list has an entry for each seed."""
    found: dict[Any, dict[str, Any]] = {}
    for run in sorted((run for run in find(folder) if run.finished), key=lambda run: run.scores["seeds"]["init"]):
        kind, bits, activation_bits = key = kind_of(run)
        named = {"weights": kind, "bits": bits, "activation_bits": activation_bits}
        of = found.setdefault(key, {**named, "seeds": [], "test_accuracy": [], "seconds": []})
        of["seeds"].append(run.scores["seeds"]["init"])
        of["test_accuracy"].append(round(run.scores["acc"], 4))
        of["seconds"].append(round(sum(run.scores["seconds"])))
    return sorted(found.values(), key=lambda of: (of["weights"], of["bits"] or 0, of["activation_bits"] or 0))


def main() -> None:
    """Read, write and show."""
    content = {
        "command": "bash scripts/quantised_mnist.sh FOLDER_OF_PARQUET",
        "machine": f"CPU, 2 jobs of 1 thread, torch {torch.__version__}, Python {platform.python_version()}",
        "setting": SETTING,
        "results": results(RUNS),
    }
    write_record(RESULTS, content)
    print("| weights | bits | bits of activations | test accuracy |\n|---|---|---|---|")
    for of in content["results"]:
        accuracies = of["test_accuracy"]
        bits = " | ".join("32" if of[name] is None else str(of[name]) for name in ("bits", "activation_bits"))
        print(f"| {of['weights']} | {bits} | {statistics.mean(accuracies):.4f} ± {statistics.stdev(accuracies):.4f} |")


if __name__ == "__main__":
    main()
