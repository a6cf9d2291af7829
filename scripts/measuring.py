"""Time and memory of a call, and the kind of processor that it was measured on."""

from __future__ import annotations

import platform
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


def processor(file: Path = Path("/proc/cpuinfo")) -> str:
    """Who made this processor, and its widest instructions, such as "Intel, AVX-512": ratios depend on both."""
    try:
        words = file.read_text().split()
    except OSError:
        return platform.machine()
    makers = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD"}
    maker = next((name for vendor, name in makers.items() if vendor in words), platform.machine())
    widest = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in words), "")
    return f"{maker}, {widest}" if widest else maker


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
