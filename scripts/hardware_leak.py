"""What is left of a projection when hardware rounds or disturbs what it protects.

    python scripts/hardware_leak.py [--draw]      with --draw the figure alone, from what was measured

A layer of 64 x 100 in float64 learns the digits 0 to 4. GPM's subspace holds the principal directions of their images
that reach .97 of the energy; then it learns 5 to 9, 200 steps of gradient descent on all images, with a readout of its
own that is trained too. The leak is the share of the weight's change dW that lies in the rows M held,
|dW M^T| / |dW|. It is measured

- of the exact change, rounded once to b bits: 2^b levels from -max |dW| to max |dW|;
- of weights rounded after every step, to 2^b levels from -2 max |W| to 2 max |W|, with what the guard does (what was
  applied since the task's start is projected before each rounding) and with projected gradients alone;
- of weights held by a crossbar, for noise of writing and levels of a device.

Rounding is to the nearest level, or stochastic: up with the probability that makes the mean right. Three seeds. Writes
scripts/results/hardware_leak.json and docs/figures/hardware_leak.png, and goes on where it stopped; some five minutes.
"""

from __future__ import annotations

import math
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from drawing import save
from records import read_record, write_record
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import cross_entropy

from orthotrace.analysis.figures.style import COLOURS, MARKERS, now, styled
from orthotrace.core.seeds import generator
from orthotrace.layers.crossbar import Crossbar
from orthotrace.linalg import leak
from orthotrace.subspace import SvdSubspace

RESULTS, FIGURE = Path("scripts/results/hardware_leak.json"), Path("docs/figures/hardware_leak.png")
UNITS, STEPS, RATE, SEEDS, ENERGY, REACH, G_MIN = 100, 200, 0.2, (0, 1, 2), 0.97, 2.0, 0.01
BITS = tuple(range(2, 17))
NOISES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
LEVELS = (None, 256, 32)
ROUNDINGS = ("nearest", "stochastic")
RULES = ("applied", "gradient")
# Of an error of rounding, in steps of the grid: its variance where values lie evenly between levels, its largest size.
VARIANCES = {"nearest": 1 / 12, "stochastic": 1 / 6}
LARGEST = {"nearest": 0.5, "stochastic": 1.0}


def images(last: bool) -> tuple[Tensor, Tensor]:
    """The digits 0 to 4, or 5 to 9 as the classes 0 to 4; pixels in [0, 1]."""
    pixels, labels = (torch.from_numpy(values) for values in load_digits(return_X_y=True))
    there = (labels >= 5) == last
    return pixels[there].double() / 16, labels[there].long() % 5


def rounded(values: Tensor, step: float, rounding: str, draws: torch.Generator) -> Tensor:
    """On the grid of odd multiples of half a step, which has 2^b levels for b bits."""
    place = values / step - 0.5
    down = place.floor()
    up = place - down
    chosen = torch.rand(up.shape, generator=draws, dtype=up.dtype) < up if rounding == "stochastic" else up >= 0.5
    return (down + chosen + 0.5) * step


def limited(values: Tensor, top: float, bits: int, rounding: str, draws: torch.Generator) -> Tensor:
    """Rounded to 2^bits levels from -top to top."""
    step = 2 * top / (2**bits - 1)
    return rounded(values, step, rounding, draws).clamp(-top, top)


def learn(weight: Tensor, last: bool, seed: int, after: Any, projected: Any = None) -> Tensor:
    """The weight after some steps, each followed by what is done to it; gradients are projected where that is given."""
    inputs, labels = images(last)
    readout = torch.randn(5, UNITS, generator=generator(seed, 2, int(last)), dtype=torch.float64) / UNITS**0.5
    weight = weight.clone().requires_grad_()
    readout.requires_grad_()
    for _ in range(STEPS):
        loss = cross_entropy((inputs @ weight.T).relu() @ readout.T, labels)
        first, second = torch.autograd.grad(loss, (weight, readout))
        with torch.no_grad():
            readout -= RATE * second
            weight -= RATE * (first if projected is None else projected(first))
            weight.copy_(after(weight))
    return weight.detach()


class Setting:
    """Of a seed: the weight that knows the first digits, the rows held, and the exact change by the others."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        start = torch.randn(UNITS, 64, generator=generator(seed, 1), dtype=torch.float64) / 8
        self.weight = learn(start, False, seed, lambda weight: weight)
        self.space = SvdSubspace(64, energy=ENERGY, dtype=torch.float64)
        self.space.observe(images(False)[0])
        self.space.consolidate()
        self.change = learn(self.weight, True, seed, self.kept) - self.weight
        self.top = REACH * float(self.weight.abs().amax())

    def kept(self, weight: Tensor, start: Tensor | None = None) -> Tensor:
        """A weight without what it moved along the rows held."""
        start = self.weight if start is None else start
        return start + self.space.project(weight - start)

    def leak(self, change: Tensor) -> float:
        """Share of a change in the rows held."""
        return leak(change, self.space.basis, torch.zeros_like(change))


def once(setting: Setting, bits: int, rounding: str) -> dict[str, Any]:
    """A change that is rounded once, with what theory expects and the most there can be."""
    change, rank = setting.change, setting.space.rank
    top = float(change.abs().amax())
    step = 2 * top / (2**bits - 1)
    found = limited(change, top, bits, rounding, generator(setting.seed, 3, bits))
    share = change / step - 0.5
    share = share - share.floor()
    variance = step**2 * (VARIANCES["nearest"] if rounding == "nearest" else float((share * (1 - share)).mean()))
    return {
        "leak": setting.leak(found),
        "expected": (UNITS * rank * variance) ** 0.5 / float(found.norm()),
        "bound": min(1.0, LARGEST[rounding] * step * change.numel() ** 0.5 / float(found.norm())),
    }


def always(setting: Setting, bits: int, rounding: str, rule: str) -> dict[str, Any]:
    """Weights that are rounded after every step."""
    draws = generator(setting.seed, 4, bits)

    def onto_grid(weight: Tensor) -> Tensor:
        return limited(weight, setting.top, bits, rounding, draws)

    start = onto_grid(setting.weight)
    if rule == "applied":
        found = learn(start, True, setting.seed, lambda weight: onto_grid(setting.kept(weight, start)))
    else:
        found = learn(start, True, setting.seed, onto_grid, setting.space.project)
    change, step = found - start, 2 * setting.top / (2**bits - 1)
    # A projection of what was applied leaves the last rounding alone; of projected gradients each rounding stays.
    roundings = 1 if rule == "applied" else STEPS
    size = float(change.norm())
    variance = step**2 * VARIANCES[rounding] * roundings
    return {
        "leak": setting.leak(change),
        "expected": (UNITS * setting.space.rank * variance) ** 0.5 / size if size else 0.0,
        "bound": min(1.0, LARGEST[rounding] * step * change.numel() ** 0.5 * roundings / size) if size else 0.0,
        "moved": size / float(setting.change.norm()),
    }


def crossbar(setting: Setting, levels: int | None, noise: float) -> dict[str, Any]:
    """Ideal weights that are projected exactly, and what a crossbar holds of them before and after."""
    torch.manual_seed(setting.seed)
    held = Crossbar(setting.weight, levels, noise, g_min=G_MIN, reach=REACH)
    before = held.read()
    after = held(setting.weight + setting.change)
    moved = after - before
    span = 1 - G_MIN
    variance = 0.0
    for weight in (setting.weight, setting.weight + setting.change):
        # Of both devices; clipping to the range is left out.
        pair = held.target(weight)
        variance += float((noise * pair).square().sum()) * float(held.scale) ** 2
        if levels is not None:
            variance += weight.numel() * (float(held.scale) * span / (levels - 1)) ** 2 / 12
    rank, width = setting.space.rank, setting.space.features
    return {"leak": setting.leak(moved), "expected": (variance * rank / width) ** 0.5 / float(moved.norm())}


def cells() -> list[tuple[Any, ...]]:
    """All that is measured of a seed."""
    found: list[tuple[Any, ...]] = [("once", bits, rounding) for bits in BITS for rounding in ROUNDINGS]
    found += [("always", bits, rounding, rule) for bits in BITS for rounding in ROUNDINGS for rule in RULES]
    return found + [("crossbar", levels, noise) for levels in LEVELS for noise in NOISES]


MEASURES = {"once": once, "always": always, "crossbar": crossbar}


def main() -> None:
    """Measure and draw."""
    if sys.argv[1:] == ["--draw"]:
        draw(read_record(RESULTS)["records"])
        return
    torch.set_num_threads(1)
    content: dict[str, Any] = read_record(RESULTS) if RESULTS.is_file() else {"records": []}
    records: list[dict[str, Any]] = content["records"]
    there = {(one["seed"], *one["cell"]) for one in records}
    for seed in SEEDS:
        setting = Setting(seed)
        for cell in cells():
            if (seed, *cell) not in there:
                measured = MEASURES[cell[0]](setting, *cell[1:])
                values = {name: float(f"{value:.4g}") for name, value in measured.items()}
                records.append({"seed": seed, "cell": list(cell), **values})
        facts = {"rank": setting.space.rank, "features": 64, "units": UNITS, "exact_leak": setting.leak(setting.change)}
        write_record(RESULTS, {"command": "python scripts/hardware_leak.py", **facts, "records": records})
        print(seed, facts, flush=True)
    draw(records)


def mean(records: list[dict[str, Any]], what: str, *cell: Any) -> float:
    """Geometric mean over the seeds; NaN where nothing moved, so that nothing is drawn."""
    values = [one[what] for one in records if one["cell"] == list(cell)]
    return math.exp(statistics.mean(map(math.log, values))) if all(values) else math.nan


def lines(panel: Any, records: list[dict[str, Any]], place: int, label: str, over: Any, cell: Any) -> None:
    """What was measured as markers, and what theory expects as a line, where it has an expectation below 1."""
    for what, style in (("leak", {"marker": MARKERS[place], "linestyle": "", "label": label}), ("expected", {})):
        values = [mean(records, what, *cell(one)) for one in over]
        known = "gradient, nearest" not in label
        shown = [value if what == "leak" or (known and value <= 1) else math.nan for value in values]
        panel.plot(over, shown, **{"color": COLOURS[place], "linewidth": 0.8, "markersize": 3, **style})


def draw(records: list[dict[str, Any]]) -> None:
    """Leaks over bits and noise, with what theory expects, and what is left of the change."""
    both = [(rule, rounding) for rule in RULES for rounding in ROUNDINGS]
    with styled():
        figure, grid = plt.subplots(2, 2, figsize=(now().page, 4.6), layout="constrained")
        once, stepwise, written, sizes = grid.flat
        for place, rounding in enumerate(ROUNDINGS):
            lines(once, records, place, rounding, BITS, lambda bits, of=rounding: ("once", bits, of))
        bound = [mean(records, "bound", "once", bits, "nearest") for bits in BITS]
        once.plot(BITS, bound, color="0.4", linestyle=":", label="bound, nearest")
        for place, (rule, rounding) in enumerate(both):
            of = (rounding, rule)
            lines(stepwise, records, place, f"{rule}, {rounding}", BITS, lambda bits, of=of: ("always", bits, *of))
            moved = [mean(records, "moved", "always", bits, rounding, rule) for bits in BITS]
            style = {"marker": MARKERS[place], "color": COLOURS[place], "markersize": 3, "linewidth": 0.8}
            sizes.plot(BITS, moved, label=f"{rule}, {rounding}", **style)
        bound = [mean(records, "bound", "always", bits, "stochastic", "applied") for bits in BITS]
        stepwise.plot(BITS, bound, color="0.4", linestyle=":", label="bound, applied, stochastic")
        for place, levels in enumerate(LEVELS):
            label = "any conductance" if levels is None else f"{levels} levels"
            lines(written, records, place, label, NOISES, lambda noise, of=levels: ("crossbar", of, noise))
        written.set_xscale("log")
        sizes.axhline(1, color="0.6", linewidth=0.6)
        said = (
            (once, "A change rounded once", "Bits"),
            (stepwise, "Weights rounded after each step", "Bits"),
            (written, "Weights written to a crossbar", "Noise of writing"),
            (sizes, "Size of the change, rounded after each step", "Bits"),
        )
        for panel, title, label in said:
            panel.set(title=title, xlabel=label, yscale="log")
            panel.set_ylabel("|dW| over the exact one" if panel is sizes else "Leak, |dW M$^T$| / |dW|")
            panel.legend(loc="best")
        for panel in (once, stepwise, written):
            panel.set_ylim(1e-5, 3)
        save(figure, grid, FIGURE)


if __name__ == "__main__":
    main()
