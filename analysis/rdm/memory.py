"""How much memory this process may take: a bound that the user sets, and what is left of it.

Results never depend on it: it decides how many pieces of work are done at a time, and whether what is made lies in
memory or in files. What does not fit is refused before it is begun.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orthotrace.core.errors import UserError

SCRATCH = ".scratch-"
UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
BINARY = {"": 1, "k": 2**10, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class OutOfMemoryBoundError(UserError):
    """What does not fit into the memory that the user grants."""


class Scratch:
    """A new folder for files, which goes with this object, and at the latest with the process.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=_Bound.folder))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


class _Bound:
    """That of this process; None without one."""

    size: int | None = None
    # Where files of what does not stay in memory lie.
    folder: Path | None = None


def size_of(memory: Any) -> int:
    """Bytes of a size such as 8GB, 500 MB or 7.5GiB.

    Raises:
        UserError: it is none.

    Example:
        >>> size_of("8GB"), size_of("1.5 MiB")
        (8000000000, 1572864)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKMGT]?)(i?)B\s*", str(memory))
    if found is None or (found[3] and not found[2]) or not float(found[1]):
        raise UserError(f"'{memory}' is no size: write one such as 8GB or 500MB", "memory")
    return int(float(found[1]) * (BINARY if found[3] else UNITS)[found[2]])


@contextmanager
def within(memory: str | None, folder: Path | None = None) -> Iterator[None]:
    """Within the block the process keeps to a bound, as far as the analysis decides it.

    Args:
        memory: of the process, with all that it holds already, such as 8GB; None for no bound.
        folder: where files of what does not fit lie for the time of the block; None for that of the system.

    Raises:
        UserError: no size, or less than the process takes already.

    Example:
        >>> from orthotrace.analysis import rdm
        >>> with within("32GB"):
        ...     rdm.euclidean([[0.0], [3.0], [1.0]])
        array([3., 1., 2.])
    """
    size = None if memory is None else size_of(memory)
    if size is not None and (there := resident()) >= size:
        raise UserError(f"the process takes {shown(there)} already: give more than {memory}", "memory")
    before = _Bound.size, _Bound.folder
    _Bound.size, _Bound.folder = size, folder
    try:
        yield
    finally:
        _Bound.size, _Bound.folder = before


def tidy(folder: Path) -> None:
    """Remove the files of a process that was killed; of a folder that no other process writes to.

    Example:
        >>> place = Path(tempfile.mkdtemp())
        >>> (place / f"{SCRATCH}old").mkdir()
        >>> tidy(place)
        >>> list(place.iterdir())
        []
    """
    for old in folder.glob(f"{SCRATCH}*"):
        shutil.rmtree(old, ignore_errors=True)


def bounded() -> bool:
    """Whether there is a bound.

    Example:
        >>> bounded()
        False
    """
    return _Bound.size is not None


def share(processes: int) -> str | None:
    """The bound of each of some processes that work for this one; None without one.

    Example:
        >>> with within("32GB"):
        ...     share(4)
        '8000000000B'
    """
    return None if _Bound.size is None else f"{_Bound.size // processes}B"


def need(size: int, what: str, way: str = "") -> None:
    """Refuse what does not fit into what is left of the bound, before it is made.

    Args:
        size: bytes that it takes.
        what: it is.
        way: out, beside more memory.

    Raises:
        OutOfMemoryBoundError: says how much it needs and how much is left.
    """
    if _Bound.size is None or size <= (left := _Bound.size - resident()):
        return
    raise OutOfMemoryBoundError(
        f"{what} needs {shown(size)}, but {shown(max(left, 0))} of {shown(_Bound.size)} are left: give at least "
        f"{shown(_Bound.size - left + size)}" + (f", or {way}" if way else ""),
        "memory",
    )


def at_once(most: int, size: int, what: str) -> int:
    """How many pieces of work fit at a time, of at most so many, each of a size in bytes; their results wait as one.

    Raises:
        OutOfMemoryBoundError: none fits.

    Example:
        >>> at_once(8, 10**9, "a tile")
        8
    """
    if _Bound.size is None or not size:
        return most
    need(2 * size, what)
    return max(1, min(most, (_Bound.size - resident()) // size - 1))


def fits(size: int) -> bool:
    """Whether so many bytes are left.

    Example:
        >>> fits(10**15)
        True
    """
    return _Bound.size is None or size <= _Bound.size - resident()


def resident() -> int:
    """Bytes of memory that this process takes now; where the system does not say, the most it took.

    Example:
        >>> resident() > 10**6
        True
    """
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return _peak()


def _peak() -> int:
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def shown(size: int) -> str:
    """A size in the unit that a user would write.

    Example:
        >>> shown(8_049_000_000), shown(131_000_000), shown(800)
        ('8.05 GB', '131 MB', '1 kB')
    """
    if size >= 10**9:
        return f"{size / 10**9:.2f} GB"
    return f"{-(-size // 10**6)} MB" if size >= 10**6 else f"{-(-size // 10**3)} kB"
