"""Every mistake with orthotrace-analyze is one line."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest
from conftest import TINY, made_once, snapshot
from own_measures import MINE

from orthotrace.results.run_folder import find

BAD = {
    "runs=nowhere": "there is no folder nowhere",
    "runs=empty": "empty holds no runs",
    "runs=foreign": "foreign holds no runs",
    "where.method=hlpo": "where.method: no run has hlpo; there are: finetune, gpm, hlop",
    "+where.model.depth=3": "where.model.depth: no run has this key",
    "layers=relu1": "layers: input should be a valid list (got 'relu1')",
    "read=after": "read: input should be 'post', 'pre' or 'module' (got 'after')",
    "layers=[relu1:2]": "layers: ",
    "where.metod=hlop": "where.metod: no such key; did you mean 'where.method'?",
    "tasks=some": "tasks: input should be 'last' or 'all' or a valid integer or a valid list",
    "tasks=[9]": "tasks: ",
    "layers=[fc9]": "layers: ",
    "layers=['rleu*']": "layers: ",
    "networks=a.yaml": "runs: give runs or networks",
    "groups=[method]": "groups: groups of runs are what their configurations differ in; this is for networks=FILE.yaml",
    "dataset=digits": "dataset: runs show the images of their data set; this is for networks=FILE.yaml",
    "stimuli.path=images": "stimuli.path: runs show the images of their data set; this is for networks=FILE.yaml",
    "stimuli.classes=[3]": "stimuli.classes: stimuli of at least two classes are needed",
    "stimuli.per_class=0": "stimuli.per_class: input should be greater than or equal to 1",
    "stimuli.task=x": "stimuli.task: input should be a valid integer",
    "stimuli.task=2": "method",
    "interval.resamples=-5": "interval.resamples: input should be greater than or equal to 100",
    "+foo=1": "foo: no such key",
    "concepts=none": "concepts: has keys of its own: write concepts.KEY=..., where KEY is one of images",
    "memory=8": "memory: input should be a valid string",
    "memory=8gigs": "memory: '8gigs' is no size: write one such as 8GB",
    "memory=1MB": "memory: the process takes ",
    "interval=none": "interval: has keys of its own: write interval.KEY=...",
    "rdm=corelation": "rdm: there is no measure 'corelation'; did you mean 'correlation'",
    "rdm=nowhere.measure": "rdm: 'nowhere.measure' cannot be imported: there is no module 'nowhere' (looked for in /",
    "rdm=orthotrace.analysis.rdm.dissimilarity.corelation": "rdm: there is no function 'corelation' in orthotrace.analysis.rdm.dissimilarity; did you mean 'correlation'",
    "rdm=minemeasures.constant": "rdm: ",
    "rdm=minemeasures.single": "rdm: ",
    "+measures.mine._target_=minemeasures.nothing": "measures.mine: layer relu1: the measure must give one number",
    "+measures.mine._target_=minemeasures.broken": "measures.mine: layer relu1: KeyError: 'key'",
    "measures.mine._target_=minemeasures.nothing": "measures.mine._target_: no such key; it is yours to name: write +m",
    "+references.brain.path=constant.npy": "references.brain: RDM 0 of constant.npy is constant",
    "+measures.mine=cka": "measures.mine: write +measures.mine._target_=package.function",
    "+measures.mine._target_=nowhere.cka": "measures.mine._target_: 'nowhere.cka' cannot be found: there is no module 'nowhere' (",
    "+measures.mine._target_=builtins.divmod": "measures.mine: layer relu1: ",
    "+measures.mine._target_=minemeasures.no_number": "measures.mine: layer relu1: the measure gives nan",
    "+references.brain.kind=rdms": "references.brain: write +references.brain.path=FILE",
    "+references.brain.path=no.npy": "references.brain: there is no file no.npy",
    "+references.brain.path=brain.csv": "references.brain: brain.csv ends in none of .safetensors",
    "+references.brain={path:a.npy,method:pearsn}": "references.brain.method: there is no comparison 'pearsn'",
    "+references.brain={path:a.npy,method:norm_difference}": "references.brain.method: there is no comparison 'norm_",
    "+references.brain={path:a.npy,knd:rdms}": "references.brain.knd: ",
    "interval.stimuli=3": "interval.stimuli: input should be a valid boolean",
    "logger=wandbb": "logger=wandbb: no such option",
    "labels={gmp: GPM}": "labels: no group has 'gmp'; did you mean 'gpm'?",
    "labels={gpm: x, hlop: x}": "labels: 2 groups would be called 'x'",
    "labels={gpm: 3}": "labels.gpm: input should be a valid string (got 3)",
    "labels=gpm": "labels: ",
    "order=[hlpo]": "order: no group has 'hlpo'; did you mean 'hlop'?",
    "order=gpm": "order: input should be a valid list",
    "facets=stream.scenario": "facets: the groups do not differ in 'stream.scenario'",
    "facets=3": "facets: ",
    "out=/dev/null/x": "cannot write /dev/null/x",
}


@pytest.fixture(scope="session")
def few(study, tmp_path_factory):
    """Runs of every method, two of one: most mistakes are found when all have been read."""

    def make(folder):
        for run in find(study):
            if run.scores["seeds"]["init"] < (2 if run.scores["method"] == "gpm" else 1):
                shutil.copytree(run.folder, folder / run.folder.name)

    return made_once(tmp_path_factory, "few", make)


@pytest.mark.parametrize("override", BAD)
def test_a_mistake_is_one_line(analyze, few, tmp_path, override, monkeypatch):
    (tmp_path / "minemeasures.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    np.save(tmp_path / "constant.npy", np.ones(19900))
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").write_text("mine")
    before = snapshot(tmp_path)
    runs = [] if override.startswith("runs=") else [f"runs={few}"]
    out = [] if override.startswith(("runs=", "out=")) else [f"out={tmp_path}/out"]
    answer = analyze(*runs, *out, override)
    assert answer.code == 2
    assert len(answer.err.strip().split("\n")) == 1
    assert answer.err.startswith(f"error: {BAD[override]}"), answer.err
    assert snapshot(tmp_path) == before and (tmp_path / "empty").is_dir()


def test_runs_must_be_given(analyze):
    answer = analyze()
    assert answer.code == 2 and "runs" in answer.err and len(answer.err.strip().split("\n")) == 1


# Of networks that were not trained here; those of the list itself are in test_comparison.py.
OF_NETWORKS = {
    ("networks=no.yaml",): "networks: there is no file no.yaml",
    ("networks=[{model: torch.nn.Flatten}]",): "out: is missing; write out=FOLDER",
    ("networks=[{model: torch.nn.Flatten}]", "out=out"): "networks: there is one network only",
    ("networks=[{model: torch.nn.Flatten},{model: torch.nn.Flatten}]", "out=out"): "stimuli: Flatten needs some: dataset=NAME",
    ("networks=no.yaml", "where.seed=1"): "where.seed: this chooses runs; leave networks out of the list",
    ("networks=no.yaml", "epochs=all"): "epochs: this is for runs; networks that are given say by the column task",
    ("networks=no.yaml", "stimuli.task=1"): "stimuli.task: networks that are given have no stream of tasks",
    ("networks=x.yaml", "dataset=nothing"): "dataset=nothing: no such option",
}  # fmt: skip


@pytest.mark.parametrize("words", OF_NETWORKS, ids=" ".join)
def test_a_mistake_with_networks_is_one_line(analyze, tmp_path, words):
    answer = analyze(*words)
    assert answer.code == 2 and answer.err.startswith(f"error: {OF_NETWORKS[words]}"), answer.err
    assert len(answer.err.strip().split("\n")) == 1 and not list(tmp_path.iterdir())


def test_runs_without_checkpoints_and_damaged_ones_are_named(analyze, study, tmp_path):
    shutil.copytree(study, tmp_path / "study")
    run = next((tmp_path / "study").glob("method=gpm*seed=1*"))
    (run / "checkpoints" / "task2.ckpt").write_bytes(b"half")
    answer = analyze("runs=study")
    assert answer.code == 2 and f"{run.name}/checkpoints/task2.ckpt is damaged" in answer.err
    shutil.rmtree(run / "checkpoints")
    answer = analyze("runs=study")
    assert answer.code == 2 and f"{run.name} has no checkpoints" in answer.err
    (run / "scores.json").write_text("{")
    answer = analyze("runs=study")
    assert answer.code == 2 and f"{run.name}/scores.json is damaged" in answer.err
    # RDMs of the networks before the damaged one are kept for the next try, and nothing else.
    assert [path.name for path in (tmp_path / "study" / "analysis").iterdir()] == [".kept"]


def test_layers_that_do_not_match_name_both_runs(analyze, train, study, tmp_path):
    shutil.copytree(next(study.glob("method=gpm*seed=1*")), tmp_path / "all" / "one")
    assert train(*TINY[:2], "model.hidden=[40,40]", "hydra.run.dir=all/two").code == 0
    answer = analyze("runs=all")
    assert answer.code == 2
    assert "layers: the layers of two (relu1, relu2, head) and of one (relu1, head) do not match" in answer.err
    assert analyze("runs=all", "layers=[relu1]").code == 0


def test_stimuli_that_differ_between_seeds_are_refused(analyze, study, tmp_path):
    answer = analyze(f"runs={study}", f"out={tmp_path}/out", "stimuli.task=2")
    assert answer.code == 2 and "show different images" in answer.err
    assert analyze(f"runs={study}", f"out={tmp_path}/out", "stimuli.task=2", "where.seed=1").code == 0
