"""What scripts/continual_differences.sh needs beside the commands: the choice of EWC's strength, and the results.

python scripts/continual_differences.py strength  the strength with the best validation accuracy
python scripts/continual_differences.py results   all numbers as JSON, and the figures
"""

from __future__ import annotations

import argparse
import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from records import write_record

from orthotrace.core.files import read_json
from orthotrace.results.groups import groups
from orthotrace.results.run_folder import find
from orthotrace.results.statistics import mean_interval

RUNS = Path("runs/continual_differences")
RESULTS = Path("scripts/results/continual_differences/results.json")
FIGURES = ("consistency", "drift", "readout")
METHODS = ("finetune", "hlop", "gpm", "ewc")
# Of the first task: accuracies by four readouts, and how much of the drift the networks' own readout sees.
QUANTITIES = ("trained", "kept", "aligned", "refitted", "size", "seen", "expected")


def strength() -> str:
    """The strength of EWC with the best mean accuracy on validation images after the last task."""
    found = {
        float(run.config.method.strength): groups([run])[0].values("val_acc")[0]
        for run in find("runs/continual_differences_search")
    }
    return f"{max(found, key=found.__getitem__):g}"


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Values of independent networks, their mean, and its 95 % interval by Student's t."""
    return {"values": [round(one, 6) for one in values], **asdict(mean_interval(values, 0.95))}


def results() -> None:
    """All numbers, and the figures."""
    runs = {
        method: sorted(
            (run for run in find(RUNS) if run.scores["method"] == method), key=lambda run: run.scores["seeds"]["init"]
        )
        for method in METHODS
    }
    analysis = read_json(RUNS / "analysis" / "results.json")
    labels = dict(analysis["runs"])
    content: dict[str, Any] = {
        "command": "bash scripts/continual_differences.sh",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "stimuli": analysis["stimuli"],
        "methods": {},
    }
    for method, of in runs.items():
        names = [run.folder.name for run in of]
        label = next(label for label, members in labels.items() if set(members) == set(names))
        content["methods"][method] = {
            "overrides": [one for one in of[0].overrides if not one.startswith("dataset.path=")],
            "scores": {score: over_seeds([run.scores[score] for run in of]) for score in ("acc", "bwt")},
            "consistency": [
                {key: one[key] for key in ("layer", "task", "mean", "low", "high", "pairs")}
                for one in analysis["consistency"]
                if one["method"] == label
            ],
            "drift": [one for one in analysis["rdm_drift"] if one["method"] == label],
            "readouts": [
                {key: one[key] for key in ("layer", "after", "quantity", "values", "mean", "low", "high")}
                for one in analysis["readouts"]
                if (one["method"], one["task"]) == (label, 1) and one["quantity"] in QUANTITIES
            ],
        }
    write_record(RESULTS, content)
    for name in FIGURES:
        drawn = RUNS / "analysis" / "figures" / name
        shutil.copyfile(drawn.with_suffix(".pdf"), RESULTS.parent / f"{name}.pdf")
        shutil.copyfile(drawn.with_suffix(".png"), Path("docs/figures") / f"continual_differences_{name}.png")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=["strength", "results"])
    if parser.parse_args().what == "strength":
        print(strength())
    else:
        results()


if __name__ == "__main__":
    main()
