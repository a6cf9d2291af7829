"""No command destroys a run, and nothing damaged is believed: by the commands."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from conftest import TINY, snapshot
from damage import cases, damage
from omegaconf import OmegaConf

from orthotrace.analysis.cli import measures_of, references_of
from orthotrace.analysis.networks.runs import select
from orthotrace.core.errors import UserError
from orthotrace.results.groups import failures, groups
from orthotrace.results.run_folder import Run, find, read_checkpoint

HERE = (*TINY, "method=finetune", "hydra.run.dir=run")
READ = ("scores.json", ".hydra/config.yaml", ".hydra/overrides.yaml")


@pytest.fixture
def two(study, tmp_path) -> Path:
    """Two runs of one group."""
    for seed in (0, 1):
        shutil.copytree(next(study.glob(f"method=gpm*seed={seed}*")), tmp_path / "two" / str(seed))
    return tmp_path / "two"


@pytest.mark.parametrize("name", READ)
def test_no_damage_to_what_tells_runs_apart_is_believed(two, name):
    """Named by the summary and left out; named by an analysis, which stops."""
    path = two / "0" / name
    content, (group,) = path.read_bytes(), groups(find(two))
    for kind, seed in cases(flips=12, cuts=2):
        assert damage(path, kind, seed, two / "1" / name)
        named = failures(find(two))
        assert list(named) == ["0"] and (path.name in named["0"] or named["0"] == "not finished")
        left = [run for run in find(two) if run.folder.name not in named]
        assert [one.label for one in groups(left)] == [group.label]
        if named["0"] != "not finished":
            with pytest.raises(UserError, match=path.name):
                groups(select(str(two), {}))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def test_a_whole_configuration_that_is_removed_is_named(two, train):
    shutil.rmtree(two / "0" / ".hydra")
    assert [run.folder.name for run in find(two)] == ["0", "1"]
    assert "config.yaml is missing" in failures(find(two))["0"]
    before = snapshot(two)
    answer = train(*TINY, "method=gpm", f"hydra.run.dir={two}/0")
    assert answer.code == 2 and answer.err.count("\n") == 1 and "config.yaml is missing; put a good copy" in answer.err
    assert "overwrite=true; still usable: scores.json, checkpoints/last.ckpt" in answer.err
    assert snapshot(two) == before


def test_a_damaged_configuration_is_no_other_configuration(train, two):
    for kind, seed in cases(flips=1, cuts=0):
        path = two / "0" / ".hydra" / "config.yaml"
        content = path.read_bytes()
        damage(path, kind, seed, two / "1" / ".hydra" / "config.yaml")
        answer = train(*TINY, "method=gpm", f"hydra.run.dir={two}/0")
        assert answer.code == 2 and answer.err.count("\n") == 1, answer.err
        assert f"config.yaml is {'missing' if kind == 'missing' else 'damaged'}" in answer.err
        assert "still usable: scores.json" in answer.err and "another configuration" not in answer.err
        path.write_bytes(content)
    # Of an older version, without digests: cut between two keys.
    (path.parent / ".sha256").unlink()
    path.write_bytes(content[: content.index(b"trainer:")])
    answer = train(*TINY, "method=gpm", f"hydra.run.dir={two}/0")
    assert answer.code == 2 and "config.yaml is damaged: it has no trainer; put a good copy" in answer.err


@pytest.mark.parametrize("content", [None, b"{", b"{}", b'"x"'])
def test_damaged_scores_are_written_again_and_kept(train, two, content):
    run = Run(two / "0")
    scores = run.scores
    damage(run.scores_file, "flip", 0)
    if content is not None:
        # As in a run of an older version.
        run.scores_file.write_bytes(content)
        (run.folder / ".sha256").unlink()
    damaged = run.scores_file.read_bytes()
    with pytest.warns(UserWarning, match=r"scores\.json is damaged: it is written again from the checkpoints"):
        assert train(*TINY, "method=gpm", f"hydra.run.dir={two}/0").code == 0
    # Written in another folder than the first time, by other code maybe.
    told = {"commit": scores["commit"]}
    assert {**Run(two / "0").scores, **told} == scores and (run.folder / "scores.damaged.json").read_bytes() == damaged


@pytest.mark.parametrize("override", ["optimizer.lr=1e18 trainer.save_every=0", "model.hidden=[-1]"])
def test_an_old_run_is_given_back_where_nothing_comes_of_the_new_one(train, tmp_path, override):
    assert train(*HERE).code == 0
    before = snapshot(tmp_path)
    answer = train(*HERE, *override.split(" "), "trainer.max_epochs=2", "overwrite=true")
    assert answer.code == 2 and answer.err.count("\n") == 1
    assert snapshot(tmp_path) == before
    again = train(*HERE)
    assert again.code == 0 and "is finished" in again.out


def test_an_old_run_is_given_back_after_a_kill_and_gone_after_a_checkpoint(train, tmp_path):
    """What a kill leaves behind is built here; that a kill at any step leaves nothing else is in test_replaced."""
    assert train(*HERE).code == 0
    old = read_checkpoint(Path("run/checkpoints/last.ckpt"))["state_dict"]
    before = snapshot(tmp_path / "run")
    (tmp_path / "run" / ".replaced").mkdir()
    for name in ("scores.json", "metrics.csv", "checkpoints", ".hydra", ".sha256"):
        os.replace(tmp_path / "run" / name, tmp_path / "run" / ".replaced" / name)
    (tmp_path / "run" / "scores.json").write_text("of the new run")
    assert not find_or_none(tmp_path)
    answer = train(*HERE)
    assert answer.code == 0 and "is finished" in answer.out and snapshot(tmp_path / "run") == before
    assert train(*HERE, "seed=5", "overwrite=true").code == 0
    new = read_checkpoint(Path("run/checkpoints/last.ckpt"))["state_dict"]
    assert not torch.equal(old["model.fc1.weight"], new["model.fc1.weight"])
    assert set(snapshot(tmp_path / "run")) == set(before)


def find_or_none(folder: Path) -> list[Run]:
    try:
        return find(folder)
    except UserError:
        return []


def test_a_second_command_in_a_folder_stops_and_marks_nothing(train, tmp_path, monkeypatch):
    import fcntl

    def taken(*_):
        raise BlockingIOError

    monkeypatch.setattr(fcntl, "lockf", taken)
    answer = train(*HERE)
    assert answer.code == 2 and answer.err.count("\n") == 1 and "run is in use by another process" in answer.err
    answer = train("--multirun", *TINY, "method=finetune", "hydra.sweep.dir=all")
    assert answer.code == 1 and "is in use" in answer.out and not list(tmp_path.rglob("failed.txt"))


@pytest.mark.parametrize("what", ["", "rdms"])
def test_an_analysis_whose_folder_is_removed_stops(analyze, study, tmp_path, monkeypatch, what):
    from orthotrace.analysis.figures import study as figures
    from orthotrace.analysis.report import report

    # Drawn elsewhere: it takes seconds.
    monkeypatch.setattr(figures, "draw", lambda *_: ({}, None))
    whole = report.latex

    def removing(table):
        shutil.rmtree(tmp_path / "out" / what, ignore_errors=True)
        return whole(table)

    monkeypatch.setattr(report, "latex", removing)
    answer = analyze(f"runs={study}", f"out={tmp_path}/out", "where.method=hlop", "stimuli.per_class=2")
    assert answer.code == 2 and answer.err.count("\n") == 1 and "was removed while it was written to" in answer.err
    assert not (tmp_path / "out" / what).exists()


@pytest.mark.parametrize("name", ["a/b", "../b", "a\\b", "a\0b"])
def test_names_do_not_lead_out_of_the_folder(name):
    with pytest.raises(UserError, match=r"becomes part of the names of files: write it without slashes"):
        measures_of(OmegaConf.create({"measures": {name: {"_target_": "orthotrace.analysis.similarity.cka"}}}))
    with pytest.raises(UserError, match=r"becomes part of the names of files"):
        references_of({name: {"path": "x.npy"}})
