"""The folder of an analysis."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orthotrace.core.digests import NAME as DIGESTS
from orthotrace.core.errors import UserError
from orthotrace.core.files import read_json

# What an analysis writes there.
WRITTEN = ("results.json", "report.html", "stimuli.csv", "figures", "rdms", "tables")
# Only an analysis writes one of these, and does so first.
MARKS = (DIGESTS, ".kept")


def check_folder(folder: Path) -> None:
    """See that an analysis overwrites nothing but an earlier analysis.

    Raises:
        UserError: the folder is a file, or holds files of something else by names that an analysis writes.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; choose another folder", "out")
    if any((folder / mark).exists() for mark in MARKS) or _is_of_an_analysis(folder / "results.json"):
        return
    if own := [name for name in WRITTEN if (folder / name).is_file() or _is_filled(folder / name)]:
        raise UserError(f"{folder} holds {', '.join(own)} of something else; choose another folder", "out")


def is_repeated(folder: Path, results: Mapping[str, Any]) -> bool:
    """Whether an earlier analysis there found the same, apart from the points of the plane.

    Raises:
        UserError: what it found is damaged.
    """
    path = folder / "results.json"
    if not path.is_file():
        return False
    earlier = read_json(path)
    # As they are read again: tuples are lists.
    now = json.loads(json.dumps(results))
    return all(earlier.get(key) == now.get(key) for key in {*earlier, *now} - {"mds"})


def _is_of_an_analysis(path: Path) -> bool:
    """Also one by an earlier version, which left no mark."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"schema", "measure", "layers"} <= content.keys()


def _is_filled(path: Path) -> bool:
    return path.is_dir() and any(path.iterdir())
