"""A folder that one process at a time writes to, and what killed ones left in it."""

import errno
import os
import re
import shutil
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from orthotrace.core.beats import is_recent, keep_beating, moves
from orthotrace.core.errors import UserError, one_line

LOCK = ".lock"
# A folder in the place of a file, something else in that of a folder, a link to itself.
TAKEN = (errno.EISDIR, errno.ENOTDIR, errno.ELOOP)
HOST = re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname())[:60]
# Seconds after which two processes that come at once have written who they are, where there are no locks.
SETTLED = 1.0
PART = re.compile(r"\.(?P<process>\d+)(@(?P<host>[A-Za-z0-9-]*))?\.part(\.[^.]*)?$")

# Folders that this process holds: the open lock, and the folders in it that were written to.
_HELD: dict[Path, tuple[IO[str], set[Path]]] = {}


class FolderInUseError(UserError):
    """Another process writes to the folder."""


def cannot_write(path: Path | str, error: OSError) -> UserError:
    """The error for a file that could not be written.

    Example:
        >>> str(cannot_write("a.txt", OSError(28, "No space left on device")))
        'cannot write a.txt: no space left on device; free some space or choose another folder'
        >>> str(cannot_write("a.txt", OSError(17, "File exists")))
        'cannot write a.txt: file exists; choose another folder'
    """
    # HDF5 puts a page of details into the text.
    reason = (os.strerror(error.errno) if error.errno else one_line(error)).lower()
    todo = "choose another folder"
    if error.errno in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        todo = f"free some space or {todo}"
    elif error.errno in TAKEN:
        todo = f"move away what is there or {todo}"
    return UserError(f"cannot write {path}: {reason}; {todo}")


def part_of(path: Path) -> Path:
    """Where a file is written before it is complete: beside it, with the process in its name.

    Example:
        >>> part_of(Path("a/b.txt")).suffix
        '.txt'
    """
    # The suffix stays last: writers such as matplotlib choose the format by it.
    return path.with_name(f".{path.stem}.{os.getpid()}@{HOST}.part{path.suffix}")


def remove_parts(folder: Path) -> None:
    """Remove what processes that no longer live left incomplete in a folder; call it before anything is written."""
    with suppress(OSError):
        for path in folder.iterdir():
            found = PART.search(path.name) if path.name.startswith(".") else None
            if found and found["host"] in (None, HOST) and not _lives(int(found["process"])):
                with suppress(OSError):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _lives(process: int) -> bool:
    """Whether another process of this number runs here; this one has left nothing yet."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Within the block this process alone writes to a folder, which is made; free again even after a kill.

    Args:
        folder: of a run or an analysis; may be held already.

    Raises:
        FolderInUseError: another process holds it.
        UserError: it cannot be written to.
    """
    root = Path(os.path.abspath(folder))  # noqa: PTH100 -- resolve() would follow a link that is changed meanwhile
    if root in _HELD:
        yield
        return
    missing = [one for one in (root, *root.parents) if not one.exists()]
    try:
        try:
            root.mkdir(parents=True, exist_ok=True)
            lock = _locked(root)
        except OSError as error:
            at_lock = str(error.filename).endswith(LOCK)
            raise cannot_write(folder / LOCK if at_lock else folder, error) from error
        _HELD[root] = (lock, set())
        keep_beating(lambda: [one.fileno() for one, _ in list(_HELD.values()) if not one.closed])
        try:
            for one in (root, *(path for path in root.iterdir() if path.is_dir())):
                remove_parts(one)
            yield
        finally:
            del _HELD[root]
            # Before it is free: one that waits for it sees that it is gone.
            if _same(lock, root / LOCK):
                with suppress(OSError):
                    (root / LOCK).unlink()
            lock.close()
    finally:
        with suppress(OSError):
            for one in missing:
                one.rmdir()


def is_held(folder: Path) -> bool:
    """Whether a process writes to a folder now; nothing is written, and no lock is taken.

    Example:
        >>> is_held(Path("/nowhere"))
        False
    """
    import fcntl

    if Path(os.path.abspath(folder)) in _HELD:  # noqa: PTH100
        # To close the file would give this process's lock away.
        return True
    try:
        with (folder / LOCK).open("rb") as lock:
            # Of the others its fields are in another order.
            if sys.platform == "linux":
                asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
                found = struct.unpack("hhqqi4x", fcntl.fcntl(lock, fcntl.F_GETLK, asked))
                if found[0] != fcntl.F_UNLCK:
                    return True
            else:
                # Shared, and for an instant.
                fcntl.lockf(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return True
    except OSError:
        # There is no such file, or its file system has no locks.
        pass
    process, host = _holder(folder / LOCK)
    if process is None:
        return False
    # Without a lock one of this machine has been killed, unless there are none on this disk.
    return is_recent(folder / LOCK) and (_lives(process) if host == HOST else True)


def check_held(path: Path) -> None:
    """Note that a file is written, and refuse it where a folder that is held was removed or taken meanwhile.

    Raises:
        UserError: names the folder.
    """
    absolute = Path(os.path.abspath(path))  # noqa: PTH100
    for root, (lock, written) in _HELD.items():
        if root not in absolute.parents:
            continue
        gone = root if not _same(lock, root / LOCK) else next((one for one in written if not one.is_dir()), None)
        if gone is not None:
            raise UserError(f"{gone} was removed while it was written to: nothing more is written; start again")
        written.add(absolute.parent)


def _locked(root: Path) -> IO[str]:
    import fcntl

    while True:
        # Before the file is locked: to close it after that would give the lock away.
        process, host = _holder(root / LOCK)
        if process is not None and host != HOST and moves(root / LOCK):
            raise _in_use(root, f"process {process} on {host}")
        lock = (root / LOCK).open("a+", encoding="utf-8")
        locks = True
        try:
            # Of the process, not of the open file: what it forks does not hold on to it after a kill.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            who = _last_line(lock) or "another process"
            lock.close()
            raise _in_use(root, who) from error
        except OSError:
            # A file system without locks.
            locks = False
        if not locks and process is not None and host == HOST and _lives(process):
            lock.close()
            raise _in_use(root, f"process {process} on {host}")
        if _same(lock, root / LOCK):
            own = f"process {os.getpid()} on {HOST}"
            lock.truncate(0)
            lock.write(f"{own}\n")
            lock.flush()
            if not locks:
                # Of two that come at once the last one to write stays.
                time.sleep(SETTLED)
                if (who := _last_line(lock)) != own:
                    lock.close()
                    raise _in_use(root, who or "another process")
            return lock
        lock.close()


def _last_line(lock: IO[str]) -> str:
    lock.seek(0)
    return (lock.read(1000).splitlines() or [""])[-1]


def _in_use(root: Path, who: str) -> FolderInUseError:
    return FolderInUseError(f"{root} is in use by {who}: wait until it has ended, or stop it")


def _holder(path: Path) -> tuple[int | None, str | None]:
    """The process that wrote a lock last, and its machine; None where nobody did."""
    with suppress(OSError, ValueError):
        if found := re.match(r"process (\d+) on ([A-Za-z0-9-]*)\n", path.read_text("utf-8")):
            return int(found[1]), found[2]
    return None, None


def _same(lock: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except OSError:
        return False
