"""Where scores go beside the run's folder. The only file that imports wandb."""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import ssl
import threading
import time
import urllib.error
import urllib.request
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

if TYPE_CHECKING:
    from orthotrace.results.scores import Scores
    from orthotrace.training.progress import Progress

# What W&B takes of a name.
LONGEST = 128
# The id of a run, in its folder.
MARKER = Path("wandb", "run_id")
# What a name begins with.
UNTOLD = ("method", "seed")
# Seconds for which a server is waited for: for an answer, for a run to be opened, for the end of the uploads.
ANSWER, INIT, FINISH = 5.0, 20.0, 20.0
SILENT = f"no answer within {ANSWER:.0f} s"


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

    Args:
        project: of the runs.
        entity: user or team; None for the default of the account.
        mode: "online", or "offline" for a local copy that ``wandb sync`` uploads later.
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
        """Open the run; its id stays in the folder."""
        import wandb

        self.folder, marker = folder, folder / MARKER
        if not marker.is_file():
            write_text(marker, secrets.token_hex(4))
        logging.getLogger("wandb").setLevel(logging.ERROR)
        os.environ.setdefault("WANDB_SILENT", "true")
        _without_telemetry()
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
            "settings": wandb.Settings(
                console="off",
                save_code=False,
                init_timeout=INIT,
                finish_timeout=FINISH,
                finish_timeout_raises=True,
            ),
        }
        run: Any = self._online(options) if self.mode == "online" else None
        self.run: Any = run or _opened(lambda: wandb.init(mode="offline", **options))
        self.run.define_metric("task")
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
                return _opened(lambda: wandb.init(mode="online", resume="allow", **options))
            except wandb.Error as error:
                reason = _reason(error, server)
            # The service holds the id of the run that it could not open.
            wandb.teardown()
        line = f"W&B at {server} does not answer: {reason}"
        if self.unreachable == "stop":
            raise UserError(f"{line}; take logger=wandb_offline, or logger.unreachable=offline", "logger")
        warnings.warn(f"{line}; logging goes on offline", stacklevel=2)
        return None

    def epoch(self, row: Mapping[str, Any], number: int) -> None:
        """Log an epoch; what a continued run reports again replaces nothing."""
        self.run.log(dict(row), step=number)

    def task(self, progress: Progress, scores: Scores | None) -> None:
        """Log the accuracies on all tasks, leak and capacity of each layer, and the matrix as a picture."""
        import matplotlib.pyplot as plt
        import wandb

        from orthotrace.results.heat_map import draw_matrix, untaught
        from orthotrace.training.progress import GAUGE

        seen = progress.accuracy[-1][: progress.task]
        score = progress.score
        values: dict[str, Any] = {"task": progress.task, f"cl/{score}": sum(seen) / len(seen)}
        values |= {f"cl/{score}_task{j}": value for j, value in enumerate(progress.accuracy[-1], start=1)}
        if progress.leak[-1] is not None:
            values["cl/leak"] = progress.leak[-1]
        for name, entry in progress.capacity.items():
            values[f"cl/free_{name}"] = entry["features"] - entry["rank"][-1]
            values |= {f"cl/{key}_{name}": entry[key][-1] for key in GAUGE if entry[key][-1] is not None}
        for name, entry in progress.activity.items():
            values |= {f"cl/{key}_{name}": value[-1] for key, value in entry.items()}
        if scores is not None:
            summary = {f"cl/{name}": value for name, value in scores.as_dict().items() if value is not None}
            values |= summary
            figure, axes = plt.subplots(figsize=(3, 3), layout="constrained")
            draw_matrix(axes, progress.accuracy, untaught(progress.tasks, **self.scenario))
            values[f"cl/{score}_matrix"] = wandb.Image(figure)
            plt.close(figure)
            self.run.summary.update(summary)
        self.run.log(values, step=len(progress.epochs))

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
        self._log_artifact(artifact)

    def _log_artifact(self, artifact: Any) -> None:
        """Log an artifact; of a server that has died it is told, since the files stay in their folder."""
        import wandb

        try:
            # It asks the server first.
            self.run.log_artifact(artifact)
        except wandb.Error as error:
            print(f"W&B: the artifact {artifact.name} is not logged: {str(error).splitlines()[0]}", flush=True)

    def _log_checkpoints(self) -> None:
        """The networks after each task, of a run that has some."""
        import wandb

        networks = sorted((self.folder / "checkpoints").glob("task*.ckpt"))
        if networks:
            artifact = wandb.Artifact(f"checkpoints-{self.run.id}", "model")
            for path in networks:
                artifact.add_file(str(path))
            self._log_artifact(artifact)

    def finish(self, failed: bool = False) -> None:
        """Close the run, so that the next job of a multirun opens its own; say what is still to be uploaded."""
        if not hasattr(self, "run"):
            return
        if self.checkpoints and not failed:
            self._log_checkpoints()
        folder, online = Path(self.run.settings.sync_dir), self.run.settings.mode == "online"
        try:
            self.run.finish(exit_code=int(failed))
            kept = not online or _gave_up(folder)
        except TimeoutError:
            kept = True
        if kept and self.mode == "online":
            # What began online is skipped without the option.
            option = "--include-online " if online else ""
            print(f"W&B: not all was uploaded; do it later by: wandb sync {option}{folder}", flush=True)


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


def no_answer(server: str) -> str | None:
    """Why a server does not answer a question within ANSWER seconds; None where it does.

    Example:
        >>> no_answer("http://127.0.0.1:1")
        'connection refused'
    """
    found: list[str | None] = []

    def ask() -> None:
        question = json.dumps({"query": "query Viewer { viewer { id } }"}).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "orthotrace"}
        request = urllib.request.Request(f"{server.rstrip('/')}/graphql", question, headers)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER):
                found.append(None)
        except urllib.error.HTTPError as error:
            # What else than 5xx is wrong, such as the login, W&B tells when the run is opened.
            found.append(f"HTTP {error.code}" if error.code >= 500 else None)
        except Exception as error:
            cause = getattr(error, "reason", error)
            # W&B has certificates of its own.
            own = isinstance(cause, ssl.SSLError)
            silent = isinstance(cause, TimeoutError)
            text = (
                SILENT if silent else (getattr(cause, "strerror", None) or str(cause) or type(cause).__name__).lower()
            )
            found.append(None if own else text)

    # In a thread: names may take long to be looked up, which no timeout of a connection counts.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER)
    return found[0] if found else SILENT


def _reason(error: Exception, server: str) -> str:
    """Why a run could not be opened, where the server is at fault.

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
    raise UserError(f"{reason}; log in with 'wandb login', or take logger=wandb_offline", "logger") from error


def _gave_up(folder: Path) -> bool:
    """Whether W&B has stopped to upload a run, which it tells its own log alone."""
    log = folder / "logs" / "debug-internal.log"
    return log.is_file() and "filestream: fatal error" in log.read_text(errors="replace")


def _without_telemetry() -> None:
    """W&B's measures of itself, which hold the end of a process back for ten seconds where the server is dead."""
    # Not in every version.
    with suppress(ImportError):
        from wandb.analytics.opentelemetry.opentelemetry_proxy import disable

        disable()


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
