"""Whether the benchmarks are as fast as when their records were committed: make bench-check.

    python scripts/bench_check.py [BENCHMARK ...]

Runs each benchmark of scripts/benchmark.py that has records with a range, and compares ratios, which depend less on the
machine than seconds. A ratio has worsened when its median is worse than the committed one by more than the committed
range is wide. Such a benchmark is run once more, with twice the rounds, before it counts. A record that says on which
kind of processor it was measured counts on that kind alone. All take some 25 minutes on two cores that do nothing else;
other programs make a ratio worse. Exits with 1 where one has worsened.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from measuring import processor

HERE = Path(__file__).resolve().parent
# Rounds of each benchmark.
ROUNDS = {
    "overhead": 9,
    "convolutions": 2,
    "tasks": 5,
    "wide": 5,
    "rsa": 3,
    "whitening": 3,
    "spiking": 15,
    "networks": 7,
}
Record = Mapping[str, Any]
# Of a ratio that was measured on another kind of processor.
ELSEWHERE = float("-inf")


def committed(folder: Path = HERE / "results", here: str | None = None) -> dict[tuple[str, str], Record]:
    """The records of all benchmarks that have a range, by case and peer: of several that of this kind of processor.

    Args:
        folder: of the records.
        here: the kind of processor; None for that of this machine.
    """
    here = here or processor()
    lines = [line for file in sorted(folder.glob("benchmark_*.jsonl")) for line in file.read_text().splitlines()]
    records = [one for line in lines if "range" in (one := json.loads(line))]
    # The last one of a key stays.
    records.sort(key=lambda one: one.get("processor") == here)
    return {(one["case"], one["peer"]): one for one in records}


def worsened(before: Record, now: Record) -> float:
    """By how much the ratio is worse than the committed one, in widths of the committed range; below 0 it is better.

    Example:
        >>> before = {"ours_over_peer": 1.0, "range": [0.9, 1.1]}
        >>> round(worsened(before, {"ours_over_peer": 1.3}), 3)
        1.5
        >>> worsened({"peer_over_ours": 4.0, "range": [3.5, 4.5]}, {"peer_over_ours": 6.0})
        -2.0
    """
    least, most = before["range"]
    # A range of rounded numbers may be 0.
    spread = max(most - least, 1e-3)
    if "peer_over_ours" in before:
        return (before["peer_over_ours"] - now["peer_over_ours"]) / spread
    return (now["ours_over_peer"] - before["ours_over_peer"]) / spread


def measured(name: str, rounds: int) -> list[dict[str, Any]]:
    """The records of a benchmark, run now, in a process of its own."""
    command = [sys.executable, HERE / "benchmark.py", name, "--json", "--rounds", str(rounds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def check(
    names: Iterable[str],
    records: Mapping[tuple[str, str], Record],
    measure: Callable[[str, int], list[dict[str, Any]]] = measured,
) -> list[str]:
    """Run benchmarks, and print a line for each case; the cases that have worsened, twice in a row."""
    worse = []
    for name in names:
        found = _compared(measure(name, ROUNDS[name]), records)
        if not found:
            raise SystemExit(f"bench_check: no record with a range is committed of {name}")
        if any(by > 1 for by, _ in found.values()):
            again = _compared(measure(name, 2 * ROUNDS[name]), records)
            found = {case: min(first, again[case]) for case, first in found.items()}
        for case, (by, line) in found.items():
            word = "other" if by == ELSEWHERE else "WORSE" if by > 1 else "ok"
            print(f"{word:5}  {name}: {line}", flush=True)
            if by > 1:
                worse.append(case)
    return worse


def _compared(found: Iterable[Record], records: Mapping[tuple[str, str], Record]) -> dict[str, tuple[float, str]]:
    """Case -> by how much it has worsened, and a line."""
    compared = {}
    for now in found:
        before = records.get((now["case"], now["peer"]))
        if before is None:
            continue
        kind = "peer_over_ours" if "peer_over_ours" in before else "ours_over_peer"
        case = f"{now['case']}, beside {now['peer']}"
        line = f"{case}: {kind} {now[kind]}, committed {before[kind]} of {before['range']}"
        here = before.get("processor", now.get("processor")) == now.get("processor")
        compared[case] = (worsened(before, now), line) if here else (ELSEWHERE, f"{line} on {before['processor']}")
    return compared


def main() -> None:
    """Check all, or the named ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help=f"of {', '.join(ROUNDS)}; none: all")
    names = parser.parse_args().benchmarks
    if unknown := [name for name in names if name not in ROUNDS]:
        parser.error(f"no benchmark '{unknown[0]}'; there are: {', '.join(ROUNDS)}")
    worse = check(names or ROUNDS, committed())
    if worse:
        sys.exit(f"{len(worse)} worse than what is committed: {'; '.join(worse)}")


if __name__ == "__main__":
    main()
