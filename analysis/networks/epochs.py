"""Networks along their training: the epochs that trainer.checkpoints kept, looked at as tasks are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.results.run_folder import Run


class EpochsOfRun(Run):
    """A run of one task whose kept epochs stand in the place of its tasks; epoch 0 is the untrained network.

    Args:
        run: that is looked at.

    Raises:
        UserError: it has several tasks, or kept no epochs.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run.folder, run.trust)
        if len(run.tasks) > 1:
            raise UserError(f"{run.folder.name} has {len(run.tasks)} tasks: epochs are those of runs of one", "epochs")
        if not run.epochs():
            raise UserError(
                f"{run.folder.name} kept no epochs: train it with trainer.checkpoints=[0,1,2,...]", "epochs"
            )

    @property
    def tasks(self) -> list[int]:
        """The epochs that were kept."""
        return self.epochs()

    def checkpoint(self, task: int) -> Path:
        """The checkpoint of an epoch."""
        return self.epoch_checkpoint(1, task)

    def network(self, task: int = -1, epoch: int | None = None) -> nn.Module:
        """The network as it was after an epoch."""
        return Run(self.folder, self.trust).network(1, self.tasks[task] if task < 0 else task)


def told(text: str, along: str) -> str:
    """A text that tells tasks, as it is where epochs stand in their place.

    Args:
        text: any.
        along: "task" or "epoch".

    Example:
        >>> told("Kept since the first analysed task, after task 3.", "epoch")
        'Kept since the first analysed epoch, after epoch 3.'
    """
    return re.sub(r"\b(after|after every|first analysed) task\b", rf"\1 {along}", text)


def along_of(runs: Iterable[object]) -> str:
    """What the numbers of an analysis count: "epoch" where runs are looked at along their training, else "task"."""
    return "epoch" if any(isinstance(run, EpochsOfRun) for run in runs) else "task"


def at_epochs(runs: Sequence[Run], epochs: str | Sequence[int]) -> tuple[list[Run], str | list[int]]:
    """Runs whose epochs are looked at, and which of them: "all", or numbers from 0.

    Raises:
        UserError: a run of several tasks, or an epoch that a run did not keep.
    """
    found = [EpochsOfRun(run) for run in runs]
    for run in found if not isinstance(epochs, str) else ():
        if missing := [epoch for epoch in epochs if epoch not in run.tasks]:
            raise UserError(f"{run.folder.name} did not keep epoch {missing[0]}; there are: {run.tasks}", "epochs")
    return [*found], epochs if isinstance(epochs, str) else list(epochs)
