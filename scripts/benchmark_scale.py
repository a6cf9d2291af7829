"""The cases of `scripts/benchmark.py rsa_scale`: RDMs of many stimuli, and many RDMs, within a bound on memory.

python scripts/benchmark_scale.py STIMULI FEATURES RDMS MEMORY      one process, in which all is made and compared
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from measuring import measured
from numpy.typing import NDArray

from orthotrace.analysis import rdm
from orthotrace.analysis.rdm import compare, memory, pieces
from orthotrace.analysis.rdm.stored import stored

# Stimuli, features, RDMs; without features RDMs are drawn, not made of activations.
SIZES = ((10_000, 2000, 20), (1000, 0, 1000))
MEMORY = "4GB"
METHODS = ("pearson", "cosine", "spearman", "corr_cov")


def rsa_scale(sizes: tuple[tuple[int, int, int], ...] = SIZES, bound: str = MEMORY) -> Iterator[dict[str, Any]]:
    """All records, each size in a process of its own."""
    for size in sizes:
        command = [sys.executable, __file__, *map(str, size), bound]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        yield from map(json.loads, done.stdout.splitlines())


def cases(stimuli: int, features: int, rdms: int, bound: str) -> Iterator[dict[str, Any]]:
    """The records of one size; the memory is that of the process at its peak, with all that was there before."""
    rng = np.random.default_rng(0)

    def record(case: str, call: Callable[[], Any]) -> tuple[dict[str, Any], Any]:
        before = memory.resident()
        seconds, grown, found = measured(call)
        peak = None if grown is None else round((before + grown * 2**20) / 1e6)
        about = {"case": case, "seconds": round(seconds, 1), "peak_mb": peak, "memory": bound}
        return {**about, "threads": pieces.threads(), "machine": platform.machine()}, found

    with memory.within(bound):
        if features:
            shared = rng.standard_normal((stimuli, 20), dtype=np.float32)
            x = activations(shared, features, 0)
            for name in ("correlation", "squared_euclidean"):
                said = f"{name.replace('_', ' ')} RDM, {stimuli:,} stimuli x {features:,} float32"
                yield record(said, lambda name=name: rdm.MEASURES[name](x))[0]
            del x
            made = (rdm.correlation(activations(shared, features, seed)) for seed in range(rdms))
        else:
            entries = stimuli * (stimuli - 1) // 2
            common = rng.random(entries)
            made = (common + rng.random(entries) for _ in range(rdms))
        files = f"{rdms:,} RDMs of {stimuli:,} stimuli"
        found, stack = record(f"{files}, made into files", lambda: stored(made))
        yield found
        for name in METHODS:
            yield record(f"{files}, all pairs, {name}", lambda name=name: compare.METHODS[name](stack))[0]


def activations(shared: NDArray[np.float32], features: int, seed: int) -> NDArray[np.float32]:
    """Of a network: stimuli by what all networks share, and noise."""
    rng = np.random.default_rng(seed)
    found = rng.standard_normal((len(shared), features), dtype=np.float32)
    found *= 3
    found += shared @ rng.standard_normal((shared.shape[1], features), dtype=np.float32)
    return found


if __name__ == "__main__":
    stimuli, features, rdms = map(int, sys.argv[1:4])
    for one in cases(stimuli, features, rdms, sys.argv[4]):
        print(json.dumps(one), flush=True)
