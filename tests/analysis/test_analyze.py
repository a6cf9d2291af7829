"""The analysis from end to end, and every mistake with it."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, snapshot

from analysis.compare import consistency
from analysis.rdm import correlation
from analysis.storage import read_rdms

FIGURES = ("accuracy", "capacity", "consistency", "matrices", "mds", "rdms")


@pytest.fixture(scope="session")
def analysed(study, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("analysed") / "out"
    program = Path(sys.executable).with_name("orthotrace-analyze")
    done = subprocess.run([program, f"runs={study}", f"out={out}", "tasks=all"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"report: {out}/report.html" in done.stdout and "finetune" in done.stdout
    return out


def test_a_folder_holds_what_is_promised(analysed):
    found = {str(path.relative_to(analysed)) for path in analysed.rglob("*") if path.is_file()}
    figures = {f"figures/{name}.{kind}" for name in FIGURES for kind in ("pdf", "svg", "png", "csv")}
    rest = {name for name in found - figures if not name.startswith("rdms/")}
    assert figures <= found
    assert rest == {"report.html", "results.json", "tables/scores.tex", "tables/consistency.tex"}
    assert len([name for name in found if name.endswith(".safetensors")]) == 8 * 2


def test_numbers_are_those_of_the_networks(analysed, study):
    """From the networks to the consistency by another way."""
    import torch

    import orthotrace
    from orthotrace.data.sources import digits

    results = json.loads((analysed / "results.json").read_text())
    test = digits().test
    index = torch.cat([(test.labels == label).nonzero().flatten()[:20] for label in range(10)])
    images = test.inputs(index)
    rdms = []
    for seed in range(3):
        model = orthotrace.load(next(study.glob(f"method=gpm*seed={seed}*")), task=1)
        with torch.no_grad():
            hidden = model.relu1(model.fc1(images.flatten(1)))
        rdms.append(1 - np.corrcoef(hidden.double().numpy())[np.triu_indices(200, 1)])
    (found,) = [
        one for one in results["consistency"] if (one["method"], one["task"], one["layer"]) == ("gpm", 1, "relu1")
    ]
    expected = [np.corrcoef(rdms[i], rdms[j])[0, 1] ** 2 for i, j in ((0, 1), (0, 2), (1, 2))]
    assert found["pairs"] == pytest.approx(expected, abs=1e-6)
    assert found["mean"] == pytest.approx(np.mean(expected), abs=1e-6)
    assert found["interval"] == "jackknife" and found["networks"] == 3
    assert results["stimuli"]["count"] == 200


def test_rdms_on_disk_are_what_was_compared(analysed):
    results = json.loads((analysed / "results.json").read_text())
    stacks = []
    for run in results["runs"]["gpm"]:
        rdms, about = read_rdms(analysed / "rdms" / f"{run}-task2.safetensors")
        assert about["stimuli"] == results["stimuli"]["sha256"] and about["task"] == 2
        stacks.append(rdms["head"])
    (found,) = [
        one for one in results["consistency"] if (one["method"], one["task"], one["layer"]) == ("gpm", 2, "head")
    ]
    assert found["pairs"] == pytest.approx(consistency(stacks)[np.triu_indices(3, 1)].tolist(), abs=1e-12)
    assert correlation(np.eye(3)).shape == (3,)


def test_figures_come_with_their_numbers_and_repeat_byte_for_byte(analysed, study, analyze, tmp_path):
    with (analysed / "figures" / "accuracy.csv").open() as file:
        rows = list(csv.DictReader(file))
    results = json.loads((analysed / "results.json").read_text())
    (last,) = [row for row in rows if row["method"] == "gpm" and row["task"] == "2" and row["panel"].startswith("Mean")]
    assert float(last["mean"]) == pytest.approx(np.mean(results["scores"]["gpm"]["acc"]))
    answer = analyze(f"runs={study}", f"out={tmp_path / 'again'}", "tasks=all")
    assert answer.code == 0, answer.err
    assert snapshot(tmp_path / "again") == snapshot(analysed)


def test_two_networks_have_one_pair_and_no_interval(analysed):
    results = json.loads((analysed / "results.json").read_text())
    hlop = [one for one in results["consistency"] if one["method"] == "hlop"]
    assert all(one["interval"] == "none" and one["low"] is None and len(one["pairs"]) == 1 for one in hlop)


def test_filters_and_one_seed_alone(analyze, study, tmp_path):
    answer = analyze(f"runs={study}", f"out={tmp_path}/out", "where.method=hlop", "where.seed=0", "layers=[head]")
    assert answer.code == 0, answer.err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(results["runs"]) == ["hlop"] and results["consistency"] == [] and results["layers"] == ["head"]
    assert "nothing to compare" in (tmp_path / "out" / "report.html").read_text()
    assert not (tmp_path / "out" / "figures" / "consistency.png").exists()


BAD = {
    "runs=nowhere": "there is no folder nowhere",
    "runs=empty": "empty holds no runs",
    "runs=foreign": "foreign holds no runs",
    "where.method=hlpo": "where.method: no run has hlpo; there are: finetune, gpm, hlop",
    "+where.model.depth=3": "where.model.depth: no run has this key",
    "layers=relu1": "layers: input should be a valid list (got 'relu1')",
    "where.metod=hlop": "where.metod: no such key; did you mean 'where.method'?",
    "tasks=some": "tasks: last, all or a list",
    "tasks=[9]": "tasks: ",
    "layers=[fc9]": "layers: ",
    "stimuli.classes=[3]": "stimuli.classes: stimuli of at least two classes are needed",
    "stimuli.per_class=0": "stimuli.per_class: input should be greater than or equal to 1",
    "stimuli.task=x": "stimuli.task: input should be a valid integer",
    "stimuli.task=2": "method",
    "interval.resamples=-5": "interval.resamples: input should be greater than or equal to 100",
    "+foo=1": "foo: no such key",
    "logger=wandbb": "logger=wandbb: no such option",
    "out=/dev/null/x": "cannot write /dev/null/x",
}


@pytest.mark.parametrize("override", BAD)
def test_a_mistake_is_one_line(analyze, study, tmp_path, override):
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").write_text("mine")
    before = snapshot(tmp_path)
    runs = [] if override.startswith("runs=") else [f"runs={study}"]
    out = [] if override.startswith(("runs=", "out=")) else [f"out={tmp_path}/out"]
    answer = analyze(*runs, *out, override)
    assert answer.code == 2
    assert len(answer.err.strip().split("\n")) == 1
    assert answer.err.startswith(f"error: {BAD[override]}"), answer.err
    assert snapshot(tmp_path) == before and (tmp_path / "empty").is_dir()


def test_runs_must_be_given(analyze):
    answer = analyze()
    assert answer.code == 2 and "runs" in answer.err and len(answer.err.strip().split("\n")) == 1


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
    assert not (tmp_path / "study" / "analysis").exists()


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


def test_an_analysis_goes_to_wandb(analyze, study, tmp_path):
    answer = analyze(f"runs={study}", f"out={tmp_path}/out", "where.method=gpm", "logger=wandb_offline", "name=mine")
    assert answer.code == 0, answer.err
    from test_train import inspect

    (file,) = (tmp_path / "out").glob("wandb/offline-run-*/*.wandb")
    content = inspect(file)
    assert content["job_type"] == "analyse" and content["group"] == "mine"
    row = {key: value for told in content["history"] for key, value in told.items()}
    assert row["figures/accuracy._type"] == "image-file"
    assert 0 <= row["consistency/gpm/task2/relu1"] <= 1
