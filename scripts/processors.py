"""Run the tests as on other processors: other kernels in torch, MKL, oneDNN, OpenBLAS and numpy, 1 and 2 threads.

    python scripts/processors.py [--settings NAME ...] [--select PATH ...] [--jobs N] [--out FILE] [--list]

Each setting is a set of environment variables; only those that this processor can execute are offered. Prints one row
for each setting and writes all of them, with the names of failed tests, as JSON. Continues where it was stopped: what
the file has is not run again. Exits with 1 if a test failed.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from importlib.metadata import version
from pathlib import Path
from typing import Any

from measuring import processor
from records import read_record, write_record

ONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# What numpy is built for beyond AVX2.
AVX512 = "X86_V4 AVX512_ICL AVX512_SPR"
# Name -> (variables, the instructions that the processor must have).
SETTINGS: dict[str, tuple[dict[str, str], set[str]]] = {
    "1 thread": (ONE, set()),
    "2 threads": ({"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}, set()),
    "ATen default": (ONE | {"ATEN_CPU_CAPABILITY": "default"}, set()),
    "ATen AVX2": (ONE | {"ATEN_CPU_CAPABILITY": "avx2"}, {"avx2", "fma"}),
    # Processors that are not Intel's know no other value than COMPATIBLE; MKL ignores the rest there.
    "MKL compatible": (ONE | {"MKL_CBWR": "COMPATIBLE"}, set()),
    "MKL AVX2": (ONE | {"MKL_CBWR": "AVX2"}, {"avx2", "fma"}),
    "oneDNN SSE4.1": (ONE | {"ONEDNN_MAX_CPU_ISA": "SSE41"}, {"sse4_1"}),
    "oneDNN AVX2": (ONE | {"ONEDNN_MAX_CPU_ISA": "AVX2"}, {"avx2", "fma"}),
    "OpenBLAS Prescott": (ONE | {"OPENBLAS_CORETYPE": "Prescott"}, {"pni"}),
    "OpenBLAS Nehalem": (ONE | {"OPENBLAS_CORETYPE": "Nehalem"}, {"sse4_2"}),
    "OpenBLAS Sandybridge": (ONE | {"OPENBLAS_CORETYPE": "Sandybridge"}, {"avx"}),
    "OpenBLAS Haswell": (ONE | {"OPENBLAS_CORETYPE": "Haswell"}, {"avx2", "fma"}),
    "OpenBLAS Zen": (ONE | {"OPENBLAS_CORETYPE": "Zen"}, {"avx2", "fma"}),
    "OpenBLAS SkylakeX": (ONE | {"OPENBLAS_CORETYPE": "SkylakeX"}, {"avx512f", "avx512bw", "avx512dq", "avx512vl"}),
    "numpy SSE4.2": (ONE | {"NPY_DISABLE_CPU_FEATURES": f"X86_V3 {AVX512}"}, {"avx2"}),
    # A processor with AVX2 and without AVX-512, such as AMD's before Zen 4: every library at once.
    "AVX2": (
        ONE | {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2",
               "OPENBLAS_CORETYPE": "Zen", "NPY_DISABLE_CPU_FEATURES": AVX512},
        {"avx512f"},
    ),
    # A processor without AVX: every library at once.
    "plain": (
        ONE | {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41",
               "OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": f"X86_V3 {AVX512}"},
        {"sse4_2"},
    ),
}  # fmt: skip


def instructions() -> set[str]:
    """The instruction sets of this processor; empty where the system has no /proc/cpuinfo."""
    try:
        found = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return set()
    return set(found[1].split()) if found else set()


def offered(has: set[str]) -> list[str]:
    """The settings that a processor with these instructions can run; MKL and OpenBLAS do not check this themselves."""
    return [name for name, (_, needs) in SETTINGS.items() if needs <= has]


def tested(name: str, select: list[str], jobs: int) -> dict[str, Any]:
    """Run pytest under a setting, in so many processes."""
    workers = ["-n", str(jobs), "--dist", "worksteal"] if jobs > 1 else []
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *workers, *select],
            env={**os.environ, **SETTINGS[name][0]}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds = round(time.perf_counter() - start, 1)
        if not report.is_file():
            raise SystemExit(f"{name}: pytest gave no report\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        cases = list(ET.parse(report).iter("testcase"))
    failed = [
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]
    skipped = sum(case.find("skipped") is not None for case in cases)
    passed = len(cases) - len(failed) - skipped
    return {"setting": name, "passed": passed, "failed": len(failed), "seconds": seconds, "names": failed}


def surroundings() -> dict[str, str]:
    """Processor and versions."""
    versions = {name: version(name) for name in ("torch", "numpy", "scipy")}
    return {"processor": processor(), "python": platform.python_version(), **versions}


def main() -> None:
    """See the module."""
    possible = offered(instructions())
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--settings", nargs="+", choices=possible, default=possible, metavar="NAME")
    parser.add_argument("--select", nargs="+", default=[], metavar="PATH", help="tests to run, all by default")
    parser.add_argument("--jobs", type=int, default=1, help="processes of pytest")
    parser.add_argument("--out", type=Path, default=Path("processors.json"))
    parser.add_argument("--list", action="store_true", help="print the settings of this processor and stop")
    options = parser.parse_args()
    if options.list:
        print("\n".join(possible))
        return
    print(f"{'setting':<24}{'passed':>8}{'failed':>8}{'seconds':>9}", flush=True)
    tests, rows = options.select or "all", []
    if options.out.is_file():
        known = read_record(options.out)
        if known["tests"] != tests:
            parser.error(f"{options.out} is of other tests ({known['tests']}): name another file by --out")
        rows = known["settings"]
    for name in options.settings:
        if not any(row["setting"] == name for row in rows):
            rows.append(tested(name, options.select, options.jobs))
            write_record(options.out, {**surroundings(), "tests": tests, "settings": rows})
        row = next(row for row in rows if row["setting"] == name)
        print(f"{name:<24}{row['passed']:>8}{row['failed']:>8}{row['seconds']:>9}", flush=True)
        for failed in row["names"]:
            print(f"    {failed}", flush=True)
    raise SystemExit(any(row["failed"] for row in rows))


if __name__ == "__main__":
    main()
