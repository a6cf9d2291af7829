"""Work in pieces that a free core takes: no piece waits for another, and none depends on how many cores there are."""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

from orthotrace.analysis.rdm import memory

# What a container may use: microseconds of a period, or "max".
QUOTA = Path("/sys/fs/cgroup/cpu.max")
Found = TypeVar("Found")


def ordered(work: Callable[[int], Found], count: int, size: int = 0, what: str = "") -> Generator[Found, None, None]:
    """The results of so many pieces of work in their order, several computed at a time.

    Each piece is computed by one thread, so its result is the same to the bit however many there are.

    Args:
        work: called with the number of a piece, from 0; it should let go of Python's lock where it takes long, as numpy
            and torch do.
        count: of pieces.
        size: bytes that one takes; fewer are computed at a time where the memory has a bound.
        what: a piece is, for the error where not even one fits.

    Example:
        >>> list(ordered(lambda number: number**2, 3))
        [0, 1, 4]
    """
    at_once = memory.at_once(min(count, threads()), size, what)
    with _single():
        if at_once <= 1:
            yield from map(work, range(count))
            return
        with ThreadPoolExecutor(at_once, initializer=_alone) as pool:
            waiting: deque[Future[Found]] = deque()
            try:
                for number in range(count):
                    waiting.append(pool.submit(work, number))
                    # One more than are computed: results that nobody has taken yet need memory.
                    if len(waiting) > at_once:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for one in waiting:
                    one.cancel()


def each(work: Callable[[int], object], count: int, size: int = 0, what: str = "") -> None:
    """Do so many pieces of work, each of which writes to a place of its own, as ordered does them.

    Example:
        >>> found = [0, 0, 0]
        >>> each(lambda number: found.__setitem__(number, number**2), 3)
        >>> found
        [0, 1, 4]
    """
    for _ in ordered(work, count, size, what):
        pass


def threads() -> int:
    """How many pieces are done at a time: torch's threads, no more than the processors that this process may use.

    Example:
        >>> threads() >= 1
        True
    """
    import torch

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(torch.get_num_threads(), allowed, quota()))


def quota(file: Path = QUOTA) -> int:
    """Processors that a container grants, rounded up; more than any machine has where it does not say.

    Example:
        >>> quota(Path("/nowhere")) > 1000
        True
    """
    try:
        most, period = file.read_text().split()
        return math.ceil(int(most) / int(period))
    except (OSError, ValueError):
        return 1 << 20


@contextmanager
def _single() -> Iterator[None]:
    """Within the block products have one thread each, in this thread and in those that begin.

    Blocks may be open at once, and end in any order: the last one gives back what the first one found.
    """
    import torch

    if not _OPEN.here:
        _OPEN.before = torch.get_num_threads()
    _OPEN.here += 1
    torch.set_num_threads(1)
    with _LOCK:
        _LIMITS.append(_LIMITS[0] if _LIMITS else _libraries().limit(limits=1, user_api="blas"))
    try:
        yield
    finally:
        with _LOCK:
            limit = _LIMITS.pop()
            if not _LIMITS:
                limit.restore_original_limits()
        _OPEN.here -= 1
        if not _OPEN.here:
            torch.set_num_threads(_OPEN.before)


class _Open(threading.local):
    """The blocks that are open in a thread, and its threads of torch before the first of them."""

    here = 0
    before = 1


_OPEN, _LOCK = _Open(), threading.Lock()
# Of the libraries, which all threads share: one entry for each block that is open.
_LIMITS: list[Any] = []


def _alone() -> None:
    import torch

    torch.set_num_threads(1)


@cache
def _libraries() -> ThreadpoolController:
    """Those loaded by now; to look for them takes a millisecond."""
    import scipy.linalg  # noqa: F401 (has a library of its own)

    return ThreadpoolController()
