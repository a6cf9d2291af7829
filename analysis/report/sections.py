"""Parts of a report on what was asked beside the usual comparisons: a table each, and what it says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from orthotrace.results.columns import DASH

if TYPE_CHECKING:
    from orthotrace.analysis.studies.degeneracy import LayerDegeneracy
    from orthotrace.analysis.studies.dropout import DropoutSampling
    from orthotrace.analysis.studies.factors import FactorShare
    from orthotrace.analysis.studies.readouts import ForgettingOfGroup


@dataclass(frozen=True)
class ReportSection:
    """A part of a report.

    Attributes:
        name: of the file of its table.
        title: of the part.
        table: rows, the first their heads; empty for no part at all.
        text: below the table.
    """

    name: str
    title: str
    table: list[list[str]]
    text: str


def cell(one: Mapping[str, Any], bounds: tuple[float, float] = (-math.inf, math.inf)) -> str:
    """A mean and its interval, if it has one, clipped to the range of the values as in the figures.

    Example:
        >>> cell({"mean": 0.5, "low": 0.25, "high": 1.25}, (0, 1)), cell({"mean": 0.5, "low": None, "high": None})
        ('0.500 [0.250, 1.000]', '0.500')
    """
    mean = f"{one['mean']:.3f}"
    if one["low"] is None:
        return mean
    return f"{mean} [{max(one['low'], bounds[0]):.3f}, {min(one['high'], bounds[1]):.3f}]"


def empty(table: Sequence[Sequence[str]], why: str) -> str:
    """What is added to the text below a table that has empty cells.

    Example:
        >>> empty([["layer", "r"], ["fc1", DASH]], "no two networks have the layer")
        ' –: no two networks have the layer.'
        >>> empty([["layer", "r"], ["fc1", ".5"]], "no two networks have the layer")
        ''
    """
    return f" {DASH}: {why}." if any(one == DASH for row in table for one in row) else ""


def forgetting_section(means: Sequence[ForgettingOfGroup], level: float) -> ReportSection:
    """Readouts by group and layer: means over the tasks before the last, of readouts.over_earlier_tasks."""
    heads = {
        "before": "just after", "trained": "trained", "kept": "kept", "aligned": "aligned", "refitted": "refitted",
        "seen": "drift seen",
    }  # fmt: skip
    found: dict[tuple[str, str], dict[str, str]] = {}
    for one in means:
        layer = f"{one.layer} (readout)" if one.own else one.layer
        found.setdefault((one.method, layer), {})[one.quantity] = cell(asdict(one), (0, 1))
    table = [["method", "layer", *heads.values()]] if found else []
    table += [[*key, *(of.get(name, DASH) for name in heads)] for key, of in found.items()]
    return ReportSection(
        "readout",
        "Forgetting taken apart",
        table,
        f"Accuracy after the last task, mean over the tasks before it, with the {100 * level:g} % interval over "
        "networks by Student's t. Just after: the readout of a task just after it; trained: the whole network, on all "
        "test images; kept: the readout of then on the activations of now; aligned: the same after the best "
        "rotation; refitted: a readout that is fitted again. Drift seen: the share of the movement of the activations "
        "that the network's own readout sees." + empty(table, "cannot be told of that layer"),
    )


def degeneracy_section(rows: Sequence[LayerDegeneracy], level: float, along: str) -> ReportSection:
    """How degenerate layers are, after the last task or epoch that was looked at."""
    last = max((one.task for one in rows), default=0)
    at = {(one.method, one.layer, one.quantity): one for one in rows if one.task == last}
    quantities = list(dict.fromkeys(quantity for _, _, quantity in at))
    table = [["method", "layer", *(name.replace("_", " ") for name in quantities)]] if at else []
    for method, layer in dict.fromkeys((method, layer) for method, layer, _ in at):
        cells = (at.get((method, layer, quantity)) for quantity in quantities)
        table.append([method, layer, *(DASH if one is None else cell(vars(one), (0, 1)) for one in cells)])
    return ReportSection(
        "degeneracy",
        "Degeneracy of layers",
        table,
        f"After {along} {last}: effective rank of activations and of weights, over the largest that it could be; the "
        "share of units that answer all stimuli alike; and the overlap of units, the mean |cosine| of the incoming "
        f"weights of two of them. Mean over seeds, with the {100 * level:g} % interval."
        + empty(table, "activations are read where a block of layers ends, weights are those of one layer"),
    )


def factors_section(shares: Sequence[FactorShare], layers: Sequence[str], level: float) -> ReportSection:
    """Shares of variance by task and factor, layer by layer."""
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    for one in shares:
        key = (one.factor, str(one.levels or DASH), "all" if one.task is None else str(one.task))
        of = {"mean": one.share, "low": one.low, "high": one.high}
        found.setdefault(key, {})[one.layer] = cell(of, (0, 1))
    table = [["factor", "levels", "after task", *layers]] if found else []
    table += [[*key, *(of.get(layer, DASH) for layer in layers)] for key, of in found.items()]
    resampled = list(dict.fromkeys(name for one in shares for name in one.resampled))
    interval = f", with the {100 * level:g} % interval by a jackknife over the levels of {', '.join(resampled)}"
    return ReportSection(
        "factors",
        "Variance explained by factors",
        table,
        f"Share of the variance between the RDMs of networks{interval if resampled else ''}. Each network is one "
        "observation of a linear mixed model with crossed random effects, of RDMs that are scaled to mean 0 and "
        "variance 1. Residual: what no factor explains."
        + empty(table, "no layer of that name, or, of the residual, no levels"),
    )


def dropout_section(
    found: Mapping[str, Mapping[str, Mapping[int, Any]]],
    sampling: DropoutSampling,
    layers: Sequence[str],
    level: float,
) -> ReportSection:
    """Consistency by group and number of masks, layer by layer."""
    table = [["method", "masks", *layers]] if found else []
    for group, by_layer in found.items():
        for count in sampling.counts:
            cells = (by_layer.get(layer, {}).get(count) for layer in layers)
            table.append([group, str(count), *(DASH if one is None else cell(vars(one), (0, 1)) for one in cells)])
    averaged = "activations, before the RDM" if sampling.average == "activations" else "RDMs, one of each mask"
    return ReportSection(
        "dropout",
        "Dropout at test",
        table,
        f"Consistency between networks whose dropout masks are drawn at test too; averaged over masks: {averaged}. "
        f"Mean over pairs, with the {100 * level:g} % interval over networks. Seed of the masks: {sampling.seed}."
        + empty(table, "no two networks have a value of that layer at so many masks"),
    )
