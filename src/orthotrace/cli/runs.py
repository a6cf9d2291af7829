"""orthotrace-runs: the runs below a folder, what differs between them, and how far they are; their copies for W&B."""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from orthotrace.cli.errors import fail, quieten
from orthotrace.core.errors import UserError
from orthotrace.results.columns import SHORT
from orthotrace.results.states import RunState, differing, states_below
from orthotrace.results.tables import number

ABOUT = """orthotrace-runs: list the runs below a folder: what differs between them, and how far they are.

  orthotrace-runs FOLDER [--csv | --json]
  orthotrace-runs sync FOLDER

Keys in which the runs differ come first. ACC and BWT are those of the tasks so far. Nothing is written:
it can be called while a sweep runs.

sync uploads runs that were logged offline to Weights & Biases: what a run logged in all its starts becomes one
history. What is there already is not sent again; interrupted, the same command goes on.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """On one line, as all commands do."""
        raise UserError(f"{message}; write orthotrace-runs FOLDER [--csv | --json]")


class _SyncParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """On one line, as all commands do."""
        raise UserError(f"{message}; write orthotrace-runs sync FOLDER")


def main() -> None:
    """The command."""
    quieten()
    try:
        words = sys.argv[1:]
        # Alone it is a folder of that name.
        if words[:1] == ["sync"] and (len(words) > 1 or not Path("sync").is_dir()):
            sys.exit(1 if _sync(words[1:]) else 0)
        _list(words)
    except UserError as error:
        fail(str(error))
    except OSError as error:
        fail(f"cannot read {error.filename or 'the folder'}: {(error.strerror or str(error)).lower()}")


def _sync(words: Sequence[str]) -> int:
    parser = _SyncParser(add_help=False)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--help", "-h", action="store_true")
    given = parser.parse_args(words)
    if given.help:
        print(ABOUT, end="")
        return 0
    if given.folder is None:
        parser.error("name a folder")
    # Imports W&B.
    from orthotrace.training.sync import sync

    return sync(Path(given.folder))


def _list(words: Sequence[str]) -> None:
    parser = _Parser(add_help=False)
    parser.add_argument("folder", nargs="?")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true")
    form.add_argument("--json", action="store_true")
    parser.add_argument("--help", "-h", action="store_true")
    given = parser.parse_args(words)
    if given.help:
        print(ABOUT, end="")
        return
    if given.folder is None:
        parser.error("name a folder")
    folder = Path(given.folder)
    states = states_below(folder)
    keys = differing(states)
    if given.json:
        print(json.dumps([as_json(one, keys, folder) for one in states], indent=1))
    elif given.csv:
        write_rows(states, keys, folder)
    else:
        print_table(states, keys, folder)


def as_json(one: RunState, keys: Sequence[str], folder: Path) -> dict[str, Any]:
    """What is known of a run, as plain values."""
    return {
        "run": os.path.relpath(one.run.folder, folder),
        "state": one.state,
        "done": one.done,
        "tasks": one.tasks,
        "acc": one.acc,
        "bwt": one.bwt,
        "reason": one.reason,
        "differs": {key: one.values[key] for key in keys if key in one.values},
    }


def write_rows(states: Sequence[RunState], keys: Sequence[str], folder: Path) -> None:
    """Print CSV: first what differs."""
    rows = [as_json(one, keys, folder) for one in states]
    names = [name for name in rows[0] if name != "differs"]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*keys, *names])
    for row in rows:
        writer.writerow([*(_text(row["differs"].get(key)) for key in keys), *(row[name] for name in names)])


def print_table(states: Sequence[RunState], keys: Sequence[str], folder: Path) -> None:
    """Print a table: first what differs; then a line for each reason."""
    from rich.console import Console
    from rich.table import Table

    # A pipe is no reason to fold a table.
    console = Console(width=None if Console().is_terminal else 10_000, highlight=False)
    # Of several kinds each is told.
    head = " or ".join(dict.fromkeys(SHORT[one.score] for one in states if one.acc is not None)) or SHORT["accuracy"]
    table = Table(*keys, "state", "task", head, "BWT", "folder", title=f"{len(states)} runs in {folder}")
    for one in states:
        scores = ["" if value is None else number(value) for value in (one.acc, one.bwt)]
        task = "" if one.tasks is None else f"{one.done}/{one.tasks}"
        values = [_text(one.values.get(key)) for key in keys]
        table.add_row(*values, one.state, task, *scores, os.path.relpath(one.run.folder, folder))
    console.print(table)
    for one in states:
        if one.reason:
            console.print(f"{one.state}: {one.run.folder}: {one.reason}", markup=False, soft_wrap=True)


def _text(value: Any) -> str:
    return "" if value is None else str(value)
