"""A run of fewer tasks is gone on from: what the longer one would have measured until then."""

from dataclasses import replace
from typing import Any

import pytorch_lightning as pl

from orthotrace.core.files import read
from orthotrace.results.run_folder import read_checkpoint
from orthotrace.training.checkpoint import Checkpoints
from orthotrace.training.evaluation import Evaluator
from orthotrace.training.learner import Learner
from orthotrace.training.progress import Progress
from orthotrace.training.tracking import Tracker


def lengthened(
    progress: Progress,
    learner: Learner,
    checkpoints: Checkpoints,
    evaluator: Evaluator,
    trainer: pl.Trainer,
    tracker: Tracker,
) -> Progress:
    """The progress of a run of fewer tasks, as it would be in a run of all tasks of the stream.

    Of every network so far, from the untrained one on, the accuracy on the new tasks is measured. All that is known is
    reported to the tracker, which does not know the shorter run.

    Args:
        progress: of the shorter run.
        learner: as it is before training; afterwards as after the last task that has ended.
        checkpoints: of each task that has ended one.
        evaluator: of the learner's network, on all tasks.
        trainer: says where networks are tested after a task.
        tracker: of the longer run.

    Raises:
        UserError: the checkpoint of a task is missing or damaged.
    """
    tasks, before = checkpoints.components.stream.tasks, progress.tasks
    untrained = [*progress.untrained, *evaluator.untrained()[before:]]
    accuracy = []
    for number, row in enumerate(progress.accuracy, start=1):
        saved = read(checkpoints.run.checkpoint(number), read_checkpoint)
        checkpoints.load(learner, saved, trainer.global_rank)
        learner.to(trainer.strategy.root_device).eval()
        accuracy.append([*row, *evaluator(after=number)[0][before:]])
        learner.to("cpu")
    # What is known of the tasks alone, and of the network after the last one, is measured later.
    later: dict[str, Any] = {"chance": [], "test_images": [], "validation": []}
    progress = replace(progress, tasks=tasks, untrained=untrained, accuracy=accuracy, **later)
    for number in range(1, progress.task + 1):
        seen = progress.after(number)
        for place, row in enumerate(seen.epochs, start=1):
            if row["task"] == number:
                tracker.epoch(row, place)
        tracker.task(seen, None)
    return progress
