"""Time and memory of a call."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def measured(function: Callable[[], Any]) -> tuple[float, float | None, Any]:
    """Seconds, growth of the resident memory at its peak in MB (None where the system does not tell), result."""
    before = _memory("VmRSS") if _reset_peak() else None
    start = time.perf_counter()
    result = function()
    seconds = time.perf_counter() - start
    return seconds, None if before is None else round((_memory("VmHWM") - before) / 1024, 1), result


def peak() -> float:
    """The largest resident memory of this process so far, in MB, libraries and all."""
    return _memory("VmHWM") / 1024


def _reset_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().split("\n")
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
