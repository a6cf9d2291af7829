"""What scripts/spiking_differences.sh ends with: its analyses as one JSON, its figures, and the table of the docs."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import Any

import torch
from records import read_record, write_record

from orthotrace.core.files import read_json
from orthotrace.results.run_folder import Run

RUNS = Path("runs/spiking_differences")
RESULTS = Path("scripts/results/spiking_differences/results.json")
# Analysis -> its figures.
FIGURES = {"rates": ("consistency", "activity"), "windows": ("windows",)}


def results() -> dict[str, Any]:
    """All numbers, by analysis and group."""
    found = {name: read_json(RUNS / "analysis" / name / "results.json") for name in ("rates", "windows", "trains")}
    groups = found["rates"]["runs"]
    runs = {label: [Run(RUNS / name) for name in names] for label, names in groups.items()}
    return {
        "command": "bash scripts/spiking_differences.sh",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "stimuli": found["rates"]["stimuli"],
        "overrides": {
            label: [one for one in of[0].overrides if not one.startswith("dataset.path=")] for label, of in runs.items()
        },
        "accuracy": {label: [run.scores["acc"] for run in of] for label, of in runs.items()},
        "activity": {
            label: [run.scores["activity"] for run in of] for label, of in runs.items() if "activity" in of[0].scores
        },
        **{
            name: {
                "measure": one["measure"],
                "consistency": [
                    {key: row[key] for key in ("method", "layer", "mean", "low", "high", "pairs")}
                    for row in one["consistency"]
                ],
                # How often the most similar layer, or step of one, of another network is the same.
                "correspondence": {row["method"]: row["accuracy"] for row in one["correspondence"]},
                "left_out": len(one["left_out"]),
            }
            for name, one in found.items()
        },
    }


def table() -> list[str]:
    """Consistency by group and layer, from the results that were written: lines of the page of results."""
    content = read_record(RESULTS)
    rows: dict[str, dict[str, str]] = {}
    for name in ("rates", "trains"):
        for one in content[name]["consistency"]:
            called = one["method"] if name == "rates" else f"{one['method']}, spike trains"
            rows.setdefault(called, {})[one["layer"]] = cell(one)
    layers = list(dict.fromkeys(layer for of in rows.values() for layer in of))
    lines = [f"| | {' | '.join(layers)} |", f"|---|{'--:|' * len(layers)}"]
    return lines + [f"| {name} | {' | '.join(of.get(layer, '–') for layer in layers)} |" for name, of in rows.items()]


def table_over_time() -> list[str]:
    """Consistency of spiking networks by layer and step."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for one in read_record(RESULTS)["windows"]["consistency"]:
        layer, at, _ = one["layer"].partition("@")
        if at:
            rows.setdefault(layer, []).append(one)
    steps = [one["layer"].partition("@")[2] for one in next(iter(rows.values()))]
    lines = [f"| step | {' | '.join(steps)} |", f"|---|{'--:|' * len(steps)}"]
    return lines + [f"| {layer} | {' | '.join(map(cell, of))} |" for layer, of in rows.items()]


def cell(one: dict[str, Any]) -> str:
    """Mean and interval, without zeros before the point.

    Example:
        >>> cell({"mean": 0.5, "low": 0.25, "high": 1.0})
        '.500 [.250, 1.000]'
    """
    said = f"{one['mean']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
    return said.replace(" 0.", " .").replace("[0.", "[.").removeprefix("0")


def main() -> None:
    """Write the results and the figures, and print the tables."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    write_record(RESULTS, results())
    for analysis, names in FIGURES.items():
        for name in names:
            drawn = RUNS / "analysis" / analysis / "figures" / name
            shutil.copyfile(drawn.with_suffix(".pdf"), RESULTS.parent / f"{name}.pdf")
            shutil.copyfile(drawn.with_suffix(".png"), Path("docs/figures") / f"spiking_differences_{name}.png")
    print("\n".join([*table(), "", *table_over_time()]))


if __name__ == "__main__":
    main()
