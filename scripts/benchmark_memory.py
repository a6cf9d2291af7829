"""The case of `scripts/benchmark.py memory`: the peak memory of a run beside that of a script that only trains."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmark_training import BATCH, MOMENTUM, RATE, ours
from measuring import peak

from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted
from orthotrace.methods import Method
from orthotrace.methods.ewc import EWC
from orthotrace.methods.finetune import Finetune
from orthotrace.methods.gpm import GPM
from orthotrace.methods.hlop import HLOP
from orthotrace.methods.memory import MemoryOptions
from orthotrace.methods.replay import ExperienceReplay
from orthotrace.models.mlp import MLP

METHODS = ("finetune", "er", "ewc", "gpm", "hlop")
WIDTHS = (256, 4096)
# Beyond what the plain script takes and the methods say that they keep: Lightning, Hydra, and what a step needs.
MOST = 250
TASKS, EPOCHS = 2, 1
# What needs nothing but torch and the images.
PLAIN = """
import sys, torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
torch.set_num_threads(1)
data, width = load_digits(), int(sys.argv[1])
images, labels = torch.tensor(data.images).float().flatten(1)[:1437], torch.tensor(data.target)[:1437]
model = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
for task in range(int(sys.argv[2])):
    permuted = images[:, torch.randperm(64)] if task else images
    optimizer = torch.optim.SGD(model.parameters(), float(sys.argv[3]), float(sys.argv[4]))
    for inputs, targets in DataLoader(TensorDataset(permuted, labels), int(sys.argv[5]), shuffle=True):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def memory(widths: tuple[int, ...] = WIDTHS, methods: tuple[str, ...] = METHODS) -> list[dict[str, Any]]:
    """Peak memory in MB of processes of their own: digits, MLPs, two tasks of an epoch, 1 thread."""
    records = []
    for width in widths:
        options = [width, TASKS, RATE, MOMENTUM, BATCH]
        theirs = round(int(_printed("-c", PLAIN, *options)) / 1024, 1)
        for name in methods:
            found = json.loads(_printed(Path(__file__), name, width))
            beyond = round(found["peak_mb"] - theirs - found["stated_mb"], 1)
            records.append(
                {
                    "case": f"{name}, digits, MLP 64-{width}-{width}-10",
                    "peer": "script that only trains",
                    "ours_peak_mb": found["peak_mb"],
                    "peer_peak_mb": theirs,
                    "stated_mb": found["stated_mb"],
                    "beyond_mb": beyond,
                    "promised": MOST,
                }
            )
    return records


def _printed(*command: object) -> str:
    done = subprocess.run([sys.executable, *map(str, command)], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[-1]


def run(name: str, width: int) -> dict[str, float]:
    """One run of ours, in this process: its peak, and what its scores.json says that the method keeps, in MB."""
    rows = {layer: [40, 40] for layer in ("fc1", "fc2", "head")} | {"fc1": [20, 20]}
    made: dict[str, Method] = {
        "finetune": Finetune(),
        "er": ExperienceReplay(MemoryOptions(size=200)),
        "ewc": EWC(samples=200),
        "gpm": GPM(rows=rows),
        "hlop": HLOP(rows=rows),
    }
    stream = Permuted(digits(), tasks=TASKS)
    found = ours(stream, MLP(stream.shape, len(stream.classes), (width, width)), made[name], EPOCHS)
    return {"peak_mb": round(peak(), 1), "stated_mb": round(found["extra_memory_bytes"] / 2**20, 1)}


if __name__ == "__main__":
    import logging
    import warnings

    import torch

    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]))))
