"""Networks that orthotrace did not train, and files of them, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Flat(nn.Module):
    """Two layers."""

    def __init__(self, width: int = 6):
        super().__init__()
        self.fc1, self.head = nn.Linear(16, width), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.fc1(x.flatten(1))))


class Tied(nn.Module):
    """Two layers of one weight."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False)
        self.fc2.weight = self.fc1.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


NODE = {"_target_": f"{__name__}.Flat", "width": 6}
N = 12
LABELS = [number % 3 for number in range(N)]


def images() -> Tensor:
    """Stimuli of three classes, one after the other."""
    return torch.rand(N, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def saved(folder: Path, seeds: int = 2, kind: str = "flat") -> list[dict[str, Any]]:
    """Entries of networks with weights in files."""
    entries = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        path = folder / f"{kind}-{seed}.pt"
        torch.save(Flat().state_dict(), path)
        entries.append({"model": NODE, "weights": path, "columns": {"kind": kind, "seed": seed}})
    return entries


def activations(stimuli: int = N, seed: int = 0) -> dict[str, np.ndarray]:
    """Activations of two layers."""
    rng = np.random.default_rng(seed)
    return {"conv": rng.random((stimuli, 3, 2)), "fc": rng.random((stimuli, 4))}
