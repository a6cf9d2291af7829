"""What a run writes for users: scores.json, metrics.csv and what was measured inside tasks."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from statistics import fmean
from typing import Any

from orthotrace.core.files import write_csv, write_json
from orthotrace.methods.nearest_mean import NearestMean
from orthotrace.results.run_folder import Run
from orthotrace.results.scores import Scores, inside_scores
from orthotrace.training.progress import Progress
from orthotrace.training.provenance import commits, versions
from orthotrace.training.settings import Components

SCHEMA = 1


def write(run: Run, scores: Mapping[str, Any], progress: Progress) -> None:
    """Write what is known so far of a run, each file whole; scores are its report."""
    # Not Lightning's CSVLogger: it appends row by row, so a kill between two rows and a checkpoint would leave
    # rows that the continued run writes again.
    write_csv(run.metrics_file, progress.epochs)
    if progress.inside:
        write_csv(run.inside_file, progress.inside_rows())
    write_json(run.scores_file, scores)


def report(
    parts: Components,
    progress: Progress,
    machine: Mapping[str, Any],
    nearest: NearestMean | None = None,
    stacked: int | None = None,
) -> dict[str, Any]:
    """The content of scores.json.

    Args:
        parts: of the experiment.
        progress: of the run.
        machine: as provenance.machine tells it.
        nearest: the means that decide at a test.
        stacked: networks that were trained together; None for one by itself.
    """
    stream = parts.stream
    scores = progress.scores(stream.shared_head)
    rest = progress.tasks - progress.task
    none = dict.fromkeys(field.name for field in fields(Scores))
    lowest = None if scores is None else inside_scores(progress.inside, progress.accuracy)
    return {
        "schema": SCHEMA,
        **parts.names,
        "scenario": stream.scenario,
        # Where it is not told it is accuracy.
        **({"score": progress.score} if stream.regression else {}),
        "seeds": parts.seeds.as_dict(),
        # Of networks that were trained together alone.
        **({} if stacked is None else {"stacked": stacked}),
        "accuracy": [*progress.accuracy, *([None] * progress.tasks for _ in range(rest))],
        "digests": dict(parts.digests),
        "untrained": progress.untrained,
        "chance": progress.chance,
        "test_images": progress.test_images,
        "classes": list(stream.classes),
        "class_accuracy": [*progress.by_class, *([None] * len(stream.classes) for _ in range(rest))],
        **(scores.as_dict() if scores else none),
        "min_acc": lowest.min_acc if lowest else None,
        "wc_acc": lowest.wc_acc if lowest else None,
        "val_acc": fmean(progress.validation) if progress.validation else None,
        "leak": progress.leak if any(leak is not None for leak in progress.leak) else None,
        "capacity": progress.capacity or None,
        # Of spiking networks alone.
        **({"activity": progress.activity} if progress.activity else {}),
        "parameters": sum(value.numel() for value in parts.model.parameters()),
        "extra_memory_bytes": parts.method.extra_memory_bytes + (0 if nearest is None else nearest.memory_bytes),
        "seconds": [round(seconds, 3) for seconds in progress.seconds],
        "versions": versions(),
        "machine": dict(machine),
        "commit": commits(Path.cwd()),
    }
