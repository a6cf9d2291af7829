"""What scripts/regularizer_differences.sh needs beside the commands: the choice of learning rates, and the results.

python scripts/regularizer_differences.py rates    each optimizer and its rate with the best validation accuracy
python scripts/regularizer_differences.py results  all numbers as JSON, and two figures
"""

from __future__ import annotations

import argparse
import itertools
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from records import write_record

from orthotrace.analysis import figures
from orthotrace.analysis.networks.activations import activations
from orthotrace.analysis.networks.runs import stimuli_of
from orthotrace.analysis.similarity.outputs import disagreement
from orthotrace.core.files import read_json
from orthotrace.results.groups import groups
from orthotrace.results.run_folder import Run, find
from orthotrace.results.statistics import mean_interval

RUNS = Path("runs/regularizer_differences")
RESULTS = Path("scripts/results/regularizer_differences")
# Key of conf/regularizer -> its family in the figure.
FAMILIES = {
    "l1": "lasso (l1)",
    "l2": "ridge (l2)",
    "max_norm": "max-norm",
    "dropout": "dropout",
    "dropconnect": "DropConnect",
    "input_noise": "input noise",
    "label_smoothing": "label smoothing",
    "early_stopping": "early stopping",
}
# In this order a regularizer grows, where its number falls.
FALLING = ("max-norm", "early stopping")


def optimizer(run: Run) -> str:
    """Its option of conf/optimizer."""
    of = run.config.optimizer
    name = of["_target_"].rpartition(".")[2].lower()
    return "nesterov" if of.get("nesterov") else "momentum" if name == "sgd" and of.momentum else name


def rates() -> dict[str, float]:
    """Optimizer -> the learning rate with the best accuracy on validation images."""
    best: dict[str, tuple[float, float]] = {}
    for run in find("runs/regularizer_differences_search"):
        found = groups([run])[0].values("val_acc")[0], float(run.config.optimizer.lr)
        best[optimizer(run)] = max(best.get(optimizer(run), (-1.0, 0.0)), found)
    return {name: rate for name, (_, rate) in sorted(best.items())}


def family(run: Run) -> tuple[str, float]:
    """What regularizes it, and by how much; "" for nothing."""
    given = {key: float(run.config.regularizer[key]) for key in FAMILIES if run.config.regularizer[key]}
    if len(given) == 2:
        return "elastic net", given["l1"]
    ((key, strength),) = given.items() or [("", 0.0)]
    return FAMILIES.get(key, ""), strength


def draw(name: str, families: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """The agreement of the last hidden layer against accuracy."""
    points = {
        one: {
            group: (SimpleNamespace(**found["accuracy"]), SimpleNamespace(**found["consistency"][-2]))
            for group, found in of.items()
        }
        for one, of in families.items()
    }
    with figures.styled():
        figure, rows = figures.consistency_against_accuracy(points, "Consistency of the last hidden layer (r²)")
        figures.save(figure, RESULTS, name, rows, ["pdf"])


def results() -> None:
    """All numbers, and the figures."""
    analysis = read_json(RUNS / "analysis" / "results.json")
    rows: list[dict[str, Any]] = []
    for label, names in analysis["runs"].items():
        runs = [Run(RUNS / name) for name in names]
        stimuli = stimuli_of(runs[0], None, 50, None)
        head = analysis["layers"][-1]
        outputs = [dict(activations(run.network(), stimuli.images, [head]))[head] for run in runs]
        apart = [disagreement(a, b) for a, b in itertools.combinations(outputs, 2)]
        kind, strength = family(runs[0])
        rows.append(
            {
                "regularizer": kind or "none",
                "strength": strength,
                "optimizer": optimizer(runs[0]),
                "rate": float(runs[0].config.optimizer.lr),
                "overrides": [one for one in runs[0].overrides if not one.startswith("dataset.path=")],
                "accuracy": asdict(mean_interval([run.scores["acc"] for run in runs])),
                "consistency": [
                    {key: one[key] for key in ("layer", "mean", "low", "high")}
                    for one in analysis["consistency"]
                    if one["method"] == label
                ],
                "disagreement": {"mean": float(np.mean(apart)), "pairs": len(apart)},
            }
        )
    rows.sort(key=lambda row: (row["regularizer"], row["optimizer"], row["strength"]))
    content = {
        "command": "bash scripts/regularizer_differences.sh",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "stimuli": analysis["stimuli"],
        "groups": rows,
    }
    write_record(RESULTS / "results.json", content)

    regularizers: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["optimizer"] == "momentum":
            regularizers.setdefault(row["regularizer"], {})[f"{row['strength']:g}"] = row
    for name in FALLING:
        regularizers[name] = dict(reversed(regularizers[name].items()))
    first = {"none": regularizers.pop("none")}
    draw("regularizers", {**first, **regularizers})
    draw("optimizers", {row["optimizer"]: {"": row} for row in rows if row["regularizer"] == "none"})


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=["rates", "results"])
    if parser.parse_args().what == "rates":
        print("\n".join(f"{name} {rate:g}" for name, rate in rates().items()))
    else:
        results()


if __name__ == "__main__":
    main()
