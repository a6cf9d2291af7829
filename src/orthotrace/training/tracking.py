"""Where scores go beside the run's folder. The only file that imports wandb."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from orthotrace.core.errors import UserError, checked
from orthotrace.core.files import write_text

if TYPE_CHECKING:
    from orthotrace.results.scores import Scores
    from orthotrace.training.progress import Progress


class Tracker:
    """Reports nowhere: the run's folder has it all. Other trackers fill in the hooks."""

    def start(
        self, folder: Path, job_type: str, group: str, name: str, tags: Sequence[str], config: Mapping[str, Any]
    ) -> None:
        """Before anything is reported.

        Args:
            folder: of the run or the analysis.
            job_type: train or analyse.
            group: the runs that belong together.
            name: of this one.
            tags: such as method and stream.
            config: the resolved configuration.
        """

    def epoch(self, row: Mapping[str, Any], number: int) -> None:
        """A row of metrics.csv, with its number from 1."""

    def task(self, progress: Progress, scores: Scores | None) -> None:
        """A task has ended; the summary comes with the last."""

    def figures(self, pictures: Mapping[str, Path], values: Mapping[str, float]) -> None:
        """Pictures by name, with numbers that belong to them."""

    def finish(self, failed: bool = False) -> None:
        """Nothing more will be reported."""


@checked
@dataclass(eq=False)
class WandbTracker(Tracker):
    """Weights & Biases: one run for each job, the same one when a job is continued.

    Args:
        project: of the runs.
        entity: user or team; None for the default of the account.
        mode: "online", or "offline" for a local copy that ``wandb sync`` uploads later.

    Raises:
        UserError: an unknown mode; online without a login.
    """

    project: Annotated[str, Field(min_length=1)] = "orthotrace"
    entity: str | None = None
    mode: Literal["online", "offline"] = "online"

    def start(
        self, folder: Path, job_type: str, group: str, name: str, tags: Sequence[str], config: Mapping[str, Any]
    ) -> None:
        """Open the run; its id stays in the folder."""
        import wandb

        marker = folder / "wandb" / "run_id"
        if not marker.is_file():
            write_text(marker, secrets.token_hex(4))
        logging.getLogger("wandb").setLevel(logging.ERROR)
        os.environ.setdefault("WANDB_SILENT", "true")
        options: dict[str, Any] = {
            "project": self.project,
            "entity": self.entity,
            "mode": self.mode,
            "dir": folder,
            "id": marker.read_text().strip(),
            "resume": "allow" if self.mode == "online" else None,
            "group": group,
            "job_type": job_type,
            "name": name,
            "tags": [tag[:64] for tag in tags],
            "config": dict(config),
            "reinit": "finish_previous",
            "settings": wandb.Settings(console="off", save_code=False),
        }
        try:
            self.run = _opened(lambda: wandb.init(**options))
        except wandb.Error as error:
            reason = str(error).split("\n")[0].rstrip(".")
            raise UserError(f"{reason}; log in with 'wandb login', or take logger=wandb_offline", "logger") from error
        self.run.define_metric("task")
        self.run.define_metric("cl/*", step_metric="task")

    def epoch(self, row: Mapping[str, Any], number: int) -> None:
        """Log an epoch; what a continued run reports again replaces nothing."""
        self.run.log(dict(row), step=number)

    def task(self, progress: Progress, scores: Scores | None) -> None:
        """Log the accuracies on all tasks, leak and capacity of each layer, and the matrix as a picture."""
        import matplotlib.pyplot as plt
        import wandb

        from orthotrace.results.heat_map import draw_matrix
        from orthotrace.training.progress import GAUGE

        seen = progress.accuracy[-1][: progress.task]
        values: dict[str, Any] = {"task": progress.task, "cl/accuracy": sum(seen) / len(seen)}
        values |= {f"cl/accuracy_task{j}": value for j, value in enumerate(progress.accuracy[-1], start=1)}
        if progress.leak[-1] is not None:
            values["cl/leak"] = progress.leak[-1]
        for name, entry in progress.capacity.items():
            values[f"cl/free_{name}"] = entry["features"] - entry["rank"][-1]
            values |= {f"cl/{key}_{name}": entry[key][-1] for key in GAUGE if entry[key][-1] is not None}
        if scores is not None:
            summary = {f"cl/{name}": value for name, value in scores.as_dict().items() if value is not None}
            values |= summary
            figure, axes = plt.subplots(figsize=(3, 3), layout="constrained")
            draw_matrix(axes, progress.accuracy)
            values["cl/accuracy_matrix"] = wandb.Image(figure)
            plt.close(figure)
            self.run.summary.update(summary)
        self.run.log(values, step=len(progress.epochs))

    def figures(self, pictures: Mapping[str, Path], values: Mapping[str, float]) -> None:
        """Log pictures and numbers at once."""
        import wandb

        self.run.log({**values, **{name: wandb.Image(str(path)) for name, path in pictures.items()}})

    def finish(self, failed: bool = False) -> None:
        """Close the run, so that the next job of a multirun opens its own."""
        if hasattr(self, "run"):
            self.run.finish(exit_code=int(failed))


def _opened(init: Callable[[], Any], patience: float = 90.0) -> Any:
    """Open a run, and wait while its id is in use: after a kill W&B's service holds it for a moment still."""
    end = time.monotonic() + patience
    while True:
        try:
            return init()
        except Exception as error:  # of a private class
            if "is in use" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.5)
