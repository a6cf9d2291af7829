"""Signs of life of a process on another machine, where the file system's own locks may not reach.

A lock of NFS reaches other machines where it is mounted so, and a folder of a cluster may have none at all. So who
holds a file moves its time every BEAT seconds. Others look whether it moves: no clock is compared with another one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

# Seconds between two signs, and for which another process looks for one.
BEAT, PATIENCE = 5.0, 13.0
# Seconds between now and the last sign of a process that is taken to live, where nobody waits for the next one.
RECENT = 60.0

_started_in: int | None = None


def keep_beating(held: Callable[[], Iterable[int]]) -> None:
    """From now on this process moves the times of files that it holds.

    Args:
        held: their descriptors, as they are at each time.
    """
    global _started_in
    # A forked process has no thread of its parent's.
    if _started_in == os.getpid():
        return
    _started_in = os.getpid()

    def beat() -> None:
        while True:
            time.sleep(BEAT)
            for file in held():
                # It may be closed by now, or its disk be full.
                with suppress(OSError):
                    os.utime(file)

    threading.Thread(target=beat, daemon=True, name="signs of life").start()


def moves(path: Path) -> bool:
    """Whether the time of a file moves within PATIENCE seconds; not where it is gone."""
    first, deadline = _time_of(path), time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        time.sleep(min(0.5, PATIENCE / 10))
        if (now := _time_of(path)) is None or first is None:
            return False
        if now != first:
            return True
    return False


def is_recent(path: Path) -> bool:
    """Whether the time of a file is near the one of now."""
    found = _time_of(path)
    return found is not None and abs(time.time() - found / 1e9) < RECENT


def _time_of(path: Path) -> int | None:
    # To open it asks the server of NFS, which stat alone does not for up to a minute.
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return None
