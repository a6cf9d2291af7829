"""What a sweep is chosen by, and its best as a file."""

from __future__ import annotations

import shlex
import shutil

import pytest
from omegaconf import OmegaConf

from orthotrace.cli.objective import as_experiment, check_objective, set_direction, value_of, write_best
from orthotrace.core.errors import UserError
from orthotrace.results.listed import Job
from orthotrace.results.run_folder import Run

SCORES = {"val_acc": 0.5, "acc": 0.25, "bwt": None, "seconds": [1.0, 2.5], "extra_memory_bytes": 7}
VALUES = [("val_acc", 0.5), ("seconds", 3.5), (["acc", "extra_memory_bytes"], (0.25, 7.0)), (["acc"], (0.25,)),
          ("bwt", None), (["acc", "bwt"], None), ("forgetting", None)]  # fmt: skip


@pytest.mark.parametrize(("objective", "value"), VALUES, ids=str)
def test_what_a_job_returns(objective, value):
    assert value_of(OmegaConf.create({"objective": objective}), SCORES) == value


BAD = [
    ({"objective": "val_acc", "stream": {"validation": 0}}, "val_acc needs images held out"),
    ({"objective": ["acc", "bwt"], "stream": {"tasks": 1}}, "bwt needs two tasks"),
]


@pytest.mark.parametrize(("config", "line"), BAD)
def test_an_objective_that_no_run_has(config, line):
    with pytest.raises(UserError, match=line):
        check_objective(OmegaConf.create(config))


DIRECTIONS = [("val_acc", None, "maximize"), ("seconds", None, "minimize"), ("acc", "minimize", "minimize"),
              (["val_acc", "forgetting"], None, ["maximize", "minimize"]), (["acc"], None, ["maximize"])]  # fmt: skip


@pytest.mark.parametrize(("objective", "given", "direction"), DIRECTIONS, ids=str)
def test_which_way_an_objective_is_better(objective, given, direction):
    config = OmegaConf.create({"hydra": {"sweeper": {"direction": given, "sampler": {"seed": None}}}})
    set_direction(config, OmegaConf.create({"objective": objective}))
    assert config.hydra.sweeper.direction == direction and config.hydra.sweeper.sampler.seed == 0


def test_a_direction_for_each_objective():
    config = OmegaConf.create({"hydra": {"sweeper": {"direction": "maximize"}}})
    with pytest.raises(UserError, match=r"one for each objective \(acc, seconds\)"):
        set_direction(config, OmegaConf.create({"objective": ["acc", "seconds"]}))


def jobs_of(study, **energies: float) -> list[Job]:
    """Runs of a study, as if those of a method had been of an energy."""
    return [
        Job(run, (f"method.energy={energy}", f"seed={seed}", "~model.mine" if energy < 0 else "stream.tasks=2"))
        for method, energy in energies.items()
        for seed in range(2)
        for run in study.glob(f"method={method}*seed={seed}*")
    ]


def test_the_best_setting_is_the_mean_over_seeds(study, tmp_path):
    jobs = jobs_of(study, finetune=0.5, gpm=0.75)
    means = {}
    for job in jobs:
        means.setdefault(job.overrides[0], []).append(Run(job.folder).scores["val_acc"])
    assert [len(values) for values in means.values()] == [2, 2]
    best = max(means, key=lambda one: sum(means[one]))
    line = write_best(tmp_path, jobs)
    assert line is not None and line.startswith("best by val_acc of 2 settings (") and f": {best}; train it" in line
    written = OmegaConf.load(tmp_path / "experiment" / "best.yaml")
    # The seeds were averaged over: none of them is the best.
    assert written == {"method": {"energy": float(best.partition("=")[2])}, "stream": {"tasks": 2}}


def test_a_setting_without_all_its_seeds_is_none(study, tmp_path):
    jobs = jobs_of(study, finetune=0.5, gpm=0.75)
    assert write_best(tmp_path, jobs[:3]) is None and not (tmp_path / "experiment").exists()


def test_methods_that_are_compared_have_no_best(study, tmp_path):
    jobs = [Job(job.folder, (f"method={place}", job.overrides[1])) for place, job in enumerate(jobs_of(study, gpm=0.5))]
    assert write_best(tmp_path, jobs) is None


def test_what_takes_a_key_away_is_told_without_a_file(study, tmp_path):
    line = write_best(tmp_path, jobs_of(study, finetune=-0.5, gpm=-0.75))
    assert line is not None and "best by" in line and "train it" not in line and not list(tmp_path.iterdir())


def test_overrides_as_an_experiment():
    given = ["optimizer=adam", "experiment=digits", "++model.mine='a b'", "seed=3", "hydra.job.chdir=false", "name=x",
             "stream.angles=[0,90]", "method.rank=null"]  # fmt: skip
    assert OmegaConf.create(as_experiment(given)) == {
        "defaults": ["digits", {"override /optimizer": "adam"}],
        "model": {"mine": "a b"},
        "seed": 3,
        "stream": {"angles": [0, 90]},
        "method": {"rank": None},
    }


def test_an_experiment_of_the_users_own_is_written_out(tmp_path):
    """Also one that is called best: in the folder of a further multirun it would name itself."""
    for name, text in {
        "mine": "defaults: [digits, {override /method: gpm}, _self_]\nmethod: {energy: 0.9}\nseed: 1",
        "best": "defaults: [mine, {override /optimizer: adam}]\nseed: 2\nmodel: {hidden: [24]}",
        # Ours goes before.
        "digits": "seed: 7",
    }.items():
        (tmp_path / "experiment").mkdir(exist_ok=True)
        (tmp_path / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\n{text}\n")
    assert OmegaConf.create(as_experiment(["experiment=best", "optimizer=sgd", "method.energy=0.5"], [tmp_path])) == {
        "defaults": ["digits", {"override /method": "gpm"}, {"override /optimizer": "sgd"}],
        "method": {"energy": 0.5},
        "seed": 2,
        "model": {"hidden": [24]},
    }


def test_how_to_train_the_best_can_be_typed(study, tmp_path):
    own = tmp_path / "own"
    (own / "optimizer").mkdir(parents=True)
    (own / "optimizer" / "mine.yaml").write_text("lr: 1")
    jobs = [
        Job(tmp_path / job.folder.name, (*job.overrides, "optimizer=mine"))
        for job in jobs_of(study, finetune=0.5, gpm=0.75)
    ]
    for job in jobs:
        shutil.copytree(study / job.folder.name, job.folder)
        hydra = OmegaConf.load(job.folder / ".hydra" / "hydra.yaml")
        hydra.hydra.runtime.config_sources.append({"path": str(own), "schema": "file", "provider": "command-line"})
        OmegaConf.save(hydra, job.folder / ".hydra" / "hydra.yaml")
    sweep = tmp_path / "two words"
    told = str(write_best(sweep, jobs)).partition("train it with ")[2]
    assert shlex.split(told) == [
        "--config-dir", str(sweep), "experiment=best", f"hydra.searchpath=[file://{own}]",
    ]  # fmt: skip
