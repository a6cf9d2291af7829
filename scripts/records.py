"""Committed records of what scripts measured. Git changes them, so no digest stands beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_record(path: Path) -> dict[str, Any]:
    """A record."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Write a record; NaN raises ValueError, since JSON has none."""
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
