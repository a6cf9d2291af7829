"""SHA-256 of the files that we write, in one hidden file of each folder: what is read is what was written."""

import hashlib
import os
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orthotrace.core.errors import UserError, one_line
from orthotrace.core.folders import part_of

# In the format of sha256sum, whose option -c checks a folder; the first line is the digest of the others.
NAME = ".sha256"


class DamagedFileError(UserError):
    """A file that is not what was written."""


def digest_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def recorded(path: Path) -> frozenset[str]:
    """The digests of what was written as a file: two while it is being replaced; none where nothing was recorded."""
    return frozenset(_read(path.parent).get(path.name, ()))


def verify(path: Path) -> bool:
    """Compare a file with its digest; False where it has none, as files of older versions or of others have.

    Raises:
        DamagedFileError: it is not what was written.
        OSError: it cannot be read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> _ = path.with_name("new").write_text("content")
        >>> replace(path.with_name("new"), path)
        >>> verify(path)
        True
    """
    for _ in range(9):
        known, at = recorded(path), path.stat()
        if not known:
            return False
        if digest_of(path) in known:
            return True
        now = path.stat()
        # Another process may have replaced it meanwhile.
        if recorded(path) == known and (now.st_ino, now.st_mtime_ns) == (at.st_ino, at.st_mtime_ns):
            break
    raise DamagedFileError(f"{path} is damaged: it is not what was written, by its SHA-256 in {path.parent / NAME}")


def replace(temporary: Path, path: Path, known: Collection[str] = ()) -> None:
    """Put a complete file in the place of another, and record its digest.

    A kill at any instant leaves the old file or the new one, with its digest.

    Args:
        temporary: in the same folder.
        path: is replaced.
        known: the digests of the new file, where they are recorded elsewhere; empty to compute it.
    """
    new = sorted(known) or [digest_of(temporary)]
    folder, name = path.parent, path.name
    with _alone(folder):
        files = _read(folder)
        old = files.get(name) or ([digest_of(path)] if path.is_file() else [])
        if not set(new) <= set(old) or name not in files:
            # Both, so that neither looks damaged in between.
            _write(folder, files | {name: [*old, *(one for one in new if one not in old)]})
        os.replace(temporary, path)
        if set(old) - set(new):
            # On a full disk both stay.
            with suppress(OSError):
                _write(folder, files | {name: new})


def record(folder: Path) -> None:
    """Record the digests of all files of a folder that was just written."""
    files = {path.name: [digest_of(path)] for path in folder.iterdir() if path.is_file() and path.name != NAME}
    _write(folder, files)


def files_in(folder: Path) -> list[Path]:
    """The files of a folder whose digests are recorded, whether they are there or not."""
    return [folder / name for name in _read(folder)]


def remove(path: Path) -> None:
    """Remove a file, if it is there, and its digest."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    with _alone(path.parent):
        files = _read(path.parent)
        if files.pop(path.name, None) is not None:
            _write(path.parent, files)


def _read(folder: Path) -> dict[str, list[str]]:
    try:
        content = (folder / NAME).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        # A folder of this name, or a link to itself.
        raise UserError(
            f"{folder / NAME} cannot be read ({one_line(error)}): move it away; the files beside it are then read "
            "unverified"
        ) from error
    first, _, rest = content.partition(b"\n")
    if first != _check(rest):
        warnings.warn(f"{folder / NAME} is damaged: the files that it names are read unverified", stacklevel=3)
        return {}
    files: dict[str, list[str]] = {}
    for line in rest.decode("utf-8", "surrogateescape").splitlines():
        digest, _, name = line.partition("  ")
        files.setdefault(name, []).append(digest)
    return files


def _write(folder: Path, files: dict[str, list[str]]) -> None:
    lines = [f"{digest}  {name}\n" for name in sorted(files) for digest in files[name]]
    rest = "".join(lines).encode("utf-8", "surrogateescape")
    if not rest:
        (folder / NAME).unlink(missing_ok=True)
        return
    temporary = part_of(folder / NAME)
    try:
        temporary.write_bytes(_check(rest) + b"\n" + rest)
        os.replace(temporary, folder / NAME)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _check(rest: bytes) -> bytes:
    return b"# " + hashlib.sha256(rest).hexdigest().encode()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Within the block no other process or thread changes the digests of a folder, where its file system has locks."""
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        # Network file systems lock no folders; their runs are written by one process alone anyway.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
