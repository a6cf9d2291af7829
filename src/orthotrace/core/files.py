"""Files that are written completely or not at all."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from orthotrace.core.errors import UserError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, which replaces it when the block ends without an error.

    A reader sees the old file or the new one, never a part. Where the block fails, the old file stays.

    Raises:
        UserError: the disk is full or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with whole(folder / "a.txt") as temporary:
        ...     _ = temporary.write_text("all of it")
        >>> [file.name for file in folder.iterdir()]
        ['a.txt']
    """
    # The suffix stays last: writers such as matplotlib choose the format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        # A full disk or a missing folder must not hide the first error.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def cannot_write(path: Path | str, error: OSError) -> UserError:
    """The error for a file that could not be written.

    Example:
        >>> str(cannot_write("a.txt", OSError(28, "No space left on device")))
        'cannot write a.txt: no space left on device; free some space or choose another folder'
    """
    reason = (error.strerror or str(error)).lower()
    return UserError(f"cannot write {path}: {reason}; free some space or choose another folder")


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file; NaN raises ValueError, since JSON has none."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    r"""Write rows as a CSV file, with the keys of all rows, in order of appearance, as the header.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.csv"
        >>> write_csv(path, [{"a": 1}, {"a": 2, "b": 3}])
        >>> path.read_text()
        'a,b\n1,\n2,3\n'
    """
    names = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read(
    path: Path,
    reader: Callable[[Path], Any],
    remedy: str = "put a good copy in its place, or start the run afresh with overwrite=true",
) -> Any:
    """Read a file; where it is missing or damaged, the error says what to do.

    Raises:
        UserError: there is no such file, or ``reader`` could not read it.
    """
    try:
        return reader(path)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except UserError:
        raise
    except Exception as error:
        # A damaged file can raise nearly anything: zip, pickle, JSON and Unicode errors among them.
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise UserError(f"{path} is damaged ({reason}); {remedy}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UserError: there is no such file, or it is not a JSON object.
    """

    def load(path: Path) -> dict[str, Any]:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
        return content

    return read(path, load)
