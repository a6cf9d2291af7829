"""What scripts/split_mnist.sh needs beside the command: the choice of strengths, and the table.

python scripts/split_mnist.py choose                  score the search on validation images
python scripts/split_mnist.py chosen METHOD SCENARIO  overrides for the method, one a line
python scripts/split_mnist.py table                   all results as JSON, and the table of docs/results
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from records import read_record, write_record

from orthotrace.config.build import build
from orthotrace.results.run_folder import Run, find
from orthotrace.training.evaluation import evaluate

RESULTS = Path("scripts/results/split_mnist.json")
CHOICE = Path("scripts/results/split_mnist_search.json")
# The option of each method that is searched.
SEARCHED = {"ewc": "strength", "si": "strength", "lwf": "strength", "derpp": "alpha", "gpm": "energy", "hlop": "energy"}
ALWAYS = {"hlop": ["method.max_rows=200"]}
METHODS = ("finetune", "joint", "ewc", "si", "lwf", "er", "derpp", "agem", "gpm", "hlop")
SCENARIOS = ("task", "domain", "class")


def validation_accuracy(run: Run) -> float:
    """Mean accuracy of a run's last network on the validation parts of all tasks, as its scenario judges them."""
    stream = build(run.config, "stream", source=build(run.config, "dataset"), seed=run.scores["seeds"]["stream"])
    model = run.network()
    return statistics.fmean(
        evaluate(model, stream.task(index).validation, stream.active.for_evaluation(index, stream.tasks)).accuracy
        for index in range(stream.tasks)
    )


def choose() -> None:
    """Score every run of the search, and note the best value of each method in each scenario."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for run in find("runs/split_mnist_search"):
        if not run.finished:
            sys.exit(f"{run.folder} is not finished: run scripts/split_mnist.sh again")
        method, scenario = run.scores["method"], run.scores["scenario"]
        value = OmegaConf.select(run.config, f"method.{SEARCHED[method]}")
        found.setdefault(method, {}).setdefault(scenario, {})[str(value)] = round(validation_accuracy(run), 4)
    content: dict[str, Any] = {
        "what": "mean validation accuracy after the last task, seed 100, for each value searched; ties go to the first",
        "searched": {method: f"method.{key}" for method, key in SEARCHED.items()},
        "scores": {
            method: {
                scenario: dict(sorted(values.items(), key=lambda item: float(item[0])))
                for scenario, values in of.items()
            }
            for method, of in found.items()
        },
        "best": {
            method: {
                scenario: max(sorted(values, key=float), key=values.__getitem__) for scenario, values in of.items()
            }
            for method, of in found.items()
        },
    }
    CHOICE.parent.mkdir(exist_ok=True)
    write_record(CHOICE, content)


def chosen(method: str, scenario: str) -> None:
    """Print the overrides of a method."""
    overrides = list(ALWAYS.get(method, []))
    if method in SEARCHED:
        overrides.append(f"method.{SEARCHED[method]}={read_record(CHOICE)['best'][method][scenario]}")
    for override in overrides:
        print(override)


def table() -> None:
    """Write all results, and print the table."""
    runs = [run for run in find("runs/split_mnist") if run.finished]
    best = read_record(CHOICE)["best"]
    results: dict[str, dict[str, Any]] = {method: {} for method in METHODS}
    for method in METHODS:
        for scenario in SCENARIOS:
            same = [run for run in runs if (run.scores["method"], run.scores["scenario"]) == (method, scenario)]
            same.sort(key=lambda run: run.scores["seeds"]["init"])
            results[method][scenario] = {
                "option": {SEARCHED[method]: best[method][scenario]} if method in SEARCHED else {},
                "seeds": [run.scores["seeds"]["init"] for run in same],
                "acc": [run.scores["acc"] for run in same],
                "bwt": [run.scores["bwt"] for run in same],
                "learning_accuracy": [run.scores["learning_accuracy"] for run in same],
                "extra_memory_bytes": same[0].scores["extra_memory_bytes"],
                "seconds": [round(sum(run.scores["seconds"]), 1) for run in same],
            }
    write_record(
        RESULTS,
        {
            "command": "bash scripts/split_mnist.sh FOLDER_OF_MNIST_PARQUET",
            "setting": "5 tasks of 2 digits, MLP 784-400-400-10, 5 epochs a task, batch 128, Adam .001, memory 500, "
            "hlop: max_rows 200",
            "machine": f"CPU, 2 jobs of 1 thread, torch {torch.__version__}, Python {platform.python_version()}",
            "results": results,
        },
    )
    print("| method | task-incremental | domain-incremental | class-incremental |\n|---|---|---|---|")
    for method, of in results.items():
        print(f"| {method} | " + " | ".join(_cell(of[scenario]["acc"]) for scenario in SCENARIOS) + " |")


def _cell(values: list[float]) -> str:
    mean, sd = statistics.fmean(values), statistics.stdev(values)
    return f"{mean:.3f} ± {sd:.3f}".replace("0.", ".")


def main() -> None:
    """One of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("choose")
    one = commands.add_parser("chosen")
    one.add_argument("method", choices=METHODS)
    one.add_argument("scenario", choices=SCENARIOS)
    commands.add_parser("table")
    arguments = parser.parse_args()
    if arguments.command == "chosen":
        chosen(arguments.method, arguments.scenario)
    else:
        {"choose": choose, "table": table}[arguments.command]()


if __name__ == "__main__":
    main()
