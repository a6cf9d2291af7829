"""What scripts/pmnist.sh and scripts/split_cifar10.sh end with: all results as JSON, and the table of docs/results.

python scripts/family.py pmnist
python scripts/family.py split_cifar10
"""

from __future__ import annotations

import argparse
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from orthotrace.core.files import read_json, write_json
from orthotrace.results.run_folder import Run, find

RESULTS = Path("scripts/results")
SCORES = ("acc", "bwt", "learning_accuracy")


@dataclass(frozen=True)
class Part:
    """The rows of a table that come from one folder of runs.

    Attributes:
        setting: in words.
        folder: of the runs.
        methods: in the order of the table.
        published: method -> ACC and BWT, as printed.
    """

    setting: str
    folder: str
    methods: tuple[str, ...]
    published: dict[str, tuple[str, str]]


# Published: GPM and OWM in Saha et al., ICLR 2021; TRGP in Lin et al., ICLR 2022; HLOP (spiking, one run) in Xiao et
# al., ICLR 2024.
PARTS = {
    "pmnist": (
        Part(
            "784-100-100-10 without biases, 5 epochs, batch 10, SGD .01; energies .95 / .99 / .99, hlop at gpm's ranks",
            "runs/permuted_mnist_gpm",
            ("finetune", "gpm", "hlop", "sgp", "trgp", "owm", "nscl"),
            {"gpm": (".939 ± .002", "−.03"), "trgp": (".963 ± .001", "−.008"), "owm": (".907", "−.01")},
        ),
        Part(
            "784-800-800-10 without biases, 1 epoch, batch 64, SGD .1; the paper's rows, no closing pass",
            "runs/permuted_mnist",
            ("hlop",),
            {"hlop": ("–", "−.013")},
        ),
    ),
    "split_cifar10": (
        Part(
            "convolutions 32-64-128 with batch normalisation, 8 epochs, batch 64, Adam .001; energies "
            ".97 + .003 for each task, 125 samples, hlop at most 200 rows a task, trgp's scales at a tenth of the rate",
            "runs/split_cifar10",
            ("finetune", "gpm", "hlop", "sgp", "trgp", "nscl"),
            {},
        ),
    ),
}


def results(part: Part) -> dict[str, Any]:
    """Scores of all finished runs, by method."""
    finished = [run for run in find(part.folder) if run.finished]
    found = {}
    for method in part.methods:
        runs = sorted(
            (run for run in finished if run.scores["method"] == method), key=lambda run: run.scores["seeds"]["init"]
        )
        if runs:
            found[method] = {
                "seeds": [run.scores["seeds"]["init"] for run in runs],
                **{score: [run.scores[score] for run in runs] for score in SCORES},
                "leak": [max(run.scores["leak"]) if run.scores["leak"] else None for run in runs],
                "rank": [_ranks(run) for run in runs],
                "extra_memory_bytes": runs[0].scores["extra_memory_bytes"],
                "seconds": [round(sum(run.scores["seconds"])) for run in runs],
            }
    return found


def _ranks(run: Run) -> dict[str, int]:
    """Rows held in each layer after the last task."""
    return {name: entry["rank"][-1] for name, entry in (run.scores["capacity"] or {}).items()}


def write(name: str) -> None:
    """Write the results, and print the table."""
    content = {
        "command": f"bash scripts/{name}.sh FOLDER_OF_PARQUET",
        "machine": f"CPU, 2 jobs of 1 thread, torch {torch.__version__}, Python {platform.python_version()}",
        "parts": [{"setting": part.setting, "results": results(part)} for part in PARTS[name]],
    }
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / f"{name}.json", content)
    print("\n".join(table(name)))


def table(name: str) -> list[str]:
    """The lines of the table, from the results that were written."""
    lines = []
    for part, written in zip(PARTS[name], read_json(RESULTS / f"{name}.json")["parts"], strict=True):
        lines += ["| method | seeds | ACC | BWT | learning acc. | published ACC / BWT |", "|---|---|---|---|---|---|"]
        for method, of in written["results"].items():
            cells = [cell(of[score]) for score in SCORES]
            published = " / ".join(part.published.get(method, ("–",)))
            lines.append(f"| {method} | {len(of['seeds'])} | {' | '.join(cells)} | {published} |")
    return lines


def cell(values: Sequence[float]) -> str:
    """Mean ± deviation over seeds, rates without their zero.

    Example:
        >>> cell([-0.01, -0.03])
        '−.020 ± .014'
    """
    mean = f"{statistics.fmean(values):.3f}"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{mean}{spread}".replace("0.", ".").replace("-", "−")


def main() -> None:
    """One of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=PARTS)
    write(parser.parse_args().name)


if __name__ == "__main__":
    main()
