"""How degenerate layers are, from networks to numbers, figures and report."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from given_networks import LABELS, images
from torch import nn

from orthotrace.analysis import compare_networks
from orthotrace.analysis.networks.activations import activations
from orthotrace.analysis.similarity import effective_rank, silent_share, unit_overlap


def network(seed: int, dead: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 9), nn.ReLU(), nn.Linear(9, 5))
    with torch.no_grad():
        model[1].weight[:dead] = 0
        model[1].bias[:dead] = -1
    return model


def entries(dead: int = 0, tasks: int = 1) -> list[dict]:
    return [
        {"model": network(10 * task + seed, dead), "columns": {"seed": seed, "task": task}}
        for seed in range(3)
        for task in range(1, tasks + 1)
    ]


@pytest.mark.parametrize("dead", [0, 3])
def test_each_layer_by_its_activations_and_its_weights(dead):
    rows = compare_networks(entries(dead), images(), LABELS, formats=[], degeneracy=True).results["degeneracy"]
    found = {(one["layer"], one["quantity"]): one for one in rows}
    assert set(found) == {
        *((layer, of) for layer in ("2", "3") for of in ("activation_rank", "silent")),
        *((layer, of) for layer in ("1", "3") for of in ("weight_rank", "overlap")),
    }
    seen = [dict(activations(network(10 + seed, dead).eval(), images(), ["2", "3"])) for seed in range(3)]
    weights = [network(10 + seed, dead)[1].weight.detach().numpy() for seed in range(3)]
    for key, expected in {
        ("2", "activation_rank"): [effective_rank(of["2"], centre=True) / 9 for of in seen],
        ("3", "activation_rank"): [effective_rank(of["3"], centre=True) / 5 for of in seen],
        ("2", "silent"): [silent_share(of["2"]) for of in seen],
        ("1", "weight_rank"): [effective_rank(of) / 9 for of in weights],
        ("1", "overlap"): [unit_overlap(of) for of in weights],
    }.items():
        one = found[key]
        assert one["values"] == pytest.approx(expected, rel=1e-6) and one["mean"] == pytest.approx(np.mean(expected))
        assert one["low"] <= one["mean"] <= one["high"]
    assert min(found["2", "silent"]["values"]) >= dead / 9
    assert 0 < found["1", "weight_rank"]["mean"] <= 1 - dead / 9


def test_figures_and_the_report_over_tasks(tmp_path):
    found = compare_networks(
        entries(tasks=2), images(), LABELS, tasks="all", degeneracy=True, out=tmp_path, formats=["svg"],
        figures=["degeneracy-*"],
    )  # fmt: skip
    names = {"degeneracy-activation_rank", "degeneracy-silent", "degeneracy-weight_rank", "degeneracy-overlap"}
    assert {path.stem for path in (tmp_path / "figures").glob("*.svg")} == names
    assert {one["task"] for one in found.results["degeneracy"]} == {1, 2}
    page = (tmp_path / "report.html").read_text()
    assert "<h2>Degeneracy of layers</h2>" in page and "After task 2" in page
    assert "After task 2" in page and "activation rank" in (tmp_path / "tables" / "degeneracy.tex").read_text()
    # Asked for no more, it is in no figure, table or number.
    compare_networks(entries(tasks=2), images(), LABELS, tasks="all", out=tmp_path, formats=["svg"])
    assert "degeneracy" not in json.loads((tmp_path / "results.json").read_text())
    assert not [*(tmp_path / "figures").glob("degeneracy*"), *(tmp_path / "tables").glob("degeneracy*")]


def test_activations_alone_have_no_weights():
    of = [
        {"activations": {"fc": np.random.default_rng(seed).random((12, 6))}, "columns": {"seed": seed}}
        for seed in (0, 1)
    ]
    rows = compare_networks(of, formats=[], degeneracy=True).results["degeneracy"]
    assert {one["quantity"] for one in rows} == {"activation_rank", "silent"}


def test_layers_without_an_rdm_are_told_too():
    of = entries()
    with torch.no_grad():
        of[0]["model"][1].weight.zero_()
        of[0]["model"][1].bias.fill_(-1)
    rows = compare_networks(of, images(), LABELS, formats=[], degeneracy=True).results["degeneracy"]
    found = {(one["layer"], one["quantity"]): one["values"] for one in rows}
    assert found["2", "silent"][0] == 1 and found["2", "activation_rank"][0] == 0 == found["1", "weight_rank"][0]
    assert all(len(values) == 3 for values in found.values())


def test_fewer_stimuli_than_units_and_layers_before_their_nonlinearity():
    shown = images()[:6]
    of = entries()
    rows = compare_networks(of, shown, LABELS[:6], formats=[], read="pre", degeneracy=True).results["degeneracy"]
    (found,) = (one for one in rows if (one["layer"], one["quantity"]) == ("1", "activation_rank"))
    before = [dict(activations(one["model"].eval(), shown, ["1"], read="pre"))["1"] for one in of]
    # 6 stimuli about their mean reach in 5 directions at most.
    assert found["values"] == pytest.approx([effective_rank(one, centre=True) / 5 for one in before])


class Kinds(nn.Module):
    """An embedding, a recurrent layer and a transposed convolution beside what is read."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.tokens, self.cell = nn.Embedding(5, 4), nn.LSTM(4, 3, batch_first=True)
        self.turned = nn.ConvTranspose2d(4, 6, 2, groups=2)
        self.fc = nn.Linear(16, 5)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.fc(inputs.flatten(1))


def test_weights_of_other_layers_are_units_by_inputs():
    of = [{"model": Kinds(seed), "columns": {"seed": seed}} for seed in range(2)]
    rows = compare_networks(of, images(), LABELS, formats=[], degeneracy=True).results["degeneracy"]
    found = {one["layer"]: one["values"] for one in rows if one["quantity"] == "overlap"}
    assert set(found) == {"cell.weight_ih_l0", "cell.weight_hh_l0", "turned", "fc"}
    # (in, out / groups, kernel) -> a row for each output, of the inputs of its group.
    weight = Kinds(0).turned.weight.detach()
    units = torch.stack([weight[2 * group : 2 * group + 2, unit].flatten() for group in range(2) for unit in range(3)])
    assert found["turned"][0] == pytest.approx(unit_overlap(units))
    assert found["cell.weight_ih_l0"][1] == pytest.approx(unit_overlap(Kinds(1).cell.weight_ih_l0.detach()))
