"""How time and memory of RDMs and their comparison grow with stimuli, features and RDMs.

    python scripts/scaling.py [--draw]      with --draw the figure alone, from what was measured

Writes scripts/results/scaling.json and docs/figures/scaling.png. Seconds are the least of three, memory is what the
process grew by at its peak, the inputs apart.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from drawing import save
from measuring import measured
from records import read_record, write_record

from orthotrace.analysis import rdm
from orthotrace.analysis.figures.style import COLOURS, MARKERS, now, styled
from orthotrace.analysis.rdm import compare

RESULTS, FIGURE = Path("scripts/results/scaling.json"), Path("docs/figures/scaling.png")
ROUNDS = 3
# What is varied -> at which values; the others stay at their own.
STIMULI, FEATURES, RDMS = (250, 500, 1000, 2000, 4000), (1000, 4000, 16_000, 64_000, 256_000), (5, 10, 25, 50, 100)


def making(stimuli: int, features: int) -> Callable[[], Any]:
    """A correlation RDM of float32 activations."""
    x = torch.randn(stimuli, features)
    return lambda: rdm.correlation(x)


def comparing(method: str, stimuli: int, rdms: int) -> Callable[[], Any]:
    """All pairs of RDMs."""
    stack = np.random.default_rng(0).random((rdms, stimuli * (stimuli - 1) // 2))
    return lambda: compare.METHODS[method](stack)


# What -> what varies, its values, and what makes the call of one.
CASES: dict[str, tuple[str, tuple[int, ...], Callable[[int], Callable[[], Any]]]] = {
    "correlation RDM, 4,096 features": ("stimuli", STIMULI, lambda n: making(n, 4096)),
    "correlation RDM, 1,000 stimuli": ("features", FEATURES, lambda p: making(1000, p)),
    "Pearson, 2,000 stimuli": ("RDMs", RDMS, lambda k: comparing("pearson", 2000, k)),
    "Spearman, 2,000 stimuli": ("RDMs", RDMS, lambda k: comparing("spearman", 2000, k)),
    "corr_cov, 2,000 stimuli": ("RDMs", RDMS, lambda k: comparing("corr_cov", 2000, k)),
}


def measure(what: str, value: int) -> dict[str, Any]:
    """One record."""
    torch.manual_seed(0)
    axis, _, make = CASES[what]
    call = make(value)
    runs = [measured(call)[:2] for _ in range(ROUNDS)]
    peaks = [peak for _, peak in runs if peak is not None]
    seconds = round(min(seconds for seconds, _ in runs), 4)
    return {"what": what, "axis": axis, "value": value, "seconds": seconds, "peak_mb": max(peaks) if peaks else None}


def main() -> None:
    """Measure and draw."""
    if sys.argv[1:] == ["--draw"]:
        draw(read_record(RESULTS)["records"])
        return
    jobs = [(what, value) for what, (_, values, _) in CASES.items() for value in values]
    records = []
    # A process for each: what an earlier one has freed would hide what the next one needs.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for record in pool.map(measure, *zip(*jobs, strict=True)):
            print(record, flush=True)
            records.append(record)
    write_record(
        RESULTS,
        {
            "command": "python scripts/scaling.py",
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "records": records,
        },
    )
    draw(records)


def draw(records: list[dict[str, Any]]) -> None:
    """Seconds above, memory below, over what varies."""
    axes_names = list(dict.fromkeys(one["axis"] for one in records))
    with styled():
        figure, panels = plt.subplots(
            2, len(axes_names), figsize=(now().page, 3.6), layout="constrained", sharex="col", sharey="row"
        )
        for column, axis in enumerate(axes_names):
            lines = list(dict.fromkeys(one["what"] for one in records if one["axis"] == axis))
            for place, what in enumerate(lines):
                rows = [one for one in records if one["what"] == what and one["axis"] == axis]
                x = [one["value"] for one in rows]
                for panel, key, least in zip(panels[:, column], ("seconds", "peak_mb"), (1e-3, 1), strict=True):
                    y = [max(one[key] or 0, least) for one in rows]
                    panel.loglog(x, y, MARKERS[place] + "-", color=COLOURS[place], label=what)
            values = [one["value"] for one in records if one["what"] == lines[0]]
            panels[1, column].set_xticks(values, [f"{value:,}" for value in values], minor=False)
            panels[1, column].set_xticks([], minor=True)
            panels[1, column].set_xlabel(axis.capitalize() if axis.islower() else axis)
            panels[0, column].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
        panels[0, 0].set_ylabel("Seconds")
        panels[1, 0].set_ylabel("Peak above the inputs (MB)")
        panels[0, 0].set_ylim(1e-3, 1e2)
        panels[1, 0].set_ylim(1, 1e4)
        save(figure, panels, FIGURE)


if __name__ == "__main__":
    main()
