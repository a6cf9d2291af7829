"""What a run survives: kills, signals, full disks, damaged files, bad configurations, dead servers, odd arrays.

    make chaos

tries each kind at random, writes scripts/results/chaos.json and prints the table of docs/results/trust.md. Every kind
runs in a process of its own, two at a time; it takes some half an hour on two cores. One kind alone, so many tries:

    python scripts/chaos.py signals 10 --seed 3

With --write its rows take the place of those in the results, for instance after something was mended, or come behind
them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "scripts" / "results" / "chaos.json"
# Name -> module of tests/, its function of a folder, a number and a seed, and how many tries of each kind. The longest
# come first.
PARTS = {
    "kills": ("chaos_commands", "kills", 20),
    "servers": ("chaos_servers", "failing_servers", 20),
    "files": ("chaos_files", "damaged_files", 300),
    "pairs": ("chaos_pairs", "pairs", 1000),
    "ranks": ("chaos_processes", "ranks", 20),
    "workers": ("chaos_processes", "workers", 8),
    "configurations": ("chaos_configurations", "configurations", 1000),
    "bad commands": ("chaos_configurations", "bad_commands", 50),
    "analyses": ("chaos_commands", "killed_analyses", 12),
    "signals": ("chaos_commands", "signals", 24),
    "full disks": ("chaos_commands", "full_disks", 20),
    "read-only disks": ("chaos_commands", "read_only_disks", 10),
    "removed folders": ("chaos_commands", "removed_folders", 15),
    "two at once": ("chaos_commands", "two_at_once", 12),
    "marks": ("chaos_files", "marking_files", 1),
    "arrays": ("chaos_arrays", "array_calls", 10000),
}
COLUMNS = ("kind", "tries", "survived", "lost", "wrong", "tracebacks", "hangs")


def one(part: str, number: int | None, seed: int) -> list[dict[str, Any]]:
    """The rows of one part, in this process."""
    sys.path.insert(0, str(ROOT / "tests"))
    module, function, tries = PARTS[part]
    call: Callable[[Path, int, int], Iterator[Any]] = getattr(import_module(module), function)
    start, rows = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        for tally in call(Path(folder), number or tries, seed):
            tally.seconds, start = round(time.monotonic() - start, 1), time.monotonic()
            rows.append(tally.row())
    return rows


def apart(part: str, seed: int) -> list[dict[str, Any]]:
    """The rows of one part, in a process of its own."""
    command = [sys.executable, __file__, part, "--seed", str(seed), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode > 1:
        return [{**dict.fromkeys(COLUMNS, 0), "kind": part, "tracebacks": 1, "notes": ["the part itself failed"]}]
    rows = json.loads(done.stdout.splitlines()[-1])
    print("\n".join(table(rows)[2:]), flush=True)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of the table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|" + "--:|" * (len(COLUMNS) - 1)]
    return [
        *lines,
        *(
            "| " + " | ".join(f"{row[name]:,}" if name != "kind" else row[name] for name in COLUMNS) + " |"
            for row in rows
        ),
    ]


def failed(rows: Sequence[dict[str, Any]]) -> bool:
    """Whether anything was not survived, or a kind was not tried."""
    return any(row["tries"] != row["survived"] or not row["tries"] for row in rows)


def write(about: dict[str, Any]) -> None:
    """Write the results."""
    RESULTS.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "part", nargs="?", choices=PARTS, help="one kind alone; by default all, and the results are written"
    )
    parser.add_argument("number", nargs="?", type=int, help="of tries of each kind in the part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the rows of one kind into the results")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    given = parser.parse_args()
    if given.part:
        rows = one(given.part, given.number, given.seed)
        print(json.dumps(rows) if given.json else "\n".join(table(rows)))
        if given.write:
            about = json.loads(RESULTS.read_text())
            new = {row["kind"]: row for row in rows}
            old = {row["kind"]: row for row in about["rows"]}
            about["rows"] = list({**old, **new}.values())
            about["again"] = sorted({*about.get("again", []), f"python scripts/chaos.py {given.part} --write"})
            write(about)
    else:
        start = time.monotonic()
        with ThreadPoolExecutor(2) as pool:
            rows = [row for part in pool.map(lambda name: apart(name, given.seed), PARTS) for row in part]
        machine = {"python": platform.python_version(), "cores": os.cpu_count(), "seed": given.seed}
        about = {"command": "make chaos", "seconds": round(time.monotonic() - start), **machine, "rows": rows}
        write(about)
        print("\n".join(["", *table(rows)]))
    for note in [note for row in rows for note in row.get("notes", [])]:
        print(note, file=sys.stderr)
    sys.exit(failed(rows))


if __name__ == "__main__":
    main()
