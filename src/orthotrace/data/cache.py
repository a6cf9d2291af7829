"""A cache of decoded images on disk, by the hash of their encoded content."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orthotrace.core.digests import DamagedFileError, files_in, record, verify
from orthotrace.core.errors import UserError
from orthotrace.core.folders import cannot_write, part_of, remove_parts

# Stores up to this size are read into memory, larger ones are mapped.
MEMORY_BYTES = 2 * 1024**3
# Version of the cache: raised when the meaning of its content changes.
VERSION = 1
# Sizes and dates of the mapped arrays that were found whole.
SEEN = ".seen.json"


def cache_folder() -> Path:
    """The folder of the cache: ORTHOTRACE_CACHE, or in the user's cache folder.

    Raises:
        UserError: neither is set, and the user has no home.
    """
    given = os.environ.get("ORTHOTRACE_CACHE")
    if given:
        return Path(given)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orthotrace"
    except RuntimeError as error:
        raise UserError("this user has no home folder for a cache: set ORTHOTRACE_CACHE to a folder") from error


def content_hash(files: Iterable[Path], *options: Any) -> str:
    """A hash of the content of files, in order, and of options; names and dates do not matter.

    Example:
        >>> import tempfile
        >>> one, two = (Path(tempfile.mkdtemp()) / name for name in "ab")
        >>> _ = one.write_text("same"), two.write_text("same")
        >>> content_hash([one], 28) == content_hash([two], 28), content_hash([one], 28) == content_hash([one], 32)
        (True, False)
    """
    whole = hashlib.sha256(json.dumps([VERSION, *options], default=str).encode())
    for file in files:
        with file.open("rb") as opened:
            whole.update(hashlib.file_digest(opened, "sha256").digest())
    return whole.hexdigest()[:32]


def cached(key: str, make: Callable[[Path], dict[str, Any]]) -> tuple[Path, dict[str, Any]]:
    """The folder of a key, made where it is missing or damaged: complete or not at all.

    Args:
        key: a hash of the content.
        make: writes arrays into an empty folder, and returns their metadata for JSON.

    Returns:
        The folder and the metadata.

    Raises:
        UserError: the cache cannot be read or written.
    """
    folder = cache_folder() / key
    about = folder / "about.json"
    try:
        there = about.is_file() and _whole(folder)
    except OSError as error:
        # In a folder of somebody else.
        raise cannot_write(folder, error) from error
    if not there:
        temporary = part_of(folder)
        try:
            remove_parts(folder.parent)
            temporary.mkdir(parents=True)
            content = make(temporary)
            (temporary / about.name).write_text(json.dumps(content), encoding="utf-8")
            record(temporary)
            try:
                temporary.replace(folder)
            except OSError:
                # Another process has made it first, or left it incomplete, or it is damaged.
                if not (about.is_file() and _whole(folder)):
                    shutil.rmtree(folder, ignore_errors=True)
                    temporary.replace(folder)
        except OSError as error:
            raise cannot_write(folder, error) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder, json.loads(about.read_text(encoding="utf-8"))


def _whole(folder: Path) -> bool:
    """Whether all files are what was written; those too large to be read are compared where their dates changed."""
    seen = folder / SEEN
    try:
        known = dict(json.loads(seen.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        known = {}
    large = {}
    try:
        json.loads((folder / "about.json").read_text(encoding="utf-8"))
        for path in {*files_in(folder), *folder.glob("*.npy")}:
            at = path.stat()
            stamp = [at.st_size, at.st_mtime_ns]
            if at.st_size > MEMORY_BYTES:
                large[path.name] = stamp
                if known.get(path.name) == stamp:
                    continue
            verify(path)
    except (DamagedFileError, OSError, ValueError):
        return False
    if large != known:
        # The cache of others may be read only.
        with suppress(OSError):
            seen.write_text(json.dumps(large), encoding="utf-8")
    return True


def stored(path: Path) -> tuple[Tensor, bool]:
    """An array of the cache as a tensor, and whether it is mapped from disk."""
    mapped = path.stat().st_size > MEMORY_BYTES
    # Copy on write: torch warns of read-only memory.
    return torch.from_numpy(np.load(path, mmap_mode="c" if mapped else None, allow_pickle=False)), mapped
