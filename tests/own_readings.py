"""Networks of an analysis without runs: some with silent stimuli, one dead, made by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn

from orthotrace.analysis.networks.runs import Stimuli
from orthotrace.models.mlp import MLP
from orthotrace.results.groups import Group

CLASSES, PER_CLASS, FEATURES = 3, 4, 6
SILENT = {"gpm": {1: (0, 5, 7), 2: (5,)}, "hlop": {0: (11,)}}
DEAD = {"gpm": 3}


def stimuli() -> Stimuli:
    """Twelve of three classes; each has an input of its own that no other has, by which it can be silenced."""
    n = CLASSES * PER_CLASS
    torch.manual_seed(0)
    images = torch.cat([torch.eye(n), torch.randn(n, FEATURES)], dim=1).double()
    labels = torch.arange(CLASSES).repeat_interleave(PER_CLASS)
    return Stimuli(images, labels, ("a", "b", "c"), PER_CLASS, None, "digest", torch.arange(n))


def network(seed: int, silent: tuple[int, ...], dead: bool) -> nn.Module:
    """Its relu1 gives nothing for some stimuli, or for all, but something for the others."""
    torch.manual_seed(seed + 1)
    model = MLP([CLASSES * PER_CLASS + FEATURES], 4, hidden=[5, 6]).double().eval()
    with torch.no_grad():
        model.fc1.bias += 0.5
        model.fc2.bias.copy_(torch.rand(6))
        model.head.bias.copy_(torch.rand(4))
        for stimulus in silent:
            model.fc1.weight[:, stimulus] = -100.0
        if dead:
            model.fc1.weight.zero_()
            model.fc1.bias.fill_(-1.0)
    return model


def run(method: str, seed: int) -> Any:
    """What an analysis asks of a run."""
    model = network(seed + 10 * len(method), SILENT[method].get(seed, ()), DEAD.get(method) == seed)
    scores = {"seeds": {"init": seed}, "accuracy": [[0.9]], "capacity": {}, "method": method}
    scores |= {"scenario": "class", "stream": "split", "seconds": [1.0], "extra_memory_bytes": 0}
    scores |= dict.fromkeys(("acc", "bwt", "fwt", "forgetting", "learning_accuracy"), 0.9)
    return SimpleNamespace(
        folder=Path(f"{method}-{seed}"),
        scores=scores,
        config=OmegaConf.create(),
        overrides=(),
        inside_file=Path("none"),
        range_file=Path("none"),
        hydra=Path("none"),
        tasks=[1],
        network=lambda task: model,
    )


def grouped(**methods: int) -> list[Group]:
    """Groups of so many seeds."""
    return [Group(method, tuple(run(method, seed) for seed in range(seeds))) for method, seeds in methods.items()]
