"""docs/howto/any_network.md: its networks compared by its commands and by its code."""

from __future__ import annotations

import importlib
import json
import sys

import numpy as np
import pytest
import torch
from pages import blocks, commands

from orthotrace.analysis import compare_networks

PAGE = "docs/howto/any_network.md"
NETWORKS, CODE = blocks(PAGE, "python")
LISTED, SAVED, VIT, PRETRAINED = blocks(PAGE, "yaml")


@pytest.fixture
def mynets(tmp_path, monkeypatch):
    """The files of the page, with weights that were not trained."""
    (tmp_path / "mynets.py").write_text(NETWORKS)
    (tmp_path / "networks.yaml").write_text(LISTED)
    (tmp_path / "weights").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "mynets", raising=False)
    module = importlib.import_module("mynets")
    for name in ("wide", "deep"):
        for seed in range(2):
            torch.manual_seed(seed)
            network = getattr(module, name.capitalize())()
            torch.save(network.state_dict(), tmp_path / "weights" / f"{name}-{seed}.pt")
    yield module
    monkeypatch.delitem(sys.modules, "mynets", raising=False)


def test_the_user_writes_few_lines():
    listed, loop = (len(text.strip().splitlines()) for text in (LISTED, CODE))
    assert listed + loop < 15 and listed + len(commands(PAGE)[:1]) < 15


def test_two_architectures_by_the_command_and_in_python(mynets, analyze, tmp_path, capsys):
    (first, *_) = commands(PAGE)
    answer = analyze(*first[1:], "stimuli.per_class=3")
    assert answer.code == 0, answer.err
    assert "report: networks/report.html" in answer.out and answer.out.count("no training scores") == 1
    page = (tmp_path / "networks" / "report.html").read_text()
    assert "no training scores" in page and "mynets.Wide" in page and "Scores" not in page
    names: dict = {}
    exec(CODE.replace('out="networks"', "per_class=3, formats=[]"), names)
    by_python, (pair,) = names["found"].results, names["found"].results["between"]
    assert by_python["layers"] == ["2", "3", "1", "5"]
    assert (pair["group"], pair["other"], pair["pairs"]) == ("wide", "deep", 4)
    # By hand, of the first of each.
    model = mynets.Wide()
    model.load_state_dict(torch.load(tmp_path / "weights" / "wide-0.pt", weights_only=True))
    hidden = torch.relu(model[1](names["found"].stimuli.images.flatten(1))).double().detach().numpy()
    expected = (1 - np.corrcoef(hidden))[np.triu_indices(30, 1)]
    rdms = names["found"].rdms["wide-0"]
    assert np.allclose(rdms.dissimilarities[0], expected, atol=1e-6)


def test_activations_on_disk_as_the_page_has_them(mynets, analyze, tmp_path):
    from safetensors.numpy import save_file

    (tmp_path / "saved").mkdir()
    (tmp_path / "activations.yaml").write_text(SAVED)
    rng = np.random.default_rng(0)
    for kind in ("relu", "tanh"):
        for seed in range(2):
            save_file(
                {"conv": rng.random((9, 3, 2)), "fc": rng.random((9, 4))}, tmp_path / f"saved/{kind}-{seed}.safetensors"
            )
    np.save(tmp_path / "labels.npy", np.arange(9) % 3)
    command = next(words for words in commands(PAGE) if "networks=activations.yaml" in words)
    answer = analyze(*command[1:])
    assert answer.code == 0, answer.err
    assert "read from files of activations" in (tmp_path / "activations" / "report.html").read_text()


def test_a_network_of_hugging_face(analyze, tmp_path, monkeypatch):
    """A tiny one that is made here: nothing is downloaded."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import transformers
    from omegaconf import OmegaConf

    (tmp_path / "vit.yaml").write_text(VIT)
    (node,) = OmegaConf.to_container(OmegaConf.create(VIT))
    config = {key: value for key, value in node["model"]["config"].items() if key != "_target_"}
    for seed in range(2):
        torch.manual_seed(seed)
        network = transformers.ViTForImageClassification(transformers.ViTConfig(**config))
        (tmp_path / "pretrained").mkdir(exist_ok=True)
        torch.save(network.state_dict(), tmp_path / "pretrained" / f"{seed}.pt")
    command = next(words for words in commands(PAGE) if "networks=vit.yaml" in words)
    answer = analyze(*command[1:], "stimuli.per_class=2", "formats=[]")
    assert answer.code == 0, answer.err
    assert "torchvision" not in sys.modules
    results = json.loads((tmp_path / "vit" / "results.json").read_text())
    assert results["layers"] == [f"vit.layers.{number}.mlp.fc2" for number in (0, 1)]
    assert len(results["consistency"]) == 2 and results["networks"] == 2
    # The last of them by the way of the library.
    network.save_pretrained(tmp_path / "pretrained" / "0")
    (entry,) = OmegaConf.to_container(OmegaConf.create(PRETRAINED))
    # (Of the classifier's two outputs all correlations are 1 or -1: for some images all alike.)
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = compare_networks({"read": entry, "made": network}, images, layers=["vit.layers.1.mlp.fc2"])
    assert found.results["between"][0]["similarity"][0][0] == pytest.approx(1, abs=1e-6)
