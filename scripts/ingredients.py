"""Numbers, table and figure of scripts/ingredients.sh, from its runs; with --draw the figure alone."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from drawing import save
from matplotlib.lines import Line2D
from records import read_record, write_record

from orthotrace.analysis.figures.style import COLOURS, now, pt, styled
from orthotrace.analysis.networks.activations import activations
from orthotrace.analysis.networks.runs import stimuli_of
from orthotrace.analysis.rdm import correlation
from orthotrace.analysis.studies.consistency import between_networks
from orthotrace.results.groups import groups
from orthotrace.results.run_folder import Run, find
from orthotrace.results.statistics import mean_interval

RUNS, RESULTS, FIGURE = (
    Path("runs/ingredients"),
    Path("scripts/results/ingredients.json"),
    Path("docs/figures/ingredients.png"),
)
SETS = {"digits": "Digits", "mnist": "MNIST"}
METHODS = {"finetune": "finetune", "gpm": "GPM"}
PER_CLASS = 20
# Of the accuracies that are drawn: what is below stands at the edge.
EDGES = {
    ("digits", "finetune"): 0.9, ("digits", "gpm"): 0.965, ("mnist", "finetune"): 0.865, ("mnist", "gpm"): 0.972,
}  # fmt: skip
# Family -> ingredients, in words.
FAMILIES = {
    "base": {"base": "convolutional net"},
    "architecture": {
        "skips": "skips", "inception": "Inception", "separable": "separable", "inverted": "inverted residual",
        "fractal": "fractal", "drop_path": "fractal, drop-path", "freeze_path": "fractal, freeze-path",
    },
    "nonlinearity": {"elu": "ELU", "tanh": "tanh", "maxout": "maxout"},
    "pooling": {"max_pooling": "maximum", "stochastic_pooling": "stochastic"},
    "normalisation": {"no_norm": "none", "whitening": "whitening"},
    "weights": {
        "orthogonal_init": "orthogonal at first", "low_rank_init": "low rank at first", "tied_init": "tied at first",
        "own": "orthogonal (OWN)", "sawb_4": "4 bits", "sawb_2": "2 bits", "adder": "adder", "memristor": "memristor",
    },
    "regularisation": {
        "dropout": "dropout", "ridge": "ridge", "input_noise": "input noise", "label_smoothing": "label smoothing",
        "bootstrap_soft": "bootstrap, soft", "bootstrap_hard": "bootstrap, hard",
    },
    "perceptron": {"perceptron": "perceptron", "sigmoid": "sigmoids", "rbm_init": "sigmoids, RBM"},
}  # fmt: skip


def row_of(data: str, family: str, name: str, label: str, method: str, runs: list[Run]) -> dict[str, Any]:
    """Scores of the networks of five seeds, and how far they agree, layer by layer."""
    stimuli = stimuli_of(runs[0], None, PER_CLASS, None)
    read = [dict(activations(run.network(), stimuli.images)) for run in runs]
    # Of the hidden layers: the outputs of the readout are of other classes in each task.
    layers = list(read[0])[:-1]
    found = {layer: between_networks(np.stack([correlation(one[layer]) for one in read])) for layer in layers}
    (group,) = groups(runs)
    return {
        "data": data,
        "family": family,
        "ingredient": name,
        "label": label,
        "method": method,
        "seeds": len(runs),
        **{key: asdict(mean_interval(group.values(key))) for key in ("acc", "forgetting")},
        "consistency": [
            {"layer": layer, "mean": one.mean, "low": one.low, "high": one.high} for layer, one in found.items()
        ],
    }


def rows() -> list[dict[str, Any]]:
    """Of all that was trained."""
    made = []
    for data in SETS:
        for family, of in FAMILIES.items():
            for name, label in of.items():
                # Some end with weights that are not finite.
                every = [run for run in find(str(RUNS / data / name)) if run.finished]
                for method in METHODS:
                    runs = [run for run in every if run.scores["method"] == method]
                    if runs:
                        made.append(row_of(data, family, name, label, method, runs))
    return made


def mean_consistency(row: dict[str, Any]) -> float:
    """Over the hidden layers."""
    return float(np.mean([one["mean"] for one in row["consistency"]]))


def shown(value: float) -> str:
    """Three places, as the page has them."""
    text = f"{abs(value):.3f}"
    sign = "−" if value < 0 and float(text) else ""
    return sign + text.removeprefix("0")


def table(made: list[dict[str, Any]]) -> str:
    """Markdown: an ingredient a row; accuracy, forgetting and consistency by data and method."""
    columns = [(data, method) for data in SETS for method in METHODS]
    heads = [f"{SETS[data]}, {METHODS[method]}" for data, method in columns]
    lines = ["| | | " + " | ".join(heads) + " |", "|---" * (len(columns) + 2) + "|"]
    number = 0
    for family, of in FAMILIES.items():
        for name, label in of.items():
            number += 1
            cells = []
            for data, method in columns:
                found = [one for one in made if (one["data"], one["ingredient"], one["method"]) == (data, name, method)]
                cells.append(
                    " / ".join(
                        shown(value)
                        for one in found
                        for value in (one["acc"]["mean"], one["forgetting"]["mean"], mean_consistency(one))
                    )
                    or "–"
                )
            title = label if family in ("base", "perceptron") else f"{family}: {label}"
            lines.append(f"| {number} | {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(made: list[dict[str, Any]]) -> None:
    """Consistency against accuracy: a dot for each ingredient, numbered as in the table; what is below, at the edge."""
    numbers = [name for of in FAMILIES.values() for name in of]
    families = list(FAMILIES)
    with styled():
        figure, panels = plt.subplots(2, 2, figsize=(now().page, 5.4), layout="constrained")
        for line, data in zip(panels, SETS, strict=True):
            for panel, method in zip(line, METHODS, strict=True):
                left = EDGES[data, method]
                for one in made:
                    if (one["data"], one["method"]) != (data, method):
                        continue
                    colour = COLOURS[families.index(one["family"]) % len(COLOURS)]
                    x, y = max(left, one["acc"]["mean"]), mean_consistency(one)
                    below = one["acc"]["mean"] < left
                    panel.plot(x, y, color=colour, marker="<" if below else "o", markersize=pt(2.5), clip_on=False)
                    panel.annotate(
                        str(numbers.index(one["ingredient"]) + 1), (x, y), (2, 1.5), textcoords="offset points",
                        fontsize=5.5, color=colour,
                    )  # fmt: skip
                panel.set_xlim(left, None)
                panel.margins(x=0.06)
                panel.set_title(f"{SETS[data]}, {METHODS[method]}")
        figure.supxlabel("Accuracy after five tasks")
        figure.supylabel("Consistency of hidden layers between seeds (r²)")
        handles = [
            Line2D([], [], color=COLOURS[place % len(COLOURS)], marker="o", linestyle="", label=family)
            for place, family in enumerate(families)
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=8)
        save(figure, panels, FIGURE)


def main() -> None:
    """All of it; with --draw the figure alone, from what was measured."""
    if sys.argv[1:] == ["--draw"]:
        draw(read_record(RESULTS)["groups"])
        return
    made = rows()
    write_record(RESULTS, {"command": "bash scripts/ingredients.sh", "stimuli_per_class": PER_CLASS, "groups": made})
    print(table(made))
    draw(made)


if __name__ == "__main__":
    main()
