"""What scripts/degeneracy.sh needs beside the commands: the choice of learning rates, results, and the figure.

python scripts/degeneracy.py rate NAME WORDS   the rate with the best validation accuracy, of the first weights that the
                                               words of the command choose
python scripts/degeneracy.py results           all numbers as JSON, and the figure
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from drawing import save
from omegaconf import OmegaConf
from records import write_record

from orthotrace.analysis.figures.style import COLOURS, MARKERS, now, styled
from orthotrace.core.files import read_json
from orthotrace.results.groups import groups
from orthotrace.results.run_folder import Run, find

RESULTS, FIGURE = Path("scripts/results/degeneracy.json"), Path("docs/figures/degeneracy.png")
NETWORKS = {"plain": "Plain", "skips": "Skips", "batch_norm": "Batch normalisation", "whitening": "Whitening"}
# Of the layers that skips span; the last of all layers.
KINDS = {
    "free": "as usual",
    "low_rank_init": "an eighth of the rank",
    "tied_init": "all units alike",
    "tied_init everywhere": "all units alike, in the first layer too",
}
SHORT = ("usual", "low\nrank", "alike", "alike,\nfirst too")


def kind_of(run: Run) -> str:
    """How the weights of a run start."""
    kind = str(OmegaConf.select(run.config, "model.weights.kind") or "free")
    spanned = OmegaConf.select(run.config, "model.weights.layers") is not None
    return kind if spanned or kind == "free" else f"{kind} everywhere"


def kind_of_words(words: str) -> str:
    """The same, of the words of a command.

    Example:
        >>> kind_of_words("weights=tied_init model.weights.copies=16"), kind_of_words("weights=free")
        ('tied_init everywhere', 'free')
    """
    kind = words.split()[0].removeprefix("weights=")
    return kind if "model.weights.layers=" in words or kind == "free" else f"{kind} everywhere"


def rate(name: str, words: str) -> float:
    """The learning rate with the best accuracy on validation images; of equal ones the smallest."""
    found = [
        (groups([run])[0].values("val_acc")[0], -float(run.config.optimizer.lr))
        for run in find(f"runs/{name}")
        if kind_of(run) == kind_of_words(words)
    ]
    return -max(found)[1]


def trained(run: Run) -> float:
    """Accuracy on the training images, over the last epoch."""
    with (run.folder / "metrics.csv").open(encoding="utf-8") as file:
        return float(list(csv.DictReader(file))[-1]["train_accuracy"])


def rows_of(network: str) -> list[dict[str, Any]]:
    """Of each kind of first weights the accuracies of the seeds, and the ranks over the epochs."""
    folder = Path(f"runs/degeneracy_{network}")
    analysis = read_json(folder / "analysis" / "results.json")
    rows = []
    for label, names in analysis["runs"].items():
        runs = [Run(folder / name) for name in names]
        # The last block before the readout.
        layer = [one["layer"] for one in analysis["degeneracy"] if one["quantity"] == "activation_rank"][-2]
        over: dict[str, dict[int, list[float]]] = {}
        for one in analysis["degeneracy"]:
            of_last = one["layer"] == layer or one["layer"] == "block16.conv"
            if one["method"] == label and of_last:
                over.setdefault(one["quantity"], {})[one["task"]] = one["values"]
        rows.append(
            {
                "network": network,
                "weights": kind_of(runs[0]),
                "rate": float(runs[0].config.optimizer.lr),
                "accuracy": [run.scores["acc"] for run in runs],
                "train_accuracy": [trained(run) for run in runs],
                "layer": layer,
                **{quantity: {str(epoch): of for epoch, of in by.items()} for quantity, by in over.items()},
            }
        )
    return sorted(rows, key=lambda row: list(KINDS).index(row["weights"]))


def results() -> None:
    """All numbers, a table, and the figure."""
    rows = [row for network in NETWORKS for row in rows_of(network)]
    write_record(RESULTS, {"command": "bash scripts/degeneracy.sh", "groups": rows})
    print("| first weights |", " | ".join(NETWORKS.values()), "|")
    for kind, label in KINDS.items():
        cells = []
        for network in NETWORKS:
            row = next(row for row in rows if (row["network"], row["weights"]) == (network, kind))
            cells.append(cell(row))
        print(f"| {label} |", " | ".join(cells), "|")
    draw(rows)


def cell(row: dict[str, Any]) -> str:
    """Accuracy, and the effective rank before and after training, as the page has them."""
    first, last = (np.mean(row["activation_rank"][str(epoch)]) for epoch in (0, 12))
    return f"{np.mean(row['accuracy']):.3f} ({first:.2f} to {last:.2f})".replace("0.", ".")


def draw(rows: list[dict[str, Any]]) -> None:
    """Accuracy of each network, and the effective rank of its last block over the epochs."""
    with styled():
        figure, panels = plt.subplots(2, len(NETWORKS), figsize=(now().page, 3.4), layout="constrained", sharey="row")
        for column, (network, title) in enumerate(NETWORKS.items()):
            above, below = panels[:, column]
            above.set_title(title)
            for place, (kind, label) in enumerate(KINDS.items()):
                row = next(row for row in rows if (row["network"], row["weights"]) == (network, kind))
                look = {"color": COLOURS[place], "marker": MARKERS[place], "label": label}
                above.plot([place] * len(row["accuracy"]), row["accuracy"], linestyle="", **look)
                epochs = [int(epoch) for epoch in row["activation_rank"]]
                values = np.array(list(row["activation_rank"].values()))
                for seed in values.T:
                    below.plot(epochs, seed, color=COLOURS[place], alpha=0.3, linewidth=0.5)
                below.plot(epochs, values.mean(axis=1), **look)
            above.set_xticks(range(len(KINDS)), SHORT)
            above.set_xlim(-0.5, len(KINDS) - 0.5)
            above.set_ylim(0, 1.08)
            below.set_ylim(0, 1.03)
            below.set_xlabel("Epoch")
        panels[0, 0].set_ylabel("Test accuracy")
        panels[1, 0].set_ylabel("Effective rank, last block")
        handles, labels = panels[1, 0].get_legend_handles_labels()
        figure.legend(handles, labels, title="First weights", loc="outside upper center", ncols=4)
        save(figure, panels, FIGURE)


def main() -> None:
    """See the module."""
    if sys.argv[1:2] == ["rate"]:
        print(f"{rate(sys.argv[2], sys.argv[3]):g}")
    else:
        results()


if __name__ == "__main__":
    main()
