"""How the cost of a training step grows with tasks, width, and the rows that are held.

    python scripts/scaling_training.py [--draw]      with --draw the figure alone, from what was measured

Writes scripts/results/scaling_training.json and docs/figures/scaling_training.png. Digits, an MLP with two hidden
layers, batch 64, one thread. The ratio is that of an epoch's steps over the same steps of a loop that only trains, the
median of interleaved rounds; kept is what a method keeps beside the network when the task begins.
"""

from __future__ import annotations

import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from benchmark_training import BATCH, plain_stepper, stepper
from drawing import save
from measuring import measured
from records import read_record, write_record

from orthotrace.analysis.figures.style import COLOURS, MARKERS, now, styled
from orthotrace.data.batches import Batches
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted
from orthotrace.methods import Method
from orthotrace.methods.ewc import EWC
from orthotrace.methods.finetune import Finetune
from orthotrace.methods.gpm import GPM
from orthotrace.methods.hlop import HLOP
from orthotrace.models.mlp import MLP

RESULTS, FIGURE = Path("scripts/results/scaling_training.json"), Path("docs/figures/scaling_training.png")
ROUNDS = 9
# What is varied -> at which values. Of the others: the second task, 256 units, 40 rows of each layer.
TASKS, WIDTHS, ROWS = (2, 10, 20, 50), (64, 256, 1024, 4096), (0, 32, 64, 128, 192, 256)
METHODS = ("finetune", "ewc", "gpm", "hlop")
LABELS = {"tasks": "Task that is trained", "width": "Units of a hidden layer", "rows": "Rows held, of 256"}


def method(name: str, rows: int) -> Method:
    """A method that holds so many rows of each layer, found in the first task."""
    if name == "finetune":
        return Finetune()
    if name == "ewc":
        return EWC(strength=1.0, samples=50)
    # The images have 64 numbers.
    held: dict[str, Any] = {layer: [min(rows, most), 0] for layer, most in (("fc1", 64), ("fc2", rows), ("head", rows))}
    return GPM(rows=held, audit=False) if name == "gpm" else HLOP(rows=held, audit=False)


def plain(stream: Permuted, hidden: Sequence[int]) -> Callable[[], None]:
    """An epoch of steps of a loop that only trains, on the same batches."""
    torch.manual_seed(0)
    model = MLP(stream.shape, len(stream.classes), hidden)
    return plain_stepper(model, list(Batches(stream.task(1).train, BATCH, 0, 1)))


def measure(axis: str, value: int) -> list[dict[str, Any]]:
    """The records of all methods at one value."""
    task, width, rows = (value if axis == one else usual for one, usual in zip(LABELS, (2, 256, 40), strict=True))
    hidden = (width, width)
    stream = Permuted(digits(), tasks=task)
    peer = plain(stream, hidden)
    names = [name for name in METHODS if axis != "rows" or name in ("gpm", "hlop")]
    methods = {name: method(name, rows) for name in names}
    steps = {name: stepper(made, stream, task, hidden) for name, made in methods.items()}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(max(3, ROUNDS * 256 // max(width, 256))):
        peer_s = measured(peer)[0]
        for name, of in times.items():
            of.append((measured(steps[name])[0], peer_s))
    count = len(Batches(stream.task(1).train, BATCH, 0, 1))
    return [
        {
            "method": name,
            "axis": axis,
            "value": value,
            "step_ms": round(1000 * statistics.median(ours for ours, _ in of) / count, 4),
            "ratio": round(statistics.median(ours / peer for ours, peer in of), 3),
            "range": [round(pick(ours / peer for ours, peer in of), 3) for pick in (min, max)],
            "kept_mb": round(methods[name].extra_memory_bytes / 2**20, 3),
        }
        for name, of in times.items()
    ]


def main() -> None:
    """Measure and draw."""
    if sys.argv[1:] == ["--draw"]:
        draw(read_record(RESULTS)["records"])
        return
    torch.set_num_threads(1)
    records = []
    for axis, values in zip(LABELS, (TASKS, WIDTHS, ROWS), strict=True):
        for value in values:
            for record in measure(axis, value):
                print(record, flush=True)
                records.append(record)
    about = {"command": "python scripts/scaling_training.py", "torch": torch.__version__, "threads": 1}
    write_record(RESULTS, {**about, "python": platform.python_version(), "records": records})
    draw(records)


def draw(records: list[dict[str, Any]]) -> None:
    """Times a plain loop above, memory below, over what varies."""
    with styled():
        figure, panels = plt.subplots(
            2, len(LABELS), figsize=(now().page, 3.4), layout="constrained", sharex="col", sharey="row"
        )
        for column, (axis, label) in enumerate(LABELS.items()):
            of_axis = [one for one in records if one["axis"] == axis]
            values = sorted({one["value"] for one in of_axis})
            # Rows are compared with the width of their layers; tasks and units grow by factors.
            places = {value: value if axis == "rows" else place for place, value in enumerate(values)}
            for place, name in enumerate(METHODS):
                rows = [one for one in of_axis if one["method"] == name]
                if not rows:
                    continue
                x = [places[one["value"]] for one in rows]
                look = {"marker": MARKERS[place], "color": COLOURS[place], "label": name, "clip_on": False}
                ratios = [one["ratio"] for one in rows]
                least, most = zip(*(one["range"] for one in rows), strict=True)
                panels[0, column].fill_between(x, least, most, color=COLOURS[place], alpha=0.15, linewidth=0)
                panels[0, column].plot(x, ratios, **look)
                panels[1, column].plot(x, [one["kept_mb"] for one in rows], **look)
            panels[1, column].set_xticks(list(places.values()), [f"{value:,}" for value in values])
            panels[1, column].set_xlabel(label)
        panels[0, 0].set_ylabel("Step, times the plain loop's")
        panels[1, 0].set_ylabel("Kept beside the network (MB)")
        panels[0, 0].set_ylim(bottom=0)
        panels[1, 0].set_yscale("symlog", linthresh=0.1)
        panels[1, 0].set_ylim(0, 2 * max(one["kept_mb"] for one in records))
        panels[0, 0].legend(loc="lower left", ncols=2)
        save(figure, panels, FIGURE)


if __name__ == "__main__":
    main()
