"""What scripts/pmnist_spiking.sh ends with: results of the finished runs as JSON, and the table of docs/results.

python scripts/pmnist_spiking.py
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch
from family import SCORES, cell
from omegaconf import OmegaConf

from orthotrace.core.files import read_json, write_json
from orthotrace.results.run_folder import Run, find

FOLDER = "runs/permuted_mnist_spiking"
RESULTS = Path("scripts/results/pmnist_spiking.json")
# Xiao et al., ICLR 2024, spiking with DSR, one run: ACC and BWT. Only the BWT of HLOP is confirmed.
PUBLISHED = {"hlop dsr": ("–", "−.013")}
# Our own ordinary network of the same widths.
ORDINARY = Path("scripts/results/pmnist.json")


def name_of(run: Run) -> str:
    """Method and way of learning, and levels of lateral neurons where they spike."""
    levels = OmegaConf.select(run.config, "method.levels")
    return f"{run.scores['method']} {run.config.model.learning}" + (f", {levels} levels" if levels else "")


def results() -> dict[str, Any]:
    """Scores of all finished runs, by method and way of learning."""
    found: dict[str, Any] = {}
    for run in sorted(find(FOLDER), key=lambda run: run.scores["seeds"]["init"]):
        if run.finished:
            of = found.setdefault(name_of(run), {key: [] for key in ("seeds", *SCORES, "leak", "seconds")})
            of["seeds"].append(run.scores["seeds"]["init"])
            for score in SCORES:
                of[score].append(run.scores[score])
            of["leak"].append(max(run.scores["leak"]) if run.scores["leak"] else None)
            of["seconds"].append(round(sum(run.scores["seconds"])))
    return found


def table() -> list[str]:
    """The lines of the table, from the results that were written; beside them the ordinary network."""
    lines = ["| method | seeds | ACC | BWT | learning acc. | published ACC / BWT |", "|---|---|---|---|---|---|"]
    written = dict(read_json(RESULTS)["results"])
    written["hlop, ordinary network"] = read_json(ORDINARY)["parts"][1]["results"]["hlop"]
    for name, of in written.items():
        cells = " | ".join(cell(of[score]) for score in SCORES)
        lines.append(f"| {name} | {len(of['seeds'])} | {cells} | {' / '.join(PUBLISHED.get(name, ('–',)))} |")
    return lines


def main() -> None:
    """Write the results, and print the table."""
    content = {
        "command": "bash scripts/pmnist_spiking.sh FOLDER_OF_MNIST_PARQUET",
        "setting": "784-800-800-10 without biases, 1 epoch, batch 64, SGD .1; dsr 20 steps, bptt and ottt 6; the "
        "paper's rows, no closing pass; gpm energies .95 / .99 / .99, ewc strength 100",
        "machine": f"CPU, 1 thread a job, torch {torch.__version__}, Python {platform.python_version()}",
        "results": results(),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    write_json(RESULTS, content)
    print("\n".join(table()))


if __name__ == "__main__":
    main()
