"""How many patterns associative memories hold.

    python scripts/hopfield.py [--draw]      with --draw the figure alone, from what was measured

Random patterns of 2,000 units, five draws of each load (patterns over units). Recall begins at a pattern, or at one of
which 5 % of the signs are turned, unit after unit until nothing changes, at most 20 times; at most 100 patterns of a
draw are recalled. The overlap is the mean of s_i x_i, 1 where all of a pattern came back. Writes
scripts/results/hopfield.json and docs/figures/hopfield.png, and goes on where it stopped; some twenty minutes.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from drawing import save
from records import read_record, write_record

from orthotrace.analysis.figures.style import COLOURS, MARKERS, now, styled
from orthotrace.core.seeds import generator
from orthotrace.layers.hopfield import Hopfield, Rule

RESULTS, FIGURE = Path("scripts/results/hopfield.json"), Path("docs/figures/hopfield.png")
UNITS, DRAWS, RECALLED, SWEEPS, TURNED = 2000, 5, 100, 20, 0.05
# Of the Hebbian rule, where overlaps fall; above it random patterns are no longer recalled.
THEORY = 0.138
LOADS: dict[Rule, tuple[float, ...]] = {
    "hebbian": (0.02, 0.05, 0.08, 0.1, 0.11, 0.12, 0.125, 0.13, 0.135, 0.14, 0.145, 0.15, 0.155, 0.16, 0.18, 0.2, 0.3),
    "storkey": (0.1, 0.2, 0.25, 0.3, 0.35, 0.4),
    "projection": (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.9995),
}
LABELS = {"kept": "Recall from the pattern", "restored": "Recall from 5 % turned signs"}


def measure(rule: Rule, load: float, draw: int) -> dict[str, Any]:
    """Overlaps after recall of one draw."""
    patterns = torch.randint(2, (round(load * UNITS), UNITS), generator=generator(draw, round(1e6 * load)))
    patterns = patterns.double() * 2 - 1
    memory = Hopfield(UNITS, rule)
    memory.store(patterns)
    wanted = patterns[:RECALLED]
    turned = torch.rand(wanted.shape, generator=generator(draw, 1)) < TURNED
    kept = memory(wanted, SWEEPS, seed=draw)
    restored = memory(torch.where(turned, -wanted, wanted), SWEEPS, seed=draw)
    return {
        "rule": rule,
        "load": load,
        "draw": draw,
        "kept": round(float((kept * wanted).mean()), 5),
        "restored": round(float((restored * wanted).mean()), 5),
        # Of all patterns, not of those that were recalled.
        "fixed": float((memory(patterns, 1, together=True) == patterns).all(1).double().mean()),
    }


def falls_below(records: list[dict[str, Any]], overlap: float = 0.9) -> float:
    """The load at which the mean overlap of the Hebbian rule falls below a value, between the measured ones."""
    curve = [(load, mean(records, "hebbian", load, "kept")) for load in LOADS["hebbian"]]
    after = next(place for place, (_, value) in enumerate(curve) if value < overlap)
    (low, above), (high, below) = curve[after - 1 : after + 1]
    return round(low + (high - low) * (above - overlap) / (above - below), 4)


def mean(records: list[dict[str, Any]], rule: str, load: float, what: str) -> float:
    """Over the draws."""
    return statistics.mean(one[what] for one in records if one["rule"] == rule and one["load"] == load)


def main() -> None:
    """Measure and draw."""
    if sys.argv[1:] == ["--draw"]:
        draw(read_record(RESULTS)["records"])
        return
    torch.set_num_threads(1)
    records: list[dict[str, Any]] = read_record(RESULTS)["records"] if RESULTS.is_file() else []
    there = {(one["rule"], one["load"], one["draw"]) for one in records}
    for rule, loads in LOADS.items():
        for load in loads:
            for number in range(DRAWS):
                if (rule, load, number) not in there:
                    records.append(measure(rule, load, number))
                    print(records[-1], flush=True)
            write_record(
                RESULTS,
                {
                    "command": "python scripts/hopfield.py",
                    "units": UNITS,
                    "draws": DRAWS,
                    "records": records,
                },
            )
    found = {"hebbian_falls_below_.9_at": falls_below(records), "theory": THEORY}
    write_record(
        RESULTS, {"command": "python scripts/hopfield.py", "units": UNITS, "draws": DRAWS, **found, "records": records}
    )
    print(found)
    draw(records)


def draw(records: list[dict[str, Any]]) -> None:
    """Overlap over load, from the pattern and from a damaged one; a thin line for each draw."""
    with styled():
        figure, panels = plt.subplots(1, 2, figsize=(now().page, 2.2), layout="constrained", sharey=True)
        for panel, (what, label) in zip(panels, LABELS.items(), strict=True):
            for place, (rule, loads) in enumerate(LOADS.items()):
                for number in range(DRAWS):
                    rows = [one for one in records if one["rule"] == rule and one["draw"] == number]
                    panel.plot(
                        [one["load"] for one in rows],
                        [one[what] for one in rows],
                        color=COLOURS[place],
                        alpha=0.3,
                        linewidth=0.5,
                    )
                means = [mean(records, rule, load, what) for load in loads]
                panel.plot(loads, means, marker=MARKERS[place], color=COLOURS[place], label=rule)
            panel.axvline(THEORY, color="0.5", linestyle=":", linewidth=0.8)
            panel.set_xlabel("Load, patterns over units")
            panel.set_title(label)
        panels[0].set_ylabel("Overlap with the pattern")
        panels[0].set_ylim(0, 1.05)
        panels[0].annotate(f"{THEORY}", (THEORY, 0.02), (3, 0), textcoords="offset points", color="0.4")
        panels[0].legend(loc="lower right")
        save(figure, panels, FIGURE)


if __name__ == "__main__":
    main()
