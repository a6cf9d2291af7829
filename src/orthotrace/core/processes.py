"""Processes that belong together end together."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NoReturn

# Seconds between two looks at whether the parent is there.
INTERVAL = 0.2
# The variable of the environment that holds the first of several processes, which starts the others.
FIRST = "ORTHOTRACE_FIRST"


def leave(code: int, line: str | None = None) -> NoReturn:
    """End this process at once, with a line: files are written whole, so that nothing is lost."""
    if line is not None:
        # Not by print: the main thread may be within one. A progress bar has hidden the cursor.
        shown = "\x1b[?25h" if os.isatty(2) else ""
        os.write(2, f"{shown}{line}\n".encode())
    os._exit(code)


def follow_parent(
    code: int, line: str | None = None, look: Callable[[], object] | None = None, parent: int | None = None
) -> threading.Event:
    """From now on this process ends at once when the one that started it has ended.

    Args:
        code: to end with.
        line: for stderr.
        look: called every INTERVAL seconds.
        parent: the number of that one; None for the one that lives now.

    Returns:
        Set it to end that.
    """
    over = threading.Event()
    started_by = os.getppid() if parent is None else parent

    def watch() -> None:
        while True:
            if os.getppid() != started_by:
                leave(code, line)
            if look is not None:
                look()
            if over.wait(INTERVAL):
                return

    threading.Thread(target=watch, daemon=True).start()
    return over


@contextmanager
def ends_with_parent(code: int, line: str | None = None, parent: int | None = None) -> Iterator[None]:
    """Within the block this process ends at once when the one that started it has ended.

    Args:
        code: to end with.
        line: for stderr.
        parent: the process that started it, which may have ended by now; None for the one that is there.

    Example:
        >>> with ends_with_parent(1):
        ...     pass
    """
    over = follow_parent(code, line, parent=parent)
    try:
        yield
    finally:
        over.set()


def ends_with_first() -> AbstractContextManager[None]:
    """Within the block this process, one of several that train together, ends when the first one has ended.

    Example:
        >>> with ends_with_first():
        ...     pass
    """
    first = os.environ.get(FIRST)
    return ends_with_parent(
        2, "error: the first process has ended; the same command continues", None if first is None else int(first)
    )
