"""Commands and run folders of version 0.1: tests/runs_of_0_1 was written by its code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from orthotrace.config.build import build
from orthotrace.config.folder_names import differences, relevant
from orthotrace.config.renamed import _MOVED, current, original
from orthotrace.results.run_folder import Run, load

OLD = Path(__file__).parents[1] / "runs_of_0_1"
FINISHED, STOPPED = sorted(OLD.glob("method=*"))
# The accuracies to which the code of 0.1 itself continued the stopped run.
CONTINUED = json.loads((OLD / "continued.json").read_text())


@pytest.mark.parametrize(("old", "new"), _MOVED.items())
def test_each_name_leads_to_a_module_of_now_and_back(old, new):
    assert original(f"{new}.x") == f"{old}.x"
    if old != "entry.Multirun":
        assert current(f"{old}.x") == f"{new}.x"
    assert find_spec(new if not new.endswith("Multirun") else new.rpartition(".")[0])


@pytest.mark.parametrize("name", ["torch.optim.SGD", "my.analysis.rdm.x", "orthotrace.training.schedules.Step", "relu"])
def test_other_names_stay(name):
    assert current(name) == name


def test_a_users_own_analysis_keeps_its_name(tmp_path):
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "rdm.py").touch()
    program = (
        "from orthotrace.config.renamed import current; print(current('analysis.rdm.f'), current('analysis.mds.f'))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["analysis.rdm.f", "orthotrace.analysis.rdm.mds.f"]


def test_old_targets_are_built_and_are_no_difference():
    old, new = (
        OmegaConf.create({"rate": 0.5, "a": [{"b": {"_target_": name, "every": 2, "gamma": "${rate}"}}]})
        for name in ("orthotrace.schedules.Step", "orthotrace.training.schedules.Step")
    )
    before = OmegaConf.to_container(old)
    assert type(build(old, "a")[0]["b"]).__module__ == "orthotrace.training.schedules"
    assert OmegaConf.to_container(old) == before
    assert differences(relevant(old), relevant(new)) == []


@pytest.mark.parametrize("folder", [FINISHED, STOPPED], ids=["finished", "stopped"])
def test_old_networks_come_back(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    if last.is_file():
        last.rename(last.with_name("task1.ckpt"))
    assert load(tmp_path / "run")(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


@pytest.mark.parametrize("folder", [FINISHED, STOPPED], ids=["finished", "stopped"])
def test_the_same_command_finds_its_folder_and_continues(train, tmp_path, folder):
    overrides = [str(one) for one in OmegaConf.load(folder / ".hydra" / "overrides.yaml")]
    there = tmp_path / "runs" / "study" / folder.name
    shutil.copytree(folder, there)
    answer = train(*overrides)
    assert answer.code == 0 and str(there) in answer.out, answer.err
    assert ("is finished" if folder == FINISHED else "continued") in answer.out
    run = Run(there)
    assert run.finished
    if folder == STOPPED:
        # Other kernels round otherwise, and a few of the 360 images change sides.
        assert np.array(run.scores["accuracy"]) == pytest.approx(np.array(CONTINUED), abs=0.05)
