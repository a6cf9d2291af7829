"""The part of make clusters that CI runs where Slurm and munge are installed: a run of two tasks of a real srun."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from orthotrace.results.run_folder import Run


def test_two_tasks_of_srun_train_one_run(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "scripts")
    from slurm_node import missing, slurm

    if lacking := missing():
        pytest.skip(f"needs slurm-wlm and munge: there is no {', '.join(lacking)}")
    words = ("method=gpm", "stream.tasks=2", "model.hidden=[24]", "trainer.max_epochs=1", "trainer.devices=2")
    program = str(Path(sys.executable).with_name("orthotrace-train"))
    # Its path holds a socket, and is short.
    with tempfile.TemporaryDirectory(prefix="ot") as folder, slurm(Path(folder)) as variables:
        done = subprocess.run(
            ["srun", "--ntasks=2", "--kill-on-bad-exit", program, *words, "trainer.accelerator=cpu",
             "hydra.run.dir=run"],
            cwd=tmp_path, env={**os.environ, **variables}, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sum(line.startswith("ACC ") for line in done.stdout.splitlines()) == 1
    run = Run(tmp_path / "run")
    assert run.finished and run.scores["machine"]["devices"] == 2
