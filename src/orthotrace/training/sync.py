"""Runs that were logged offline go to W&B: each as one run, in order and once, whatever was interrupted."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orthotrace.core.errors import UserError, one_line
from orthotrace.core.folders import held
from orthotrace.training.reachable import no_answer
from orthotrace.training.tracking import LEFT, gave_up, log_checkpoints, opened, reason_of, settings, silence

# Numbers that JSON does not have, as the copies write them.
NOT_FINITE = ("NaN", "Infinity", "-Infinity", "+Infinity")
# Seconds for which the end of the uploads of a run is waited for.
FINISH = 120.0


@dataclass(frozen=True)
class Copies:
    """What W&B kept of one run on this disk.

    Attributes:
        folder: of the run or the analysis.
        segments: folders, one for each time that the run was started, the first one first.
    """

    folder: Path
    segments: Sequence[Path]

    @property
    def left(self) -> list[Path]:
        """The segments that are not marked as synced, by W&B's own mark."""
        return [one for one in self.segments if not mark_of(one).exists()]


@dataclass
class Kept:
    """What segments hold, put together.

    Attributes:
        about: project, name, group, tags, configuration, as they were given last.
        metrics: what is drawn over what: arguments of define_metric.
        rows: by their place in the history; of a row that several segments hold, that of the last one.
        artifacts: whether any was logged.
        code: exit code of the last segment; 1 where it was killed.
    """

    about: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, str | None] = field(default_factory=dict)
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    artifacts: bool = False
    code: int = 1


def sync(folder: Path) -> int:
    """Sync all runs below a folder that were logged offline, with a line for each.

    Returns:
        How many are not whole in W&B: they are trained, nothing was kept of them, or the server died.

    Raises:
        UserError: there are none; the server does not answer; no login.
    """
    found = list(copies_below(folder))
    if not found:
        raise UserError(f"{folder} holds no runs that were logged offline: train with logger=wandb_offline")
    waiting = [one for one in found if one.left]
    if waiting:
        _check_server()
    whole = 0
    for one in waiting:
        try:
            with held(one.folder):
                said, done = _sync_run(one)
        except UserError as error:
            if "log in" in str(error):
                raise
            said, done = str(error), False
        whole += done
        print(f"{'synced' if done else 'not synced'}: {one.folder}: {said}", flush=True)
    print(f"{whole} runs synced, {len(found) - len(waiting)} were already", flush=True)
    return len(waiting) - whole


def copies_below(folder: Path) -> Iterator[Copies]:
    """Runs below a folder with something that was not uploaded while they ran; folders that are hidden left out."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    segments: dict[tuple[Path, str], list[Path]] = {}
    for path in sorted([*folder.rglob("offline-run-*"), *folder.rglob(f"run-*/{LEFT}")], key=_start):
        segment = path.parent if path.name == LEFT else path
        hidden = any(part.startswith(".") for part in segment.relative_to(folder).parts)
        if segment.is_dir() and not hidden:
            # A name does not end with the id where two were started within a second.
            of = mark_of(segment).name
            segments.setdefault((segment.absolute().parents[1], of), []).append(segment)
    for (run, _), of in sorted(segments.items()):
        yield Copies(run if not run.is_relative_to(Path.cwd()) else run.relative_to(Path.cwd()), of)


def _start(path: Path) -> str:
    """When a segment was started, as its name says."""
    return (path.parent if path.name == LEFT else path).name.removeprefix("offline-")


def mark_of(segment: Path) -> Path:
    """The file by which W&B marks a segment as synced."""
    name = next((file.name for file in segment.glob("run-*.wandb")), "run.wandb")
    return segment / f"{name}.synced"


def read(segments: Sequence[Path]) -> Kept:
    """Read segments by W&B's own reader; of one that was killed, as far as it goes."""
    kept = Kept()
    for segment in segments:
        kept.code = 1
        for record in _records(segment):
            kind = record["type"]
            content: Mapping[str, Any] = record.get(kind) or {}
            if kind == "run":
                kept.about |= content
            elif kind == "metric":
                kept.metrics[content.get("name") or content["glob_name"]] = content.get("step_metric")
            elif kind == "history":
                place = content["item"].get("_step", content.get("step", {}).get("num"))
                kept.rows[int(place)] = _values(content["item"], segment)
            elif kind == "exit":
                kept.code = int(content.get("exit_code", 0))
            kept.artifacts |= "artifact" in kind
    return kept


def _records(segment: Path) -> Iterator[dict[str, Any]]:
    words = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(segment)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return


def _values(item: Mapping[str, Any], segment: Path) -> dict[str, Any]:
    """A row as it was logged: keys of pictures are flat in a copy."""
    import wandb

    pictures = {key.removesuffix("._type") for key, value in item.items() if value == "image-file"}
    found: dict[str, Any] = {
        key: float(value) if value in NOT_FINITE else value
        for key, value in item.items()
        if key != "_step" and key.rpartition(".")[0] not in pictures
    }
    for name in pictures:
        path = segment / "files" / item[f"{name}.path"]
        if path.is_file():
            found[name] = wandb.Image(str(path))
    return found


def _check_server() -> None:
    """Silence W&B, and ask its server.

    Raises:
        UserError: no answer.
    """
    import wandb

    silence()
    server = wandb.setup().settings.base_url
    if reason := no_answer(server):
        raise UserError(f"W&B at {server} does not answer: {reason}; nothing was synced")


def _sync_run(copies: Copies) -> tuple[str, bool]:
    """Sync one run; what became of it, and whether it is whole."""
    kept = read(copies.segments)
    if not kept.about:
        return "nothing was kept of it, since it was killed; the command that started it continues it", False
    number = len(copies.segments)
    of = f"{number} segment{'s' if number > 1 else ''}"
    if kept.about.get("job_type") != "train":
        # Not continued, but made anew: the last one is what counts. It has tables and artifacts.
        words = [sys.executable, "-m", "wandb", "sync", "--include-online", str(copies.segments[-1])]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode or not mark_of(copies.segments[-1]).exists():
            return one_line(RuntimeError(done.stderr or done.stdout or "wandb sync failed")), False
        said = "an analysis"
    else:
        sent = _upload(copies, kept)
        if sent is None:
            return "the server stopped to answer; the same command goes on", False
        said = f"{sent} of {len(kept.rows)} rows sent, the others were there; {of}"
    for segment in copies.segments:
        mark_of(segment).touch()
    return said, True


def _upload(copies: Copies, kept: Kept) -> int | None:
    """Log to the run in W&B what is not there yet; the number of rows, or None where the server died."""
    import wandb

    about = kept.about
    config = {key: value for key, value in about.get("config", {}).get("update", {}).items() if key != "_wandb"}
    # It is in the run's folder already.
    with tempfile.TemporaryDirectory() as place:
        try:
            run: Any = opened(
                lambda: wandb.init(
                    mode="online",
                    resume="allow",
                    dir=place,
                    project=about.get("project"),
                    entity=about.get("entity"),
                    id=about["run_id"],
                    group=about.get("run_group"),
                    job_type=about.get("job_type"),
                    name=about.get("display_name"),
                    tags=about.get("tags"),
                    config=config,
                    reinit="finish_previous",
                    settings=settings(FINISH),
                )
            )
        except wandb.Error as error:
            server = wandb.setup().settings.base_url
            raise UserError(f"W&B does not open the run: {reason_of(error, server, '')}") from error
        for name, over in kept.metrics.items():
            run.define_metric(name, step_metric=over)
        # Its number is the place of a row: what an earlier sync, or the run itself, has sent is known.
        rows = [(step, row) for step, row in sorted(kept.rows.items()) if step >= run.starting_step]
        for step, row in rows:
            run.log(row, step=step)
        if kept.artifacts:
            log_checkpoints(run, copies.folder)
        local = Path(run.settings.sync_dir)
        try:
            run.finish(exit_code=kept.code)
        except TimeoutError:
            return None
        return None if gave_up(local) else len(rows)
