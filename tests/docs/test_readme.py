"""What the README says, run."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from pages import PAGES, blocks
from torch.utils.data import DataLoader, TensorDataset

README = PAGES["README.md"]
BLOCKS = blocks("README.md", "python")


def test_a_network_comes_back(study):
    run = next(study.glob("method=gpm*"))
    names: dict = {}
    exec(BLOCKS[0].replace("runs/digits/RUN", str(run)), names)
    assert names["network"](torch.zeros(1, 1, 8, 8)).shape == (1, 10)


@pytest.mark.parametrize("subspace", ["SvdSubspace", "HebbianSubspace"])
def test_the_guard_in_a_plain_loop_keeps_the_first_task(subspace):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.ReLU(), torch.nn.Linear(30, 3))
    parts = [(torch.rand(200, 20) * (torch.rand(20) < 0.4), torch.randint(3, (200,))) for _ in range(3)]
    tasks = [DataLoader(TensorDataset(*part), batch_size=10) for part in parts]

    leaks = []

    def train(model, optimizer, loader):
        for _ in range(3):
            for images, labels in loader:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(images), labels).backward()
                optimizer.step()
        leaks.append(max(names["guard"].leaks().values()))

    code = BLOCKS[1].replace("SvdSubspace,", f"{subspace},")
    assert subspace in BLOCKS[1].splitlines()[0]
    code = code.replace(BLOCKS[1].splitlines()[0], f"from orthotrace import Guard, {subspace}")
    lines = [line for line in code.split("guard = ")[1].split("\n") if line.strip()]
    assert len(lines) < 10
    names = {"torch": torch, "model": model, "tasks": tasks[:1], "train": train}
    exec(code, names)
    first = model(parts[0][0]).detach()
    # A second pass through the loop with the same guard: its body alone.
    body = code[code.index("for loader in tasks:") :]
    exec(body, names | {"tasks": tasks[1:]})
    with torch.no_grad():
        kept = float((model(parts[0][0]) - first).norm() / first.norm())
    assert len(leaks) == 3 and max(leaks) <= 1e-6 and kept < 0.5


def test_concepts_come_onto_the_axes_of_a_layer():
    torch.manual_seed(0)
    model = torch.nn.Sequential()
    model.add_module("conv", torch.nn.Conv2d(3, 8, 3))
    model.add_module("bn2", torch.nn.BatchNorm2d(8))
    images = torch.rand(64, 3, 8, 8)
    names: dict = {"model": model, "images": images}
    names |= {"features_of_striped": model.conv(images[:20]), "features_of_dotted": model.conv(images[20:40])}
    exec(BLOCKS[2], names)
    assert model.bn2 is names["layer"] and list(names["layer"].axes.names) == ["striped", "dotted"]


def test_it_is_short():
    assert README.count("\n") <= 150


def test_networks_are_compared_from_plain_arrays_without_the_training_side():
    rng = np.random.default_rng(0)
    names: dict = {"networks": {str(seed): rng.standard_normal((12, 30)) for seed in range(3)}}
    names |= {"grey": rng.random(66), "shape": rng.random(66)}
    exec(BLOCKS[3], names)
    assert names["consistency"].between_networks(names["rdms"]).networks == 3
    assert names["found"].intervals().shape == (2, 2) and names["found"].compare("t").adjusted.shape == (2, 2)
    program = (
        "import sys; from orthotrace.analysis import inference, networks, rdm, similarity; from orthotrace.analysis.rdm import compare, mds, rdms; from orthotrace.analysis.studies import consistency; from orthotrace.analysis.networks import storage;"
        "print([name for name in ('pytorch_lightning', 'hydra', 'wandb', 'omegaconf') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
