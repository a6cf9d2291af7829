"""The tables at the end of a multirun: scores over seeds, and paired tests between methods."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from orthotrace.core.files import write_text
from orthotrace.results.collapse import group_lines
from orthotrace.results.columns import BETTER, COLUMNS, DASH, INTERVAL, WORDS, Column, in_common, lacking, titled
from orthotrace.results.comparisons import PairedComparison, against_references, comparisons, setting_of
from orthotrace.results.distinct import distinct
from orthotrace.results.groups import BUSY, Group, failures, groups
from orthotrace.results.run_folder import Run
from orthotrace.results.statistics import mean_interval
from orthotrace.results.tables import interval_text, latex, mean_and_deviation, number, p_value, parts

# What others are measured against is best by what it is.
REFERENCES = ("joint", "independent")
# Of a table that goes into a pipe or a file.
WIDTH = 220
# More pairs than these are not printed: those with the best method are.
PAIRS = 15


def score_table(found: Sequence[Group]) -> list[list[str]]:
    """Mean and standard deviation of every score that a run has, and the 95 % interval of ACC, as text."""
    runs = [run for group in found for run in group.runs]
    extra = [against_references(group, runs) for group in found]
    values = {
        name: [of.get(name) or group.values(name) for group, of in zip(found, extra, strict=True)] for name in COLUMNS
    }
    # Methods that keep nothing have no column for it.
    shown = [name for name, of in values.items() if _told(COLUMNS[name], of)]
    score = in_common(group.score for group in found)
    rows = [["method", "runs", *(titled(name, score) for name in shown)]]
    rows[0].insert(3, INTERVAL)
    for place, group in enumerate(found):
        cells = [mean_and_deviation(values[name][place], COLUMNS[name].digits) for name in shown]
        interval = mean_interval(group.values("acc"))
        # No accuracy lies beyond 0 and 1, whatever Student's distribution says of few seeds; R^2 has no lower end.
        least = 0.0 if group.score == "accuracy" else -math.inf
        low, high = (None if end is None else min(max(end, least), 1.0) for end in (interval.low, interval.high))
        bounds = DASH if low is None or high is None else interval_text(low, high)
        label = group.label if group.score == score else f"{group.label} ({WORDS[group.score]})"
        rows.append([label, str(len(group.runs)), cells[0], bounds, *cells[1:]])
    return rows


def _told(column: Column, of: Sequence[Sequence[float]]) -> bool:
    """Whether there is a column of the values of all groups."""
    return column.always or any(any(one) or (one and column.zero) for one in of)


def score_latex(found: Sequence[Group]) -> str:
    """The same for LaTeX: the best of each column is bold among the groups of the same data and tasks.

    Why cells are empty is a comment below it.
    """
    blocks = [
        None if group.runs[0].scores["method"] in REFERENCES else str(setting_of(group.runs[0])) for group in found
    ]
    table = score_table(found)
    why = lacking(table, in_common(group.score for group in found))
    return latex(table, BETTER, blocks) + (f"% {why.replace(DASH, '--')}\n" if why else "")


def best_by_validation(found: Sequence[Group]) -> list[str]:
    """Of each method with several settings the one with the highest validation accuracy, in words.

    Settings are tuned by it: the test images are for the comparison of methods alone.
    """
    several: dict[tuple[str, str], list[Group]] = {}
    for group in found:
        if group.values("val_acc"):
            first = group.runs[0]
            several.setdefault((first.scores["method"], str(setting_of(first))), []).append(group)
    lines = []
    for same in several.values():
        if len(same) > 1:
            best = max(same, key=lambda group: statistics.fmean(group.values("val_acc")))
            value = number(statistics.fmean(best.values("val_acc")))
            what = titled("val_acc", best.score)
            lines.append(f"best of {len(same)} settings by validation: {best.label} ({what} {value})")
    return lines


def comparison_table(found: Sequence[PairedComparison]) -> list[list[str]]:
    """Differences in ACC with interval and p-value, as text."""
    what = titled("acc", in_common(one.kind for one in found))
    rows = [["first", "second", "seeds", f"Δ {what}", "95 % interval", "p", "p (Holm)"]]
    for one in found:
        of = one.paired
        most = 1.0 if one.kind == "accuracy" else math.inf
        rows.append(
            [
                one.first,
                one.second,
                str(of.count),
                f"{of.difference:+.3f}".replace("0.", ".", 1),
                interval_text(max(of.low, -most), min(of.high, most)),
                p_value(of.p),
                p_value(one.corrected),
            ]
        )
    return rows


def write_summary(path: Path, runs: Sequence[Run]) -> None:
    """Write the tables of a multirun for LaTeX; nothing where no run is finished."""
    failed = failures(runs)
    found = groups([run for run in runs if run.folder.name not in failed])
    if not found:
        return
    text = f"% Mean and standard deviation over seeds, {where_of(path.parent)}.\n" + score_latex(found)
    pairs = comparisons(found)
    if pairs:
        text += "\n% Paired t-tests on the same seeds, p corrected by Holm.\n" + latex(comparison_table(pairs))
    write_text(path, text)


def where_of(folder: Path) -> str:
    """Which runs a summary covers, in words."""
    return f"all runs in {folder}"


def print_summary(runs: Sequence[Run], where: str = "", not_started: Sequence[str] = ()) -> None:
    """Print the scores of the finished runs, how they compare, and the others with their reasons.

    Args:
        runs: each network counts once; what equals another one is named.
        where: which runs they are, in words.
        not_started: names of the folders of those that were left out after the first failure.
    """
    from rich.console import Console

    failed = failures(runs)
    pruned = {run.folder.name: run.pruned for run in runs if run.pruned is not None}
    whole = [run for run in runs if run.folder.name not in failed | pruned]
    finished = groups(whole)
    # A pipe is no reason to fold a table.
    console = Console(width=None if Console().is_terminal else WIDTH, highlight=False)
    if finished:
        title = ", ".join(["mean ± sd over seeds", *([where] if where else [])])
        table = score_table(finished)
        for later, part in enumerate(parts(table, console.width)):
            console.print(_rich(part, "" if later else title))
        if why := lacking(table, in_common(group.score for group in finished)):
            console.print(why, markup=False, soft_wrap=True)
    pairs = comparisons(finished)
    title = f"paired t-tests of {titled('acc', in_common(group.score for group in finished))} on the same seeds"
    if len(pairs) > PAIRS:
        best = max(finished, key=lambda group: statistics.fmean(group.values("acc"))).label
        pairs = [one for one in pairs if best in (one.first, one.second)]
        title += f"; only those with {best}, all are in summary.tex"
    if pairs:
        console.print(_rich(comparison_table(pairs), title))
    for line in [*best_by_validation(finished), *group_lines(finished)]:
        console.print(line, markup=False, soft_wrap=True)
    for other, kept in distinct(whole)[1].items():
        console.print(f"not counted: {other}, the same network as {kept}", markup=False, soft_wrap=True)
    for name, reason in pruned.items():
        console.print(f"pruned: {name}: {reason}", markup=False, soft_wrap=True)
    for name, reason in failed.items():
        state = "running" if reason == BUSY else "failed"
        line = f"not started: {name}" if name in not_started else f"{state}: {name}: {reason}"
        console.print(line, markup=False, soft_wrap=True)


def _rich(rows: Sequence[Sequence[str]], title: str):
    from rich.table import Table

    table = Table(*rows[0], title=title)
    for row in rows[1:]:
        table.add_row(*row)
    return table
