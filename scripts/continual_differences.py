"""What scripts/continual_differences.sh needs beside the commands: the choice of EWC's strength, and the results.

python scripts/continual_differences.py strength  the strength with the best validation accuracy
python scripts/continual_differences.py results   all numbers as JSON
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from orthotrace.analysis.studies.forgetting import forgetting
from orthotrace.core.files import read_json, write_json
from orthotrace.results.groups import groups
from orthotrace.results.run_folder import Run, find
from orthotrace.results.statistics import mean_interval

RUNS = Path("runs/continual_differences")
RESULTS = Path("scripts/results/continual_differences/results.json")
METHODS = ("finetune", "hlop", "gpm", "ewc")
READOUTS = ("trained", "kept", "aligned", "refitted")


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


def readouts(runs: Sequence[Run], tasks: int) -> list[dict[str, Any]]:
    """Accuracy on the first task by four readouts after each task, and the share of the drift that the readout sees."""
    found = [[one for one in forgetting(run) if one.task == 1] for run in runs]
    rows = []
    for layer in dict.fromkeys(one.layer for one in found[0]):
        for after in range(1, tasks + 1):
            same = [next(one for one in of if (one.layer, one.after) == (layer, after)) for of in found]
            for name in READOUTS:
                values = [one.trained if name == "trained" else getattr(one.diagnosis, name) for one in same]
                rows.append({"layer": layer, "task": after, "readout": name, **over_seeds(values)})
            drifts = [one.drift for one in same if one.drift is not None]
            if drifts and after > 1:
                for name in ("size", "seen", "expected"):
                    values = [getattr(one, name) for one in drifts]
                    rows.append({"layer": layer, "task": after, "drift": name, **over_seeds(values)})
    return rows


def results() -> None:
    """All numbers."""
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
        tasks = len(of[0].scores["accuracy"])
        content["methods"][method] = {
            "overrides": list(of[0].overrides),
            "scores": {score: over_seeds([run.scores[score] for run in of]) for score in ("acc", "bwt")},
            "consistency": [
                {key: one[key] for key in ("layer", "task", "mean", "low", "high", "pairs")}
                for one in analysis["consistency"]
                if one["method"] == label
            ],
            "drift": [one for one in analysis["rdm_drift"] if one["method"] == label],
            "readouts": readouts(of, tasks),
        }
    write_json(RESULTS, content)


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
