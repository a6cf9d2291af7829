"""Files that are written completely or not at all."""

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from orthotrace.core.digests import DamagedFileError, recorded, replace, verify
from orthotrace.core.errors import UserError, one_line, short
from orthotrace.core.folders import cannot_write, check_held, part_of

# Libraries that write in C or Rust tell of the disk in words alone.
DISK = re.compile(
    r"no space left|file too large|quota exceeded|write failed|unable to (write|flush|close)|inline_container", re.I
)


@contextmanager
def whole(path: Path, digests: Collection[str] = ()) -> Iterator[Path]:
    """A temporary path beside ``path``, which replaces it when the block ends without an error.

    A reader sees the old file or the new one, never a part. Where the block fails, the old file stays. What was
    written is recorded: read tells whether it is still that.

    Args:
        path: to write; its folder is made.
        digests: of the content, where they are known.

    Raises:
        UserError: the disk is full, the folder cannot be written, or it is held and was removed.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with whole(folder / "a.txt") as temporary:
        ...     _ = temporary.write_text("all of it")
        >>> sorted(file.name for file in folder.iterdir())
        ['.sha256', 'a.txt']
    """
    temporary = part_of(path)
    try:
        check_held(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        replace(temporary, path, digests)
    except OSError as error:
        raise cannot_write(path, error) from error
    except Exception as error:
        if isinstance(error, UserError) or not DISK.search(str(error)):
            raise
        raise cannot_write(path, OSError(one_line(error))) from error
    finally:
        # A full disk or a missing folder must not hide the first error.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def link(path: Path, other: Path) -> None:
    """Give a file a second name, which takes no space; a copy where the file system has no links."""
    with whole(other, recorded(path)) as temporary:
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copyfile(path, temporary)


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
    remedy: str | Callable[[], str] = "put a good copy in its place, or start the run afresh with overwrite=true",
) -> Any:
    """Read a file that is what was written; where it is missing or damaged, the error says what to do.

    Raises:
        DamagedFileError: it is not what was written, or ``reader`` could not read it.
        UserError: there is no such file.
    """

    def advice() -> str:
        return remedy if isinstance(remedy, str) else remedy()

    try:
        verify(path)
        return reader(path)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except DamagedFileError as error:
        raise DamagedFileError(f"{error.message}; {advice()}") from error
    except UserError:
        raise
    except Exception as error:
        # A damaged file can raise nearly anything: zip, pickle, JSON and Unicode errors among them.
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise DamagedFileError(f"{path} is damaged ({reason}); {advice()}") from error


def check_schema(content: Mapping[str, Any], path: Path, known: int = 1) -> None:
    """Refuse what a later version wrote: its fields may mean something else.

    Args:
        content: with its schema; the first versions of some files have none.
        path: where it was read.
        known: the schema that this version writes.

    Raises:
        UserError: names the file.

    Example:
        >>> check_schema({"schema": 2}, Path("scores.json"))
        Traceback (most recent call last):
        ...
        orthotrace.core.errors.UserError: scores.json has schema 2, and this version reads 1: install a later orthotrace
    """
    if (found := content.get("schema", known)) != known or isinstance(found, bool):
        raise UserError(
            f"{path} has schema {short(repr(found))}, and this version reads {known}: install a later orthotrace"
        )


def read_json(path: Path, *remedy: str) -> dict[str, Any]:
    """Read a JSON object; a remedy as for read.

    Raises:
        UserError: there is no such file, or it is not a JSON object.
    """

    def load(path: Path) -> dict[str, Any]:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
        return content

    return read(path, load, *remedy)
