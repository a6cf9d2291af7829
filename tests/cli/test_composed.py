"""What is checked before anything is removed, and what the check does not import."""

from __future__ import annotations

import copy
import functools
import shutil
import subprocess
import sys

import pytest
from bad_configurations import Case, answer
from composed import composed
from conftest import TINY, snapshot, surroundings
from omegaconf import OmegaConf

from orthotrace.cli.composed import check_composed
from orthotrace.cli.train import assemble
from orthotrace.core.errors import UserError
from orthotrace.results.run_folder import Run

HYDRA = OmegaConf.create(
    {"runtime": {"choices": {"method": "finetune", "stream": "permuted"}}, "overrides": {"task": []}}
)
composed_once = functools.cache(lambda: composed("method=finetune"))
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
    # What is seen only when it is built, once Hydra has made the folders.
    assert train(*TINY, "dataset=folder", "dataset.path=nowhere", "name=typo").code == 2
    assert not list(tmp_path.iterdir())
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    assert train(*TINY, "dataset=folder", "dataset.path=nowhere", "name=typo").code == 2
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["mine"]


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


@pytest.mark.parametrize(
    "group", ["dataset", "stream", "model", "method", "scheduler", "regularizer", "augmentation", "logger"]
)
def test_what_makes_something_else_is_named(tmp_path, group):
    """As a function of the user's own does that returns something else."""
    config = copy.deepcopy(composed_once())
    config[group] = {"_target_": "builtins.dict"}
    with pytest.raises(UserError) as error:
        assemble(config, Run(tmp_path), HYDRA)
    assert error.value.key == f"{group}._target_" and error.value.message.startswith("makes a dict, and no ")


@pytest.mark.parametrize("name", ["..", "../a", "a/../../b", " "])
def test_the_folder_of_runs_is_not_left_by_a_name(name):
    config = copy.deepcopy(composed_once())
    config.name = name
    with pytest.raises(UserError, match=r"^name: is the name of a folder below runs/"):
        check_composed(config, HYDRA, "train", whole=False)
    config.name = "paper/a..b"
    check_composed(config, HYDRA, "train", whole=False)


def test_a_key_of_lightning_s_is_no_typo():
    said = answer(Case("train", (), "trainer.max_steps", "valid", 3))
    assert (
        said
        == "error: trainer.max_steps: is none of ours; write +trainer.max_steps=VALUE to give it to Lightning's trainer\n"
    )
