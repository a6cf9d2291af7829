"""Runs side by side: scores over seeds, and methods compared on the same seeds."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from orthotrace.core.errors import UserError
from orthotrace.core.files import read, write_text
from orthotrace.results.run_folder import Run
from orthotrace.results.scores import intransigence, reference_transfer
from orthotrace.results.statistics import Paired, holm, mean_interval, paired
from orthotrace.results.tables import latex

SCORES = ("acc", "bwt", "fwt", "forgetting", "learning_accuracy")
TITLES = {"acc": "ACC", "bwt": "BWT", "fwt": "FWT", "forgetting": "forgetting", "learning_accuracy": "learning acc."}
# More pairs than these are not printed: those with the best method are.
PAIRS = 15


# What two runs of one group may differ in, or what their name says already.
SAME = ("seed", "seeds", "method", "hydra", "logger", "overwrite", "name")


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seeds only.

    Attributes:
        label: the method, and what else was overridden.
        runs: by seed.
    """

    label: str
    runs: tuple[Run, ...]

    def values(self, score: str) -> list[float]:
        """A score of each run that has it."""
        found = [run.scores[score] for run in self.runs]
        return [value for value in found if value is not None]

    def cell(self, score: str) -> str:
        """Mean and standard deviation (of the sample) as text; a dash where the score does not apply."""
        return _cell(self.values(score))


def _short(value: float) -> str:
    text = f"{value:.3f}".replace("0.", ".", 1)
    return ".000" if text == "-.000" else text


def settings(run: Run) -> tuple[str, ...]:
    """The overrides that tell a run from others, its method and seeds apart."""
    others = []
    for override in sorted(str(item) for item in read(run.hydra / "overrides.yaml", OmegaConf.load)):
        key, _, value = override.partition("=")
        # Of the method's options the one that names another run is no setting.
        if key in (*SAME, "method.rows_from") or (key.split(".")[0] in SAME and not key.startswith("method.")):
            continue
        others.append(f"{key}={value}")
    return tuple(others)


def groups(runs: Sequence[Run]) -> list[Group]:
    """Finished runs, grouped, by label: the method, and what tells its groups from each other."""
    found: dict[tuple[str, tuple[str, ...]], list[Run]] = {}
    for run in runs:
        if run.exists and run.finished:
            found.setdefault((str(run.scores["method"]), settings(run)), []).append(run)
    made = []
    for (method, own), members in found.items():
        of_method = [set(others) for name, others in found if name == method]
        shared = set.intersection(*of_method)
        label = ", ".join([method, *(_short_setting(setting) for setting in own if setting not in shared)])
        made.append(Group(label, tuple(sorted(members, key=lambda run: sorted(run.scores["seeds"].items())))))
    return sorted(made, key=lambda group: group.label)


def _short_setting(setting: str) -> str:
    key, _, value = setting.partition("=")
    return f"{key.rsplit('.', 1)[-1]}={value[:24]}"


def failures(runs: Sequence[Run]) -> dict[str, str]:
    """Runs that did not finish: folder -> reason."""
    reasons = {}
    for run in runs:
        if run.failed_file.is_file():
            reasons[run.folder.name] = run.failed_file.read_text().split("\n")[0]
            continue
        try:
            if not run.finished:
                reasons[run.folder.name] = "not finished"
        except UserError as error:
            reasons[run.folder.name] = str(error)
    return reasons


@dataclass(frozen=True)
class PairedComparison:
    """Two groups on the seeds that both have.

    Attributes:
        first, second: labels.
        score: that is compared.
        paired: difference, interval and p-value.
        corrected: p-value, by Holm over all pairs.
    """

    first: str
    second: str
    score: str
    paired: Paired
    corrected: float


def comparisons(found: Sequence[Group], score: str = "acc") -> list[PairedComparison]:
    """Every pair of groups of one setting, with at least two seeds that both have.

    Args:
        found: groups.
        score: to compare.
    """
    pairs = []
    for one, other in itertools.combinations(found, 2):
        if _setting(one.runs[0]) != _setting(other.runs[0]):
            continue
        left, right = (
            {json.dumps(run.scores["seeds"], sort_keys=True): run.scores[score] for run in group.runs}
            for group in (one, other)
        )
        seeds = [seed for seed in left if right.get(seed) is not None and left[seed] is not None]
        if len(seeds) > 1:
            of = paired([left[seed] for seed in seeds], [right[seed] for seed in seeds])
            pairs.append((one.label, other.label, of))
    corrected = holm([of.p for _, _, of in pairs])
    return [
        PairedComparison(first, second, score, of, p) for (first, second, of), p in zip(pairs, corrected, strict=True)
    ]


def _setting(run: Run, *groups: str) -> list[str]:
    """What two runs must share for their scores to be compared: the data and the tasks, and further groups."""
    return [str(OmegaConf.select(run.config, group)) for group in ("dataset", "stream", *groups)]


def against_references(group: Group, runs: Sequence[Run]) -> dict[str, list[float]]:
    """Intransigence against joint training, and transfer against single-task training, of the runs that have them.

    Args:
        group: of runs.
        runs: among which the references are, with the same setting and seeds.
    """
    measures = {"intransigence": ("joint", intransigence), "transfer": ("independent", reference_transfer)}
    found: dict[str, list[float]] = {}
    for run in group.runs:
        accuracy = run.scores["accuracy"]
        for name, (method, measure) in measures.items():
            same = [
                other
                for other in runs
                if other.scores["method"] == method
                and _setting(other, "model", "trainer") == _setting(run, "model", "trainer")
                and other.scores["seeds"] == run.scores["seeds"]
            ]
            if len(same) == 1 and len(accuracy) > 1 and run.scores["method"] != method:
                reference = same[0].scores["accuracy"]
                values = reference[-1] if method == "joint" else [row[j] for j, row in enumerate(reference)]
                found.setdefault(name, []).append(measure(accuracy, values))
    return found


def score_table(found: Sequence[Group]) -> list[list[str]]:
    """Mean and standard deviation of every score, and the 95 % interval of ACC, as text."""
    runs = [run for group in found for run in group.runs]
    extra = [against_references(group, runs) for group in found]
    names = [name for name in ("intransigence", "transfer") if any(name in of for of in extra)]
    titles = {"intransigence": "intransigence", "transfer": "FWT (single-task)"}
    rows = [["method", "runs", "ACC", "95 % interval", *(TITLES[score] for score in SCORES[1:])]]
    rows[0] += [titles[name] for name in names]
    for group, of in zip(found, extra, strict=True):
        interval = mean_interval(group.values("acc"))
        # No accuracy lies beyond 0 and 1, whatever Student's distribution says of few seeds.
        low, high = (None if end is None else min(max(end, 0.0), 1.0) for end in (interval.low, interval.high))
        bounds = "–" if low is None or high is None else _bounds(low, high)
        cells = [group.cell(score) for score in SCORES]
        rows.append([group.label, str(len(group.runs)), cells[0], bounds, *cells[1:]])
        rows[-1] += [_cell(of.get(name, [])) for name in names]
    return rows


def comparison_table(found: Sequence[PairedComparison]) -> list[list[str]]:
    """Differences in ACC with interval and p-value, as text."""
    rows = [["first", "second", "seeds", "Δ ACC", "95 % interval", "p", "p (Holm)"]]
    for one in found:
        of = one.paired
        rows.append(
            [
                one.first,
                one.second,
                str(of.count),
                f"{of.difference:+.3f}".replace("0.", ".", 1),
                _bounds(max(of.low, -1.0), min(of.high, 1.0)),
                _p(of.p),
                _p(one.corrected),
            ]
        )
    return rows


def write_summary(path: Path, runs: Sequence[Run]) -> None:
    """Write the tables of a multirun for LaTeX; nothing where no run is finished."""
    failed = failures(runs)
    found = groups([run for run in runs if run.folder.name not in failed])
    if not found:
        return
    text = "% Mean and standard deviation over seeds.\n" + latex(score_table(found))
    pairs = comparisons(found)
    if pairs:
        text += "\n% Paired t-tests on the same seeds, p corrected by Holm.\n" + latex(comparison_table(pairs))
    write_text(path, text)


def print_summary(runs: Sequence[Run]) -> None:
    """Print the scores of the finished runs, how they compare, and the others with their reasons."""
    from rich.console import Console

    failed = failures(runs)
    finished = groups([run for run in runs if run.folder.name not in failed])
    # A pipe is no reason to fold a table.
    console = Console(width=None if Console().is_terminal else 160, highlight=False)
    if finished:
        console.print(_rich(score_table(finished), "mean ± sd over seeds"))
    pairs = comparisons(finished)
    title = "paired t-tests of ACC on the same seeds"
    if len(pairs) > PAIRS:
        best = max(finished, key=lambda group: statistics.fmean(group.values("acc"))).label
        pairs = [one for one in pairs if best in (one.first, one.second)]
        title += f"; only those with {best}, all are in summary.tex"
    if pairs:
        console.print(_rich(comparison_table(pairs), title))
    for name, reason in failed.items():
        console.print(f"failed: {name}: {reason}", markup=False)


def _rich(rows: Sequence[Sequence[str]], title: str):
    from rich.table import Table

    table = Table(*rows[0], title=title)
    for row in rows[1:]:
        table.add_row(*row)
    return table


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "–"
    mean = _short(statistics.fmean(values))
    return f"{mean} ± {_short(statistics.stdev(values))}" if len(values) > 1 else mean


def _bounds(low: float, high: float) -> str:
    return f"[{_short(low)}, {_short(high)}]"


def _p(value: float) -> str:
    return "<.001" if value < 0.001 else _short(value)
