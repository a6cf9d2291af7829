"""Signals, kills and faults of a W&B server at generated moments: for the tests, and many of them for make chaos."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conftest import surroundings
from wandb_server import WandbServer

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


@dataclass(frozen=True)
class Moment:
    """A signal, and the seconds after the start when it is sent."""

    signal: signal.Signals
    after: float


@dataclass(frozen=True)
class Ended:
    """How a command ended after a signal."""

    code: int
    out: str
    err: str
    seconds: float
    left: tuple[int, ...]


def interrupted(arguments: Sequence[str], folder: Path, moment: Moment, whole_group: bool = False) -> Ended:
    """A command of the installed package in a process of its own, to which a signal is sent.

    Args:
        arguments: program and its arguments.
        folder: where it is called.
        moment: of the signal.
        whole_group: to all its processes, as a terminal does.

    Returns:
        Its end; left has the processes of it that are there still.
    """
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name(arguments[0])), *arguments[1:]],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=surroundings(),
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    time.sleep(moment.after)
    start = time.monotonic()
    (os.killpg if whole_group else os.kill)(process.pid, moment.signal)
    out, err = process.communicate(timeout=120)
    seconds = time.monotonic() - start
    # Helpers, such as loky's tracker of resources, end a moment later.
    for _ in range(50):
        if not (left := group(process.pid)):
            break
        time.sleep(0.1)
    return Ended(process.returncode, out, err, seconds, left)


def group(leader: int) -> tuple[int, ...]:
    """The processes of a session that are alive."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(entry.parent.name))
    return tuple(found)


def told(ended: Ended, moment: Moment) -> bool:
    """Whether the end is as it is promised."""
    line = ended.err.startswith("interrupted") and ended.err.endswith("the same command continues\n")
    return ended.code == CODES[moment.signal] and line and ended.err.count("\n") == 1 and not ended.left


FAULTS = ("refuses", "silent", 500, 502, 401, 404, "slow")


def server_faults(seed: int, number: int, requests: int = 12) -> list[WandbServer]:
    """Servers that fail in a random way after a random number of requests, some of them in one kind of request."""
    draws = random.Random(seed)
    kinds = ("", "", "graphql", "Upsert", "file_stream", "upload")
    return [
        WandbServer(draws.choice(FAULTS), draws.randrange(requests) * draws.randrange(2), draws.choice(kinds))
        for _ in range(number)
    ]
