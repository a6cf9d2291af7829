"""The tables of concept layers: made from tiny runs, and as committed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
TINY = (
    "dataset=digits", "dataset.limit=40", "method=finetune", "model=convnet", "model.channels=[4,8]", "trainer.max_epochs=1",
    "trainer.batch_size=32", "seed=0,1",
)  # fmt: skip
CONCEPTS = ("concepts=strokes", "concepts.layer=bn2", "concepts.sets.attributes=[thick,one hole]", "concepts.every=4")


@pytest.fixture
def concepts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import concepts

    return concepts


def finish(concepts, name, monkeypatch) -> dict:
    """What a script's last command writes, in the folder of the runs."""
    Path("docs").mkdir()
    Path("scripts").mkdir()
    monkeypatch.setattr(sys, "argv", ["concepts.py", name])
    concepts.main()
    return json.loads(Path(f"scripts/results/{name}.json").read_text())


@pytest.mark.filterwarnings("ignore:.*the mean features of")
def test_a_comparison_with_batch_normalisation(concepts, train, monkeypatch, capsys):
    common = ("--multirun", "name=concepts_mnist", "stream=split", "stream.tasks=1", "stream.scenario=class", *TINY)
    assert train(*common).code == 0
    assert train(*common, *CONCEPTS).code == 0
    found = finish(concepts, "concepts_mnist", monkeypatch)
    assert found["layer"] == "bn2" and found["concepts"] == ["thick", "one hole"]
    for kind in ("cw", "bn"):
        of = found["kinds"][kind]
        assert of["seeds"] == [0, 1] and len(set(of["accuracy"])) == 2
        assert np.shape(of["filter"]) == np.shape(of["probe"]) == (2, 2)
    assert "axis" not in found["kinds"]["bn"] and np.shape(found["kinds"]["cw"]["axis"]) == (2, 2)
    assert np.shape(found["fit"]["axis"]) == (2, 2) and np.allclose(
        found["fit"]["before"], found["kinds"]["bn"]["accuracy"], atol=1e-4
    )
    assert np.allclose(found["fit"]["after"], found["fit"]["before"], atol=0.01)
    low, high = np.moveaxis(found["kinds"]["cw"]["axis_interval"], 2, 0)
    assert (low <= found["kinds"]["cw"]["axis"]).all() and (high >= found["kinds"]["cw"]["axis"]).all()
    assert {path.name for path in Path("docs/figures").glob("[!.]*")} == {
        f"concepts_mnist_{what}.png" for what in ("purity", "separability", "images")
    }
    printed = capsys.readouterr().out
    for line in concepts.compared_table(found):
        assert line in printed
    assert f"| thick | {concepts.cell([row[0] for row in found['kinds']['cw']['axis']])} |" in printed


@pytest.mark.whole
@pytest.mark.filterwarnings("ignore:.*the mean features of")
def test_drift_of_every_method(concepts, train, monkeypatch):
    common = ("--multirun", "name=concept_drift", "stream.tasks=2", *TINY, *CONCEPTS)
    assert train(*common).code == 0
    assert train(*common, "method=gpm", "method.energy=.6").code == 0
    found = finish(concepts, "concept_drift", monkeypatch)
    assert list(found["methods"]) == ["finetune", "gpm"]
    for of in found["methods"].values():
        assert np.shape(of["purity"]) == np.shape(of["angle"]) == (2, 2, 2)
        assert np.max(np.abs(np.array(of["angle"])[:, 0])) == 0
    assert [path.name for path in Path("docs/figures").glob("[!.]*")] == ["concept_drift_purity.png"]
    lines = concepts.drift_table(found)
    means = np.mean(found["methods"]["gpm"]["purity"], axis=2)
    assert lines[3].endswith(f"| {concepts.cell(means[:, 0].tolist())} | {concepts.cell(means[:, 1].tolist())} |")


def test_the_tables_of_the_page_are_those_of_the_results(concepts, monkeypatch):
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "results" / "concepts.md").read_text()
    for name in ("concepts_mnist", "concepts_cifar10", "concept_drift"):
        for line in concepts.table(name):
            assert line in page
    kinds = json.loads(Path("scripts/results/concepts_mnist.json").read_text())["kinds"]
    assert kinds["cw"]["seeds"] == kinds["bn"]["seeds"] == [0, 1, 2, 3, 4]


def test_protected_methods_keep_what_the_first_task_named():
    methods = json.loads((ROOT / "scripts/results/concept_drift.json").read_text())["methods"]
    kept = {name: np.mean(of["purity"], axis=2) for name, of in methods.items()}
    for name in ("gpm", "hlop"):
        assert kept[name].shape == (3, 5) and (kept[name][:, :1] - kept[name]).mean(axis=0).max() < 0.05
    assert (kept["finetune"][:, 0] - kept["finetune"][:, -1] > 0.1).all()
