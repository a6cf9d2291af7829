"""A command in a forked process: a module that the process can import, as it cannot a test."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

MAIN = {
    "orthotrace-runs": "orthotrace.cli.runs",
    "orthotrace-train": "orthotrace.cli.train",
    "orthotrace-analyze": "orthotrace.analysis.cli",
}


def run(arguments: Sequence[str], cwd: Path, out: Path, err: Path, environment: Mapping[str, str]) -> None:
    """Run the main function of a command as its script would."""
    os.chdir(cwd)
    for stream, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = list(arguments)
    # What a process of a shell has: a test may run where interrupts are ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        importlib.import_module(MAIN[Path(arguments[0]).name]).main()
    finally:
        # A forked process leaves without it.
        atexit._run_exitfuncs()


def finished(folder: Path, commands: Mapping[str, Sequence[str]]) -> None:
    """Go on with runs by their names in a folder, in a process that has trained nothing yet."""
    warnings.simplefilter("ignore")
    # Imports what a command need not.
    from composed import built

    from orthotrace.results.run_folder import Run

    # Errors are told by the process.
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        for name, overrides in commands.items():
            built(Run(folder / name), *overrides).run()
