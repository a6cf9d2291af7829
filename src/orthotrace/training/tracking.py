"""Where scores go beside the run's folder. Only this file, and the one that syncs, import wandb."""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from orthotrace.config.folder_names import varied
from orthotrace.core.errors import UserError, checked
from orthotrace.core.files import write_text
from orthotrace.training.reachable import no_answer

if TYPE_CHECKING:
    from orthotrace.results.scores import Scores
    from orthotrace.training.progress import Progress

# What W&B takes of a name.
LONGEST = 128
# The id of a run, in its folder.
MARKER = Path("wandb", "run_id")
# What a name begins with.
UNTOLD = ("method", "seed")
# In the folder of what W&B keeps of an online run: not all of it was uploaded.
LEFT = "not_uploaded"
# The epochs of all tasks so far: what rows are drawn over.
EPOCHS = "trained_epochs"
# Seconds for which a server is waited for: for a run to be opened, for the end of the uploads.
INIT, FINISH = 20.0, 20.0


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

    def resumed(self, progress: Progress, scores: Scores | None) -> None:
        """A run goes on: what its checkpoint holds; the summary where all tasks have ended."""

    def figures(self, pictures: Mapping[str, Path], values: Mapping[str, float]) -> None:
        """Pictures by name, with numbers that belong to them."""

    def analysis(
        self, folder: Path, rows: Mapping[str, Sequence[Mapping[str, Any]]], runs: Sequence[tuple[str, Path]]
    ) -> None:
        """An analysis is written.

        Args:
            folder: of the analysis, with its RDMs.
            rows: tables by name, each row by its columns.
            runs: group and folder of each run that it is of.
        """

    def finish(self, failed: bool = False) -> None:
        """Nothing more will be reported."""


@checked
@dataclass(eq=False)
class WandbTracker(Tracker):
    """Weights & Biases: one run for each job, the same one when a job is continued.

    A server that does not answer is told within ANSWER seconds, or INIT more where it answers at first; one that dies
    later holds the end back for FINISH seconds at most. What was logged stays in the folder and can be synced.

    W&B's number of a row is its place in the history of the run: of the same epoch, or the same end of a task, it is
    always the same. So a row that is there is known, and each local copy of a continued run holds the history from its
    beginning: of a process that is killed W&B may lose what it logged in its last seconds.

    Args:
        project: of the runs.
        entity: user or team; None for the default of the account.
        mode: "online", or "offline" for a local copy that ``orthotrace-runs sync`` uploads later.
        unreachable: where the server does not answer: "offline" goes on with a local copy, "stop" stops.
        checkpoints: log the networks after each task as an artifact, at the end of a run.

    Raises:
        UserError: an unknown mode; online without a login; no answer, and unreachable is "stop".
    """

    project: Annotated[str, Field(min_length=1)] = "orthotrace"
    entity: str | None = None
    mode: Literal["online", "offline"] = "online"
    unreachable: Literal["offline", "stop"] = "offline"
    checkpoints: bool = False

    def start(
        self, folder: Path, job_type: str, group: str, name: str, tags: Sequence[str], config: Mapping[str, Any]
    ) -> None:
        """Open the run; its id stays in the folder, whoever starts it again."""
        import wandb

        self.folder, marker = folder, folder / MARKER
        if not marker.is_file():
            write_text(marker, secrets.token_hex(4))
        silence()
        options: dict[str, Any] = {
            "project": self.project,
            "entity": self.entity,
            "dir": folder,
            "id": marker.read_text().strip(),
            "group": group,
            "job_type": job_type,
            "name": name,
            "tags": [tag[:64] for tag in tags],
            "config": dict(config),
            "reinit": "finish_previous",
            "settings": settings(FINISH),
        }
        run: Any = self._online(options) if self.mode == "online" else None
        self.run: Any = run or opened(lambda: wandb.init(mode="offline", **options))
        if self.run.id != options["id"]:
            # Within a sweep of W&B its agent has given it.
            write_text(marker, self.run.id)
        # The place of the next row.
        self.next: int = self.run.starting_step
        self.drawn: set[str] = {"task", EPOCHS}
        self.run.define_metric("task")
        self.run.define_metric(EPOCHS)
        self.run.define_metric("cl/*", step_metric="task")
        stream = config.get("stream", {})
        # A stream of the user's own may have other keys.
        self.scenario: dict[str, Any] = {"scenario": "domain"} | {
            key: stream[key] for key in ("scenario", "repeats", "blur") if key in stream
        }

    def _online(self, options: Mapping[str, Any]) -> Any:
        """The run online; None where the server does not answer and the user goes on without it."""
        import wandb

        server = wandb.setup().settings.base_url
        reason = no_answer(server)
        if reason is None:
            try:
                return opened(lambda: wandb.init(mode="online", resume="allow", **options))
            except wandb.Error as error:
                reason = reason_of(error, server, ", or take logger=wandb_offline", "logger")
            # The service holds the id of the run that it could not open.
            wandb.teardown()
        line = f"W&B at {server} does not answer: {reason}"
        if self.unreachable == "stop":
            raise UserError(f"{line}; take logger=wandb_offline, or logger.unreachable=offline", "logger")
        warnings.warn(f"{line}; logging goes on offline", stacklevel=2)
        return None

    def epoch(self, row: Mapping[str, Any], number: int) -> None:
        """Log an epoch, where it is not there yet."""
        for name in row.keys() - self.drawn:
            self.run.define_metric(name, step_metric=EPOCHS)
        self.drawn |= row.keys()
        self._log({**row, EPOCHS: number}, number + row.get("task", 1) - 2)

    def _log(self, values: Mapping[str, Any], place: int) -> None:
        """Log a row, where it is not there yet."""
        if place >= self.next:
            self.run.log(dict(values), step=place)
            self.next = place + 1

    def resumed(self, progress: Progress, scores: Scores | None) -> None:
        """Log what is not there yet."""
        for number in range(1, progress.tasks + 1):
            for place, row in enumerate(progress.epochs, start=1):
                if row["task"] == number:
                    self.epoch(row, place)
            if number <= progress.task:
                self.task(progress.after(number), scores if number == progress.tasks else None)

    def task(self, progress: Progress, scores: Scores | None) -> None:
        """Log the accuracies on all tasks, leak and capacity of each layer, and the matrix as a picture."""
        import matplotlib.pyplot as plt
        import numpy as np
        import wandb

        from orthotrace.results.heat_map import draw_matrix, untaught
        from orthotrace.training.progress import GAUGE

        place = len(progress.epochs) + progress.task - 1
        if place < self.next:
            return
        seen = [value for value in progress.accuracy[-1][: progress.task] if value is not None]
        score = progress.score
        values: dict[str, Any] = {EPOCHS: len(progress.epochs), "task": progress.task}
        values |= {f"cl/{score}": sum(seen) / len(seen)}
        values |= {
            f"cl/{score}_task{j}": value for j, value in enumerate(progress.accuracy[-1], start=1) if value is not None
        }
        if progress.leak[-1] is not None:
            values["cl/leak"] = progress.leak[-1]
        for name, entry in progress.capacity.items():
            values[f"cl/free_{name}"] = entry["features"] - entry["rank"][-1]
            values |= {f"cl/{key}_{name}": entry[key][-1] for key in GAUGE if entry[key][-1] is not None}
        for name, entry in progress.activity.items():
            values |= {f"cl/{key}_{name}": value[-1] for key, value in entry.items()}
        if scores is not None:
            summary = {f"cl/{name}": value for name, value in scores.as_dict().items() if value is not None}
            if progress.validation:
                summary["cl/val_acc"] = statistics.fmean(progress.validation)
            values |= summary
            figure, axes = plt.subplots(figsize=(3, 3), layout="constrained")
            draw_matrix(axes, np.array(progress.accuracy, dtype=np.float64), untaught(progress.tasks, **self.scenario))
            values[f"cl/{score}_matrix"] = wandb.Image(figure)
            plt.close(figure)
            self.run.summary.update(summary)
        self._log(values, place)

    def figures(self, pictures: Mapping[str, Path], values: Mapping[str, float]) -> None:
        """Log pictures and numbers at once."""
        import wandb

        self.run.log({**values, **{name: wandb.Image(str(path)) for name, path in pictures.items()}})

    def analysis(
        self, folder: Path, rows: Mapping[str, Sequence[Mapping[str, Any]]], runs: Sequence[tuple[str, Path]]
    ) -> None:
        """Log tables, the RDMs as an artifact, and the runs by their ids and addresses in this project."""
        import wandb

        found = []
        for group, path in runs:
            marker = path / MARKER
            name = marker.read_text().strip() if marker.is_file() else None
            # Offline there is no address yet.
            place = str(self.run.url).rpartition("/")[0] if self.run.url and name else None
            address = f"{place}/{name}" if place else None
            found.append({"group": group, "run": path.name, "id": name, "address": address})
        tables = {name: of for name, of in {**rows, "runs": found}.items() if of}
        self.run.log({f"tables/{name}": _table(of) for name, of in tables.items()})
        self.run.config.update({"runs_analysed": [one["id"] for one in found if one["id"]]})
        about = {"runs": {one["run"]: one["id"] for one in found}}
        artifact = wandb.Artifact(f"rdms-{self.run.id}", "rdms", metadata=about)
        artifact.add_dir(str(folder / "rdms"))
        for name in ("results.json", "stimuli.csv"):
            artifact.add_file(str(folder / name))
        log_artifact(self.run, artifact)

    def finish(self, failed: bool = False) -> None:
        """Close the run, so that the next job of a multirun opens its own; say what is still to be uploaded."""
        if not hasattr(self, "run"):
            return
        if self.checkpoints and not failed:
            log_checkpoints(self.run, self.folder)
        folder, online = Path(self.run.settings.sync_dir), self.run.settings.mode == "online"
        try:
            self.run.finish(exit_code=int(failed))
            kept = not online or gave_up(folder)
        except TimeoutError:
            kept = True
        if kept and online:
            write_text(folder / LEFT, "")
        if kept and self.mode == "online":
            print(f"W&B: not all was uploaded; do it later by: orthotrace-runs sync {self.folder}", flush=True)


def log_artifact(run: Any, artifact: Any) -> None:
    """Log an artifact; of a server that has died it is told, since the files stay in their folder."""
    import wandb

    try:
        # It asks the server first.
        run.log_artifact(artifact)
    except wandb.Error as error:
        print(f"W&B: the artifact {artifact.name} is not logged: {str(error).splitlines()[0]}", flush=True)


def log_checkpoints(run: Any, folder: Path) -> None:
    """Log the networks after each task, of a run that has some."""
    import wandb

    networks = sorted((folder / "checkpoints").glob("task*.ckpt"))
    if networks:
        artifact = wandb.Artifact(f"checkpoints-{run.id}", "model")
        for path in networks:
            artifact.add_file(str(path))
        log_artifact(run, artifact)


def _table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Rows as a table of W&B: lists in a cell as text."""
    import wandb

    columns: list[Any] = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[row.get(key) for key in columns] for row in rows]
    return wandb.Table(
        columns,
        [[json.dumps(one) if isinstance(one, (list, tuple, dict)) else one for one in row] for row in cells],
        allow_mixed_types=True,
    )


def title(method: str, seed: int, overrides: Sequence[str], swept: Sequence[str] = ()) -> str:
    """The name of a run: its method and seed, and what else differs in its multirun.

    Example:
        >>> title("gpm", 0, ["method=gpm", "seed=0", "method.rows=4", "+model.width=2"], ["seed", "method.rows"])
        'gpm seed 0 method.rows=4'
    """
    others = varied(overrides, [key for key in swept if key not in UNTOLD])
    return " ".join([f"{method} seed {seed}", *others])[:LONGEST]


def reason_of(error: Exception, server: str, otherwise: str, place: str | None = None) -> str:
    """Why a run could not be opened, where the server is at fault.

    Args:
        error: of W&B.
        server: its address.
        otherwise: what a user may do who does not log in.
        place: the key at fault.

    Raises:
        UserError: the user is, or the login.
    """
    text = str(error)
    status = re.search(r"(?:error|HTTP) (\d{3})\b", text)
    if status and int(status[1]) >= 500:
        return f"HTTP {status[1]}"
    if "Timed out" in text or "dial tcp" in text:
        return f"no answer within {INIT:.0f} s when the run was opened"
    reason = text.split("\n")[0].rstrip(".")
    if status and int(status[1]) in (401, 403):
        reason = f"W&B at {server} refuses the login (HTTP {status[1]})"
    raise UserError(f"{reason}; log in with 'wandb login'{otherwise}", place) from error


def gave_up(folder: Path) -> bool:
    """Whether W&B has stopped to upload a run, which it tells its own log alone."""
    log = folder / "logs" / "debug-internal.log"
    return log.is_file() and "filestream: fatal error" in log.read_text(errors="replace")


def silence() -> None:
    """No lines of W&B's own, and none of its measures of itself: they hold the end back where the server is dead."""
    logging.getLogger("wandb").setLevel(logging.ERROR)
    os.environ.setdefault("WANDB_SILENT", "true")
    # Not in every version.
    with suppress(ImportError):
        from wandb.analytics.opentelemetry.opentelemetry_proxy import disable

        disable()


def settings(finish: float) -> Any:
    """How a run is kept: nothing of the console, no code; its end waits so many seconds for the uploads."""
    import wandb

    return wandb.Settings(
        console="off", save_code=False, init_timeout=INIT, finish_timeout=finish, finish_timeout_raises=True
    )


def opened(init: Callable[[], Any], patience: float = 90.0) -> Any:
    """Open a run, and wait while its id is in use: after a kill W&B's service holds it for a moment still."""
    end = time.monotonic() + patience
    while True:
        try:
            return init()
        except Exception as error:  # of a private class
            if "is in use" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.5)
