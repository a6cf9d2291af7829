"""Consistency where dropout is drawn at test too, from networks to numbers, figure and report."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from given_networks import LABELS, Flat, images
from torch import nn

from orthotrace.analysis import compare_networks
from orthotrace.analysis.studies import dropout
from orthotrace.analysis.studies.consistency import between_networks
from orthotrace.analysis.studies.dropout import DropoutSampling
from orthotrace.core.errors import UserError


def networks(kind: str = "dropped", rate: float = 0.4) -> list[dict]:
    entries = []
    for seed in range(3):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 9), nn.ReLU(), nn.Dropout(rate), nn.Linear(9, 5))
        entries.append({"model": model, "columns": {"kind": kind, "seed": seed}})
    return entries


def compared(of, samples=4, average="activations", **options):
    options = {"formats": [], "dropout": DropoutSampling(samples, average), **options}
    return compare_networks(of, images(), LABELS, **options)


@pytest.mark.parametrize("average", ["activations", "rdms"])
def test_consistency_by_the_number_of_masks(average):
    found = compared(networks(), average=average)
    rows = found.results["dropout"]
    assert [(one["layer"], one["samples"]) for one in rows] == [
        ("2", 1),
        ("4", 1),
        ("2", 2),
        ("4", 2),
        ("2", 4),
        ("4", 4),
    ]
    plain = {one["layer"]: one["pairs"] for one in found.results["consistency"]}
    # What stands before the dropout is as it was.
    assert all(one["pairs"] == pytest.approx(plain["2"]) for one in rows if one["layer"] == "2")
    assert all(one["pairs"] != plain["4"] for one in rows if one["layer"] == "4")
    assert found.results["options"]["dropout"] == {"samples": 4, "average": average, "seed": 0}
    assert rows == compared(networks(), average=average).results["dropout"]


def test_rdms_are_those_of_each_network_and_are_found_again(tmp_path, monkeypatch):
    from orthotrace.analysis.networks.masks import averaged_rdms

    made = []

    def noted(run, *of):
        for count, rdms in averaged_rdms(run, *of):
            made.append((run.name, count, rdms["4"]))
            yield count, rdms

    monkeypatch.setattr(dropout, "averaged_rdms", noted)
    entries = [
        {"model": {"_target_": "torch.nn.Sequential", "_args_": [
            {"_target_": "torch.nn.Flatten"}, {"_target_": "torch.nn.Linear", "in_features": 16, "out_features": 9},
            {"_target_": "torch.nn.ReLU"}, {"_target_": "torch.nn.Dropout", "p": 0.4},
            {"_target_": "torch.nn.Linear", "in_features": 9, "out_features": 5}]}, "columns": {"seed": seed}}
        for seed in range(3)
    ]  # fmt: skip
    first = compared(entries, 2, out=tmp_path / "out").results
    rdms = [rdm for _, count, rdm in made if count == 2]
    assert len(made) == 6
    (row,) = (one for one in first["dropout"] if (one["layer"], one["samples"]) == ("4", 2))
    assert row["pairs"] == pytest.approx(between_networks(np.stack(rdms)).pairs)
    # One more mask is one more pass of each; nothing else changes.
    assert compared(entries, 2, out=tmp_path / "out").results == first and len(made) == 6
    assert compared(entries, 3, out=tmp_path / "out").results["dropout"][:4] == first["dropout"] and len(made) == 15
    assert json.loads((tmp_path / "out" / "results.json").read_text())["dropout"][:4] == json.loads(
        json.dumps(first["dropout"])
    )


def test_groups_without_dropout_are_left_out_of_it_and_none_is_an_error():
    torch.manual_seed(0)
    plain = [{"model": Flat(), "columns": {"kind": "plain", "seed": seed}} for seed in range(2)]
    found = compared([*networks(), *plain]).results
    assert {one["method"] for one in found["dropout"]} == {"dropped"}
    with pytest.raises(UserError, match="dropout.samples: no network has dropout"):
        compared([*networks(rate=0.0), *plain])


def test_figure_table_and_report_say_what_was_averaged(tmp_path):
    compared(networks(), average="rdms", out=tmp_path, formats=["svg"], figures=["dropout"])
    page = (tmp_path / "report.html").read_text()
    assert "RDMs are averaged, one of each mask" in page and "<h2>Dropout at test</h2>" in page
    said = (tmp_path / "figures" / "dropout.csv").read_text().splitlines()
    assert said[0] == "method,layer,samples,mean,low,high,read" and len(said) == 7
    assert "dropped & 4 & " in (tmp_path / "tables" / "dropout.tex").read_text()
    compared(networks(), out=tmp_path, formats=["svg"], figures=["dropout"])
    assert "activations are averaged over masks before the RDM is made" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("samples", "counts"), [(None, []), (1, [1]), (2, [1, 2]), (8, [1, 2, 4, 8]), (10, [1, 2, 4, 8, 10])]
)
def test_numbers_of_masks(samples, counts):
    assert DropoutSampling(samples).counts == counts
