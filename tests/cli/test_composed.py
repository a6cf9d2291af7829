"""What is checked before anything is removed, and what the check does not import."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from conftest import TINY, snapshot, surroundings

HEAVY = ("torch", "pytorch_lightning", "lightning_fabric")


@pytest.fixture
def run(study, tmp_path):
    """A finished run."""
    shutil.copytree(next(study.glob("method=gpm*seed=0*")), tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    "overrides",
    [
        *([f"overwrite={word}"] for word in ("no", "null", "1")),
        *(
            pytest.param([f"overwrite={word}"], marks=pytest.mark.whole)
            for word in ("off", "n", "never", "'\"false\"'", "abc")
        ),
        *(
            ["overwrite=true", bad]
            for bad in (
                "optimizer.lr=nan", "optimizer.lr=fast", "optimizer.momentum=-1", "optimizer.weight_decay=inf",
                "regularizer.l1=nan", "stream.input_noise=inf", "trainer.gradient_clip_val=-1", "~trainer.max_epochs",
                "+optimizer.dampenin=0", "model._target_=orthotrace.models.mlp.MLPP",
            )
        ),
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_is_refused_leaves_a_finished_run_as_it_is(train, run, overrides):
    before = snapshot(run)
    key = overrides[-1].lstrip("+~").partition("=")[0]
    answer = train(*TINY, "method=gpm", "seed=0", "hydra.run.dir=run", *overrides)
    assert answer.code == 2 and answer.err.startswith(f"error: {key}: "), answer.err
    assert answer.err.count("\n") == 1 and len(answer.err) < 400
    assert snapshot(run) == before


def test_a_refused_run_leaves_no_folder(train, tmp_path):
    assert train(*TINY, "stream.tasks=abc", "hydra.run.dir=a/b").code == 2
    assert train("--multirun", *TINY, "stream.tasks=2,abc", "hydra.sweep.dir=c/d").code == 2
    assert not list(tmp_path.iterdir())


def imported(program: str, *arguments: str, cwd) -> tuple[list[str], str]:
    """The heavy packages that a command has imported, and what it said."""
    code = f"import sys; from {program} import main; main(); print('|', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True, env=surroundings()
    )
    assert done.returncode == 0, done.stderr
    said, _, modules = done.stdout.partition("|")
    return [name for name in HEAVY if name in modules.split()], said


def test_finished_runs_and_the_parent_of_a_multirun_import_nothing_heavy(study, tmp_path):
    shutil.copytree(study, tmp_path / "all")
    jobs = ("--multirun", *TINY, "method=finetune,gpm", "seed=0,1", "hydra.sweep.dir=all")
    found, said = imported("orthotrace.cli.train", *jobs, cwd=tmp_path)
    assert said.count("is finished") == 4 and found == []
