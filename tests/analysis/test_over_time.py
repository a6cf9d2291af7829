"""The command on spiking networks over time: windows, distances of spike trains, figures, and what is refused."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from conftest import TINY, called, made_once
from given_networks import LABELS, images
from torch import nn

from orthotrace.analysis import compare_networks
from orthotrace.analysis.networks.activations import activations
from orthotrace.analysis.networks.runs import select, stimuli_of, stream_of
from orthotrace.analysis.networks.storage import read_rdms
from orthotrace.analysis.rdm.dissimilarity import MEASURES
from orthotrace.analysis.rdm.spike_trains import van_rossum
from orthotrace.analysis.settings import Settings
from orthotrace.analysis.similarity import linear_cka
from orthotrace.analysis.studies.dropout import DropoutSampling
from orthotrace.analysis.studies.forgetting import forgetting
from orthotrace.core.errors import UserError
from orthotrace.layers import spiking


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="session")
def spikes(tmp_path_factory):
    """A folder of runs: spiking networks of three steps and ordinary ones, two seeds each."""

    def make(folder):
        from orthotrace.cli.train import main

        own = (f"hydra.sweep.dir={folder}", *TINY, "model.hidden=[8]", "method=finetune", "seed=0,1")
        spiking_ones = ("model=spiking_mlp", "model.learning=bptt", "model.steps=3", "model.threshold=.3")
        called(main, "--multirun", *spiking_ones, *own)
        called(main, "--multirun", "model=mlp", *own)

    return made_once(tmp_path_factory, "spikes", make)


ONLY = "+where.model.steps=3"


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_windows_by_the_command_in_numbers_and_figures(analyze, spikes, tmp_path):
    keys = (f"runs={spikes}", "out=out", "stimuli.per_class=3", "spikes.windows=2", "tasks=all")
    answer = analyze(*keys, "formats=[png]", "figures=[windows,activity]")
    assert answer.code == 0, answer.err
    results = results_of(tmp_path / "out")
    assert results["options"]["spikes"] == {"windows": 2, "tau": 2, "cost": 0.5}
    # Ordinary networks are the same at all times.
    assert results["layers"] == ["relu1", "relu1@1-2", "relu1@3", "head", "head@1-2", "head@3"]
    layers = {}
    for one in results["consistency"]:
        layers.setdefault(one["method"], []).append(one["layer"])
    assert sorted(layers.values()) == [["relu1", "head"] * 2, ["relu1@1-2", "relu1@3", "head@1-2", "head@3"] * 2]
    assert {"relu1@3", "head@1-2"} <= {one["layer"] for one in results["rdm_drift"]}
    assert ["relu1@1-2", "relu1@3", "head@1-2", "head@3"] in [one["layers"] for one in results["correspondence"]]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Spiking networks are read in 2 windows of time" in page and "over time, after task 2" in page
    drawn = rows_of(tmp_path / "out" / "figures" / "windows.csv")
    assert [list(map(row.get, ("layer", "first", "last"))) for row in drawn[:4]] == [
        ["relu1", "1", "2"], ["relu1", "3", "3"], ["head", "1", "2"], ["head", "3", "3"],
    ]  # fmt: skip
    means = {method: [row["mean"] for row in drawn if row["method"] == method][:2] for method in layers}
    assert sorted(len(set(of)) for of in means.values()) == [1, 2] and len(drawn) == 8
    (method,) = {row["method"] for row in rows_of(tmp_path / "out" / "figures" / "activity.csv")}
    assert len(layers[method]) == 8


def test_rdms_of_spike_trains_by_the_command(analyze, spikes, tmp_path):
    answer = analyze(
        f"runs={spikes}", ONLY, "out=out", "stimuli.per_class=3", "rdm=van_rossum", "spikes.tau=3", "spikes.windows=2"
    )
    assert answer.code == 0, answer.err
    run = select(str(spikes), {"model": {"steps": 3}})[0]
    shown = stimuli_of(run, None, 3, None).images
    trains = dict(activations(run.network(2), shown, ["relu1"], spikes=True))["relu1"]
    found = read_rdms(tmp_path / "out" / "rdms" / f"{run.folder.name}-task2.safetensors")
    np.testing.assert_allclose(found.subset(name="relu1@1-2").dissimilarities[0], van_rossum(trains[:, :2], 3.0))
    results = results_of(tmp_path / "out")
    assert results["measure"] == found.measure == "van_rossum (tau 3)"
    # Of the readout's currents there are no spikes, and of spike trains no means: the first is said.
    assert results["layers"] == ["relu1@1-2", "relu1@3"] and results["centroid_consistency"] == []
    assert {(one["layer"], one["why"][:19]) for one in results["left_out"]} == {
        ("head@1-2", "it gives no spikes,"), ("head@3", "it gives no spikes,"),
    }  # fmt: skip


def test_the_default_says_nothing_of_spikes_and_what_it_kept_stays(analyze, spikes, tmp_path):
    keys = (f"runs={spikes}", "out=out", "stimuli.per_class=3", ONLY)
    assert analyze(*keys, "spikes.tau=9").code == 0
    assert "spikes" not in results_of(tmp_path / "out")["options"]
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / ".kept").glob("*.safetensors")}
    assert analyze(*keys, "spikes.windows=3").code == 0
    there = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / ".kept").glob("*.safetensors")}
    assert kept.items() <= there.items() and len(there) == 2 * len(kept) == 4
    assert Settings({"rdm": "correlation"}, MEASURES["correlation"]).called == "correlation"


def test_forgetting_is_taken_apart_window_by_window(spikes):
    run = select(str(spikes), {"model": {"steps": 3}})[0]
    found = {one.layer: one for one in forgetting(run, ["relu1"], 4, windows=3) if (one.task, one.after) == (2, 2)}
    assert list(found) == ["relu1@1", "relu1@2", "relu1@3", "head"]
    assert len({one.diagnosis.refitted for one in found.values()}) > 1
    # At its inputs the readout is the network's own: it answers as the whole network does.
    test = stream_of(run).task(1).test
    shown = torch.cat([(test.labels == label).nonzero().flatten()[:4] for label in test.labels.unique()])
    right = run.network(2)(test.take(shown).inputs()).argmax(1) == test.labels[shown]
    assert found["head"].diagnosis.before == pytest.approx(right.float().mean().item())


MISTAKES = {
    ("rdm=van_rossum",): "rdm: van_rossum compares spike trains, and ",
    ("spikes.windows=4",): "spikes.windows: of 3 steps there are at most 3 windows (got 4)",
    ("spikes.windows=1.5",): "spikes.windows: input should be a valid integer",
    (ONLY, "spikes.windows=2", "layers=[relu1@1-3]"): "layers: ",
}


@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_mistakes_are_one_line_and_leave_nothing(analyze, spikes, tmp_path, words):
    answer = analyze(f"runs={spikes}", f"out={tmp_path}/out", "stimuli.per_class=3", *words)
    assert answer.code == 2 and answer.err.startswith(f"error: {MISTAKES[words]}"), answer.err
    assert len(answer.err.strip().split("\n")) == 1
    assert not (tmp_path / "out" / "rdms").exists() and not (tmp_path / "out" / ".kept").exists()


def networks(steps: int | None = 4, seeds: int = 2, dropout: float = 0.0) -> list[dict]:
    entries = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        layers = [nn.Flatten(), nn.Linear(16, 9), nn.ReLU(), nn.Dropout(dropout), nn.Linear(9, 5)]
        model = nn.Sequential(*layers)
        model = model if steps is None else spiking(model, steps, threshold=0.2)
        entries.append({"model": model, "columns": {"kind": f"{steps} steps", "seed": seed}})
    return entries


def compared(of, **options):
    return compare_networks(of, images(), LABELS, formats=[], **options)


def test_activations_are_compared_window_by_window_too():
    of = networks()
    found = compared([*of, *networks(None)], windows=2, measures={"cka": linear_cka}).results
    rows = {(one["method"], one["layer"]): one["mean"] for one in found["similarity"]}
    assert list(rows) == [
        *(("4 steps", f"{n}@{w}") for n in "24" for w in ("1-2", "3-4")),
        *(("None steps", n) for n in "24"),
    ]
    one, two = (dict(activations(each["model"].eval(), images(), windows=2)) for each in of)
    for window in ("2@1-2", "4@3-4"):
        expected = linear_cka(one[window].double(), two[window].double())
        assert rows["4 steps", window] == pytest.approx(expected)
    (pair,) = (each for each in found["between"] if each["measure"] == "cka")
    assert pair["layers"] == ("2@1-2", "2@3-4", "4@1-2", "4@3-4") and pair["others"] == ("2", "4")


def test_layers_of_other_names_have_windows_under_the_common_one():
    of = [{**one, "layers": {"hidden": "2"}} for one in networks()]
    assert compared(of, windows=2).results["layers"] == ["hidden@1-2", "hidden@3-4"]
    assert compared(networks(), windows=2, layers=["2@3-4"]).results["layers"] == ["2@3-4"]


def test_distances_of_spike_trains_are_averaged_over_dropout_masks():
    sampling = DropoutSampling(2, "rdms")
    rows = compared(networks(dropout=0.4), rdm="victor_purpura", dropout=sampling).results["dropout"]
    assert [(one["layer"], one["samples"]) for one in rows] == [("2", 1), ("2", 2)]
    rows = compared(networks(dropout=0.4), windows=2, dropout=sampling).results["dropout"]
    assert [one["layer"] for one in rows] == ["2@1-2", "2@3-4", "4@1-2", "4@3-4"] * 2


@pytest.mark.parametrize(
    ("of", "options", "line"),
    [
        ([*networks(), *networks(6)], {"windows": 2}, "4 steps-0 has 4 steps and 6 steps-0 6: windows are of networks"),
        (
            [*networks(), {**networks(6)[0], "columns": {"kind": "4 steps", "seed": 2}}],
            {"windows": 2},
            "layer 2 of 4 steps-0 has the windows @1-2 @3-4, of 4 steps-2 @1-3 @4-6",
        ),
        (networks(None), {"windows": 2}, "spikes.windows: no network spikes"),
        (networks(), {"rdm": "van_rosum"}, "rdm: there is no measure 'van_rosum'; did you mean 'van_rossum'?"),
        (
            networks(dropout=0.5),
            {"rdm": "van_rossum", "dropout": DropoutSampling(2)},
            "dropout.average: a mean of spike trains is none",
        ),
        (networks(), {"windows": 0}, "windows: a whole number of at least 1 is needed"),
        (networks(), {"rdm": "van_rossum", "tau": 0}, "tau: a number of steps above 0 is needed"),
        (networks(), {"rdm": "victor_purpura", "cost": -1}, "cost: a cost of at least 0 is needed"),
        ([{"activations": np.ones((12, 3, 2)), "name": n} for n in "ab"], {"rdm": "van_rossum"}, "rdm: van_rossum"),
    ],
)
def test_what_cannot_be_compared_over_time(of, options, line):
    shown = {"labels": LABELS} if "activations" in of[0] else {"stimuli": images(), "labels": LABELS}
    with pytest.raises(UserError, match=line):
        compare_networks(of, formats=[], **shown, **options)
