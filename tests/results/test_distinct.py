"""A network counts once, however often its run lies there."""

from __future__ import annotations

import json
import shutil

import pytest
from conftest import TINY
from omegaconf import OmegaConf

from orthotrace.results.comparisons import comparisons
from orthotrace.results.distinct import distinct
from orthotrace.results.groups import groups
from orthotrace.results.run_folder import Run, find


def written(run: Run, changes: dict) -> None:
    """Change the configuration of a run, as a run with other keys would have it."""
    config = OmegaConf.load(run.hydra / "config.yaml")
    for key, value in changes.items():
        OmegaConf.update(config, key, value)
    (run.hydra / ".sha256").unlink(missing_ok=True)
    (run.hydra / "config.yaml").write_text(OmegaConf.to_yaml(config))


@pytest.fixture
def copied(study, tmp_path):
    """The runs of gpm, and one of them once more."""
    for seed in (0, 1, 2):
        shutil.copytree(next(study.glob(f"method=gpm*seed={seed}*")), tmp_path / "runs" / f"study{seed}")
    shutil.copytree(tmp_path / "runs" / "study0", tmp_path / "runs" / "pilot")
    return tmp_path / "runs"


# Key -> value: what does not decide the weights, and what may.
WITHOUT = {
    "name": "pilot",
    "trainer.save_every": 3,
    "overwrite": True,
    "init_from": "elsewhere",
    "logger.mode": "offline",
    "seed": 0.0,
}
WITH = {
    "init_digest": "abc",
    "trainer.batch_size": 64,
    "optimizer.lr": 0.3,
    "stream.tasks": 3,
    "trainer.max_epochs": 2,
    "method.energy": 0.5,
    "dataset.limit": 9,
}


@pytest.mark.parametrize("change", WITHOUT)
def test_what_decides_no_weight_makes_no_other_network(copied, change):
    written(Run(copied / "pilot"), {change: WITHOUT[change]})
    kept, others = distinct(find(copied))
    assert [run.folder.name for run in kept] == ["pilot", "study1", "study2"]
    assert others == {str(copied / "study0"): str(copied / "pilot")}
    (group,) = groups(find(copied))
    assert len(group.runs) == 3


@pytest.mark.parametrize("change", WITH)
def test_what_may_decide_a_weight_makes_another(copied, change):
    written(Run(copied / "pilot"), {change: WITH[change]})
    assert len(distinct(find(copied))[0]) == 4


def test_a_folder_that_is_given_twice_is_one(copied):
    kept, others = distinct([Run(copied / "pilot"), Run(copied / "pilot")])
    assert len(kept) == 1 and not others


def test_statistics_are_those_of_the_distinct_runs(copied, study, tmp_path, analyze):
    for name in ("finetune", "gpm"):
        for path in study.glob(f"method={name}*"):
            shutil.copytree(path, tmp_path / "all" / path.name)
    before = comparisons(groups(find(tmp_path / "all")))
    shutil.copytree(copied / "pilot", tmp_path / "all" / "pilot")
    assert comparisons(groups(find(tmp_path / "all"))) == before
    found = []
    for folder in (study, tmp_path / "all"):
        answer = analyze(f"runs={folder}", f"out={tmp_path}/out", "where.method=gpm", "layers=[relu1]")
        assert answer.code == 0, answer.err
        found.append(json.loads((tmp_path / "out" / "results.json").read_text()))
    assert answer.out.count("not counted: ") == 1 and "the same network as" in answer.out
    one, two = ([(row["pairs"], row["mean"], row["low"]) for row in results["consistency"]] for results in found)
    assert one == two and len(one[0][0]) == 3 and found[1]["scores"]["gpm"]["acc"] == found[0]["scores"]["gpm"]["acc"]


def test_a_seed_given_twice_is_one_run(train, tmp_path):
    answer = train("--multirun", *TINY, "method=finetune", "seed=7,7,7.0", "hydra.sweep.dir=all")
    assert answer.code == 0, answer.err
    assert len(groups(find(tmp_path / "all"))[0].runs) == 1
    assert "│ finetune │ 1 " in answer.out
    assert "finetune & 1 &" in (tmp_path / "all" / "summary.tex").read_text()


def test_a_prefix_makes_no_other_run(train, tmp_path):
    keys = (
        "++seed=0",
        "seed=0",
        "++stream.tasks=2",
        "+trainer.limit_test_batches=1.0",
        "++trainer.limit_test_batches=1.0",
    )
    rest = [one for one in TINY if not one.startswith("stream.tasks")]
    for number, given in enumerate(
        ((keys[0], "stream.tasks=2", keys[3]), (keys[1], keys[2], keys[4]), (keys[1], "stream.tasks=2", keys[3]))
    ):
        answer = train(*rest, *given, "name=x")
        assert answer.code == 0, answer.err
        assert ("is finished" in answer.out) == (number > 0)
    assert len(find(tmp_path / "runs")) == 1


def test_tables_on_paper_and_on_the_screen_are_of_the_same_runs(train, tmp_path):
    for seed in (0, 1):
        answer = train("--multirun", *TINY, "method=finetune", f"seed={seed}", "hydra.sweep.dir=all")
    assert "│ finetune │ 2 " in answer.out and "all runs in all" in answer.out
    text = (tmp_path / "all" / "summary.tex").read_text()
    assert "finetune & 2 &" in text and "all runs in all" in text
