"""What the README says, run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from orthotrace.config.conf import conf_folder

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_a_network_comes_back(study):
    run = next(study.glob("method=gpm*"))
    names: dict = {}
    exec(BLOCKS[0].replace("runs/digits/RUN", str(run)), names)
    assert names["network"](torch.zeros(1, 1, 8, 8)).shape == (1, 10)


def test_the_guard_in_a_plain_loop_keeps_the_first_task():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.ReLU(), torch.nn.Linear(30, 3))
    tasks = [(torch.rand(200, 20) * (torch.rand(20) < 0.4), torch.randint(3, (200,))) for _ in range(3)]

    leaks = []

    def train(model, optimizer, images, labels):
        for _ in range(60):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        leaks.append(max(names["guard"].leaks().values()))

    code = BLOCKS[1]
    lines = [line for line in code.split("guard = ")[1].split("\n") if line.strip()]
    assert len(lines) < 10
    names = {"torch": torch, "model": model, "tasks": tasks[:1], "train": train}
    exec(code, names)
    first = model(tasks[0][0]).detach()
    # A second pass through the loop with the same guard: its body alone.
    body = code[code.index("for images, labels in tasks:") :]
    exec(body, names | {"tasks": tasks[1:]})
    with torch.no_grad():
        kept = float((model(tasks[0][0]) - first).norm() / first.norm())
    assert len(leaks) == 3 and max(leaks) <= 1e-6 and kept < 0.5


def test_networks_are_compared_from_plain_arrays_without_the_training_side():
    rng = np.random.default_rng(0)
    names: dict = {"networks": {str(seed): rng.standard_normal((12, 30)) for seed in range(3)}}
    names |= {"grey": rng.random(66), "shape": rng.random(66)}
    exec(BLOCKS[2], names)
    assert names["consistency"].between_networks(names["rdms"]).networks == 3
    assert names["found"].intervals().shape == (2, 2) and names["found"].compare("t").adjusted.shape == (2, 2)
    program = (
        "import sys; from orthotrace.analysis import inference, networks, rdm, similarity; from orthotrace.analysis.rdm import compare, mds, rdms; from orthotrace.analysis.studies import consistency; from orthotrace.analysis.networks import storage;"
        "print([name for name in ('pytorch_lightning', 'hydra', 'wandb', 'omegaconf') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_measure_of_ones_own_is_short_and_keeps_what_it_declares():
    code = BLOCKS[3]
    names: dict = {"np": np}
    exec(code, names)
    names["test_what_rv2_declares"]()
    body = code[code.index("@declare") : code.index("def test_")]
    assert len([line for line in body.split("\n") if line.strip()]) < 15
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 10)), rng.standard_normal((40, 300))
    # Independent representations of many features: the plain RV coefficient, linear CKA, is far from 0.
    from orthotrace.analysis.similarity import linear_cka

    assert abs(names["rv2"](x, y)) < 0.1 < 0.4 < linear_cka(x, y) and names["rv2"](x, x) == pytest.approx(1)


def test_the_speeds_are_those_that_were_measured():
    root = Path(__file__).parents[1]
    for line in (root / "scripts" / "results" / "benchmark_rsa.jsonl").read_text().strip().split("\n"):
        record = json.loads(line)
        if record["peer"].startswith("rsatoolbox"):
            ratio = record["peer_over_ours"]
            assert f"| {ratio:.1f} |" in README or f"| {ratio:.0f} |" in README


def test_every_option_is_in_the_table():
    table = README[README.index("| group | options | keys |") :]
    for folder in conf_folder().iterdir():
        if folder.is_dir():
            (row,) = [line for line in table.split("\n") if line.startswith(f"| `{folder.name}` |")]
            for file in folder.glob("*.yaml"):
                assert f"`{file.stem}`" in row
