"""Methods compared on the same seeds, and with their references."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from orthotrace.config.renamed import in_original_names
from orthotrace.results.groups import Group
from orthotrace.results.run_folder import Run
from orthotrace.results.scores import intransigence, reference_transfer
from orthotrace.results.statistics import Paired, holm, paired


@dataclass(frozen=True)
class PairedComparison:
    """Two groups on the seeds that both have.

    Attributes:
        first, second: labels.
        score: that is compared.
        paired: difference, interval and p-value.
        corrected: p-value, by Holm over all pairs.
        kind: what the score is made of, see columns.WORDS.
    """

    first: str
    second: str
    score: str
    paired: Paired
    corrected: float
    kind: str = "accuracy"


def comparisons(found: Sequence[Group], score: str = "acc") -> list[PairedComparison]:
    """Every pair of groups of one setting, with at least two seeds that both have."""
    pairs = []
    for one, other in itertools.combinations(found, 2):
        if setting_of(one.runs[0]) != setting_of(other.runs[0]):
            continue
        left, right = (
            {json.dumps(run.scores["seeds"], sort_keys=True): run.scores[score] for run in group.runs}
            for group in (one, other)
        )
        seeds = [seed for seed in left if right.get(seed) is not None and left[seed] is not None]
        if len(seeds) > 1:
            of = paired([left[seed] for seed in seeds], [right[seed] for seed in seeds])
            pairs.append((one.label, other.label, of, one.score))
    corrected = holm([of.p for _, _, of, _ in pairs])
    return [
        PairedComparison(first, second, score, of, p, kind)
        for (first, second, of, kind), p in zip(pairs, corrected, strict=True)
    ]


def against_references(group: Group, runs: Sequence[Run]) -> dict[str, list[float]]:
    """Intransigence against joint training, and transfer against single-task training, of the runs that have them."""
    measures = {"intransigence": ("joint", intransigence), "transfer": ("independent", reference_transfer)}
    found: dict[str, list[float]] = {}
    for run in group.runs:
        accuracy = run.scores["accuracy"]
        for name, (method, measure) in measures.items():
            same = [
                other
                for other in runs
                if other.scores["method"] == method
                and setting_of(other, "model", "trainer") == setting_of(run, "model", "trainer")
                and other.scores["seeds"] == run.scores["seeds"]
            ]
            if len(same) == 1 and len(accuracy) > 1 and run.scores["method"] != method:
                reference = same[0].scores["accuracy"]
                values = reference[-1] if method == "joint" else [row[j] for j, row in enumerate(reference)]
                found.setdefault(name, []).append(measure(accuracy, values))
    return found


def setting_of(run: Run, *groups: str) -> list[str]:
    """What two runs must share for their scores to be compared: the data and the tasks, and further groups."""
    config: Any = OmegaConf.to_container(run.config)
    known = in_original_names(config)
    return [str(known.get(group)) for group in ("dataset", "stream", *groups)]
