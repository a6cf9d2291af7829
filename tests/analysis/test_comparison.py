"""Networks from elsewhere compared: what is found, what is kept, and every mistake in one line."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import snapshot
from given_networks import LABELS, NODE, Flat, N, Tied, activations, images, saved
from torch import nn

from orthotrace.analysis import compare_networks
from orthotrace.analysis.comparison import given_groups
from orthotrace.analysis.networks.forward import Forward
from orthotrace.analysis.networks.storage import read_rdms
from orthotrace.analysis.rdm import correlation
from orthotrace.analysis.rdm.compare import pearson, squared_pearson
from orthotrace.analysis.similarity import linear_cka
from orthotrace.core.errors import UserError

SHOWN = {"stimuli": images(), "labels": LABELS}
PLAIN = {"formats": []}


@pytest.fixture
def forwards(monkeypatch) -> list[int]:
    """The number of stimuli of each forward pass."""
    passes: list[int] = []
    run = Forward.run

    def counted(self, batch):
        passes.append(len(batch))
        return run(self, batch)

    monkeypatch.setattr(Forward, "run", counted)
    return passes


def test_numbers_are_those_of_the_networks(tmp_path):
    """Consistency in a group, and similarity between two of other architectures, by hand."""
    torch.manual_seed(5)
    deep = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.Tanh(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    entries = [*saved(tmp_path), {"model": deep, "columns": {"kind": "deep", "seed": 0}}]
    found = compare_networks(entries, **SHOWN, measures={"cka": linear_cka})
    order = [place for label in range(3) for place in range(N) if LABELS[place] == label]
    shown, by_hand = images()[order].flatten(1), {}
    for one in entries[:2]:
        model = Flat()
        model.load_state_dict(torch.load(one["weights"], weights_only=True))
        hidden = torch.relu(model.fc1(shown)).detach()
        by_hand[one["columns"]["seed"]] = {"fc1": hidden, "head": model.head(hidden).detach()}
    tanh = torch.tanh(deep[1](shown)).detach()
    consistency = {(one["method"], one["layer"]): one["mean"] for one in found.results["consistency"]}
    for layer in ("fc1", "head"):
        rdms = [correlation(by_hand[seed][layer].double()) for seed in range(2)]
        assert consistency["flat", layer] == pytest.approx(squared_pearson(rdms)[0, 1], abs=1e-6)
    rdm, cka = found.results["between"]
    assert (rdm["measure"], cka["measure"], rdm["pairs"], cka["pairs"]) == ("rdm", "cka", 2, 1)
    assert (rdm["group"], rdm["other"], rdm["layers"], rdm["others"]) == (
        "flat",
        "deep",
        ("fc1", "head"),
        ("2", "4", "5"),
    )
    own = correlation(tanh.double())
    pairs = [pearson(correlation(by_hand[seed]["fc1"].double())[None], own[None])[0, 0] for seed in range(2)]
    assert rdm["similarity"][0][0] == pytest.approx(np.mean(pairs), abs=1e-6)
    assert cka["similarity"][0][0] == pytest.approx(linear_cka(by_hand[0]["fc1"].double(), tanh.double()), abs=1e-6)
    assert found.report is None and deep.training and list(found.rdms) == ["flat-0", "flat-1", "deep-0"]


def test_activations_of_a_network_are_compared_as_the_network(tmp_path):
    """Also where their rows are sorted by class, and channels stand last."""
    from safetensors.torch import save_file

    entries = saved(tmp_path)
    live = compare_networks(entries, **SHOWN)
    for one in entries:
        model = Flat()
        model.load_state_dict(torch.load(one["weights"], weights_only=True))
        hidden = torch.relu(model.fc1(images().flatten(1))).detach()
        layers = {"fc1": hidden.view(N, 2, 3).transpose(1, 2).contiguous(), "head": model.head(hidden).detach()}
        save_file(layers, tmp_path / f"saved-{one['columns']['seed']}.safetensors")
    on_disk = [{"activations": tmp_path / "saved-{seed}.safetensors", "columns": {"kind": "flat"}}]
    found = compare_networks(on_disk, labels=LABELS)
    for key in ("consistency", "centroid_consistency"):
        for one, other in zip(live.results[key], found.results[key], strict=True):
            assert one["layer"] == other["layer"] and one["mean"] == pytest.approx(other["mean"], abs=1e-5)
    assert found.results["read"][0]["read"] == "file"
    # Beside a network: the same stimuli.
    both = compare_networks(
        [entries[0], {"activations": tmp_path / "saved-0.safetensors", "columns": {"kind": "disk", "seed": 0}}], **SHOWN
    )
    assert np.diag(both.results["between"][0]["similarity"]) == pytest.approx([1, 1], abs=1e-5)


def test_everything_is_written_and_said(tmp_path):
    entries = [*saved(tmp_path, kind="one"), *saved(tmp_path, kind="two")]
    found = compare_networks(entries, **SHOWN, out=tmp_path / "out", formats=["png"], measures={"cka": linear_cka})
    figures = {path.stem for path in (tmp_path / "out" / "figures").glob("*.png")}
    assert figures == {
        "rdms", "mds", "consistency", "centroids", "clustering", "correspondence", "similarity-cka", "layers", "layers-cka",
        "exemplars", "layer-similarity", "second-level", "images-one", "images-two",
    }  # fmt: skip
    page = found.report.read_text()
    assert page.count("no training scores") == 1 and "one-0.pt" in page and "test images" not in page
    assert "after task" not in page.replace("<th>after task</th>", "")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["scores"] == {} and [one["network"] for one in results["given"]] == [
        "one-0",
        "one-1",
        "two-0",
        "two-1",
    ]
    rdms = read_rdms(tmp_path / "out" / "rdms" / "two-1-task1.safetensors")
    assert rdms.descriptors["kind"] == "two" and rdms.descriptors["seed"] == 1


def test_files_of_something_else_are_not_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").write_text("mine")
    with pytest.raises(UserError, match=r"^out: .*out holds report\.html of something else"):
        compare_networks(saved(tmp_path, kind="one"), **SHOWN, out=tmp_path / "out", formats=[])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]


def test_layers_by_common_names_and_patterns(tmp_path):
    entries = saved(tmp_path)
    entries[1] |= {"model": nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.ReLU()), "layers": {"early": "2"}}
    del entries[1]["weights"]
    entries[0] |= {"layers": {"early": "fc?"}}
    found = compare_networks(entries, **SHOWN)
    assert found.results["layers"] == ["early"] and found.results["consistency"][0]["networks"] == 2
    assert compare_networks(saved(tmp_path), **SHOWN, layers=["f*"]).results["layers"] == ["fc1"]


def test_a_network_over_tasks_and_seeds_of_its_own(tmp_path):
    stages = [{**one, "columns": {"seed": 0, "task": task}} for task, one in enumerate(saved(tmp_path, 3))]
    (group,), _ = given_groups(stages)
    assert len(group.runs) == 1 and group.runs[0].tasks == [0, 1, 2]
    assert list(compare_networks(stages, **SHOWN, tasks="all").rdms) == [f"0-task{task}" for task in range(3)]
    # Untrained ones are drawn by their seed.
    drawn = [{"model": NODE, "columns": {"seed": seed}} for seed in (0, 1, 0)]
    first, second, third = compare_networks(drawn, **SHOWN).readings.networks
    assert np.array_equal(first.rdms["fc1"], third.rdms["fc1"]) and not np.array_equal(
        first.rdms["fc1"], second.rdms["fc1"]
    )


def test_tied_weights_may_have_one_name(tmp_path):
    torch.manual_seed(0)
    torch.save({"fc1.weight": torch.rand(16, 16)}, tmp_path / "tied.pt")
    entry = {"model": {"_target_": "given_networks.Tied"}, "weights": tmp_path / "tied.pt"}
    found = compare_networks([entry, {"model": Tied()}], **SHOWN)
    assert found.results["layers"] == ["fc1", "fc2"]


def test_what_was_stopped_goes_on_from_there(tmp_path, forwards, monkeypatch):
    entries, out = saved(tmp_path, 3), tmp_path / "out"
    whole = compare_networks(entries, **SHOWN)
    del forwards[:]
    from orthotrace.analysis.networks import kept, read

    made = read._reduce

    def killed(read_now, found, *others):
        if len(list(out.rglob(".kept/*.safetensors"))) == 2:
            raise KeyboardInterrupt
        return made(read_now, found, *others)

    with monkeypatch.context() as patch:
        patch.setattr(read, "_reduce", killed)
        with pytest.raises(KeyboardInterrupt):
            compare_networks(entries, **SHOWN, out=out, **PLAIN)
    before = {path: path.stat().st_mtime_ns for path in out.rglob(".kept/*.safetensors")}
    assert len(before) == 2
    del forwards[:]
    found = compare_networks(entries, **SHOWN, out=out, **PLAIN)
    # The third alone: a pass that is followed, and one that is read.
    assert forwards == [7, N]
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert found.results["consistency"] == whole.results["consistency"]
    # Nothing changed: nothing runs, and no more space is taken.
    del forwards[:]
    again = compare_networks(entries, **SHOWN, out=out, **PLAIN)
    assert not forwards and again.results == found.results
    assert all(path.stat().st_nlink == 2 for path in before)
    assert kept.FOLDER == ".kept"


# What decides an RDM, changed.
CHANGED = {
    "weights": {},
    "stimuli": {"stimuli": images() + 1},
    "classes": {"labels": [0, 1, 2, 3] * 3},
    "measure": {"rdm": "euclidean"},
    "read": {"read": "pre"},
    "layers": {"layers": ["head", "fc1"]},
}


@pytest.mark.parametrize("what", CHANGED)
def test_what_decides_an_rdm_makes_it_anew(tmp_path, forwards, what):
    entries, out = saved(tmp_path), tmp_path / "out"
    compare_networks(entries, **SHOWN, out=out, **PLAIN)
    if what == "weights":
        torch.manual_seed(9)
        for one in entries:
            torch.save(Flat().state_dict(), one["weights"])
    del forwards[:]
    found = compare_networks(entries, **{**SHOWN, **CHANGED[what]}, out=out, **PLAIN)
    assert sum(forwards) >= 2 * N
    afresh = compare_networks(entries, **{**SHOWN, **CHANGED[what]})
    assert found.results["consistency"] == afresh.results["consistency"]
    # Of before are still there: a change back makes none.
    del forwards[:]
    if what != "weights":
        compare_networks(entries, **SHOWN, out=out, **PLAIN)
        assert not forwards


def test_a_damaged_file_is_made_again(tmp_path, forwards):
    entries, out = saved(tmp_path), tmp_path / "out"
    first = compare_networks(entries, **SHOWN, out=out, **PLAIN)
    path = min(out.rglob(".kept/*.safetensors"))
    path.write_bytes(path.read_bytes()[:-8] + b"12345678")
    del forwards[:]
    assert compare_networks(entries, **SHOWN, out=out, **PLAIN).results == first.results
    assert forwards[-1] == N


def objects(folder: Path) -> Path:
    path = folder / "objects.npy"
    np.save(path, np.array([[1], [2, 3]], dtype=object), allow_pickle=True)
    return path


def pickled(folder: Path) -> Path:
    path = folder / "acts.pkl"
    path.write_bytes(pickle.dumps(activations()))
    return path


def other_weights(folder: Path, **changed: torch.Tensor) -> Path:
    state = Flat().state_dict()
    path = folder / "other.pt"
    torch.save({key: changed.get(key, value) for key, value in state.items()}, path)
    return path


def renamed_weights(folder: Path) -> Path:
    path = folder / "renamed.pt"
    torch.save({key.replace("fc1", "first"): value for key, value in Flat().state_dict().items()}, path)
    return path


def whole_pickle(folder: Path) -> Path:
    path = folder / "whole.pt"
    torch.save(Flat(), path)
    return path


def yaml(folder: Path, text: str) -> Path:
    (folder / "list.yaml").write_text(text)
    return folder / "list.yaml"


def apart(entries):
    """Each in a group of its own, in which there is no pair."""
    return [{**one, "columns": {"kind": number}} for number, one in enumerate(entries)]


# Mistake -> networks and arguments, by the folder and good entries; the line of the error.
MISTAKES = {
    "weights of other names": (
        lambda at, good: [good[0], {**good[1], "weights": renamed_weights(at)}],
        r"networks\.flat-1\.weights: .*renamed\.pt does not fit given_networks\.Flat: first missing key 'fc1\.weight', first unexpected key 'first\.weight'$",
    ),
    "weights of another shape": (
        lambda at, good: [good[0], {**good[1], "weights": other_weights(at, **{"head.bias": torch.zeros(9)})}],
        r"'head\.bias' is \(9,\) there, and \(3,\) in the network",
    ),
    "weights that are not finite": (
        lambda at, good: [good[0], {**good[1], "weights": other_weights(at, **{"head.bias": torch.full((3,), torch.nan)})}],
        "'head.bias' has values that are not finite",
    ),
    "a pickle of a network": (
        lambda at, good: [good[0], {**good[1], "weights": whole_pickle(at)}],
        r"could run code and is not read; save the weights alone, by torch\.save",
    ),
    "no such weights": (lambda at, good: [good[0], {**good[1], "weights": "no.pt"}], r"networks\.1\.weights: there is no file no\.pt"),
    "no file matches": (
        lambda at, good: [{"model": NODE, "weights": str(at / "none-{seed}.pt")}],
        r"networks\.0\.weights: no file matches .*none-\*\.pt",
    ),
    "a pattern that matches nothing": (lambda at, good: (good, {"layers": ["cnov*"]}), "layers: flat-0: no layer matches 'cnov\\*'; there are: fc1, head"),
    "a pattern nearly right": (lambda at, good: (good, {"layers": ["haed*"]}), "did you mean 'head'"),
    "a layer that there is not": (lambda at, good: (good, {"layers": ["fc9"]}), "layers: flat-0: there is no layer 'fc9'; did you mean 'fc1'"),
    "a layer of its own that there is not": (
        lambda at, good: [good[0], {**good[1], "layers": ["fc9"]}],
        r"networks\.flat-1\.layers: there is no layer 'fc9'",
    ),
    "a common name of several": (lambda at, good: [good[0], {**good[1], "layers": {"x": "*"}}], "stands for 2 layers"),
    "a layer that a file lacks": (
        lambda at, good: ([{"activations": activations()}] * 2, {"stimuli": None, "layers": ["cnov"]}),
        "has no layer 'cnov'; did you mean 'conv'",
    ),
    "other numbers of stimuli": (
        lambda at, good: ([{"activations": activations(9)}, {"activations": activations(8)}], {"stimuli": None, "labels": None}),
        r"activations of 8 stimuli, where those of \S+ are of 9: all networks must see the same stimuli",
    ),
    "other stimuli than images": (
        lambda at, good: [good[0], {"activations": activations(9), "columns": {"kind": "disk", "seed": 0}}],
        "activations are of 9 stimuli, but there are 12",
    ),
    "layers of other numbers": (
        lambda at, good: [{"activations": {"a": np.zeros((4, 2)), "b": np.zeros((5, 2))}}],
        "layer 'a' has 4 stimuli, layer 'b' 5; the first axis is that of the stimuli",
    ),
    "one axis": (lambda at, good: [{"activations": {"a": np.zeros(4)}}], r"\(stimuli, \.\.\.\) are needed, got shape \(4,\)"),
    "a pickle of activations": (
        lambda at, good: [{"activations": pickled(at)}],
        r"acts\.pkl is a pickle: .* refused; where you trust it, convert it: numpy\.save",
    ),
    "an array of objects": (
        lambda at, good: [{"activations": objects(at)}],
        r"objects\.npy holds objects, as a pickle: .* refused; where you trust it, convert it: numpy\.save",
    ),
    "a pickle in the place of a list": (lambda at, good: pickled(at), "is no list of networks"),
    "one network": (lambda at, good: good[:1], "networks: there is one network only: to compare takes two or more"),
    "no stimuli": (lambda at, good: (good, {"stimuli": None}), "stimuli: flat-0 needs some"),
    "too few stimuli": (lambda at, good: (good, {"stimuli": images()[:2], "labels": None}), "three stimuli or more are needed"),
    "labels of another number": (lambda at, good: (good, {"labels": [0, 1]}), "12 labels are needed"),
    "classes of other numbers": (
        lambda at, good: (good, {"labels": [0, 1] + [2] * 10}),
        r"stimuli\.per_class: classes have 1 to 10 stimuli.* stimuli\.per_class=1 takes the first 1",
    ),
    "too few of a class": (lambda at, good: (good, {"per_class": 5}), "class '0' has 4 stimuli, not 5"),
    "images of another shape": (lambda at, good: (good, {"stimuli": torch.rand(N, 1, 5, 5)}), "images: flat-0: the network does not take stimuli of shape"),
    "a factor with one level": (
        lambda at, good: (good, {"groups": ["kind"]}),
        "groups: 'kind' is flat for all networks: a factor has two values or more",
    ),
    "no such factor": (lambda at, good: (good, {"groups": ["knd"]}), "groups: no network has the column 'knd'; did you mean 'kind'"),
    "a column that one lacks": (
        lambda at, good: [good[0], {**good[1], "columns": {"seed": 1}}],
        r"columns: is missing, which other networks have: 'kind'",
    ),
    "no such measure": (lambda at, good: (good, {"rdm": "corelation"}), "rdm: there is no measure 'corelation'; did you mean 'correlation'"),
    "a key of an entry": (lambda at, good: [{**good[0], "wieghts": "x"}], "an entry has no key 'wieghts'; did you mean 'weights'"),
    "neither model nor activations": (lambda at, good: [{"weights": "a.pt"}], "one of model and activations is needed"),
    "a model of arguments alone": (lambda at, good: [{"model": {"width": 3}}], "write model: {_target_: package.Class"),
    "a class that there is not": (
        lambda at, good: [good[0], {**good[1], "model": {"_target_": "given_networks.Flt"}}],
        r"networks\.flat-1\.model",
    ),
    "arguments that do not fit": (
        lambda at, good: [good[0], {**good[1], "model": {**NODE, "wdth": 3}}],
        r"networks\.flat-1\.model: .*wdth",
    ),
    "what gives no network": (
        lambda at, good: [good[0], {"model": {"_target_": "builtins.dict"}, "columns": {"kind": "a", "seed": 1}}],
        "gives no network",
    ),
    "a file that calls what nobody named": (
        lambda at, good: yaml(at, "- {model: {_target_: os.system, command: 'touch x'}}"),
        r"networks\.0\.model\._target_: this file would call 'os\.system', which you have not named; .*trust=\[.os.\]",
    ),
    "a nested call that nobody named": (
        lambda at, good: yaml(at, "- {model: {_target_: torch.nn.Linear, in_features: {_target_: os.getpid}}}"),
        r"would call 'os\.getpid'",
    ),
    "an option of intervals that there is not": (lambda at, good: (good, {"levle": 0.9}), "there is no option 'levle'; did you mean 'level'"),
    "no interval, of networks without one": (lambda at, good: (apart(good), {"method": "jacknife"}), "method: there is no interval 'jacknife'"),
    "a level": (lambda at, good: (apart(good), {"level": 2}), "level: "),
    "a seed": (lambda at, good: (apart(good), {"seed": -1}), "seed: a whole number"),
    "no list": (lambda at, good: yaml(at, "{}"), "networks: a list of networks"),
    "a list that is damaged": (lambda at, good: yaml(at, "- {model: ["), "networks: .*list.yaml is damaged"),
    "no such list": (lambda at, good: at / "no.yaml", r"networks: there is no file .*no\.yaml"),
}  # fmt: skip


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_one_line_before_anything_is_written(tmp_path, what):
    make, line = MISTAKES[what]
    given = make(tmp_path, saved(tmp_path))
    networks, arguments = given if isinstance(given, tuple) else (given, {})
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match=line) as error:
        compare_networks(networks, **{**SHOWN, **arguments}, out=tmp_path / "out", **PLAIN)
    assert "\n" not in str(error.value)
    assert snapshot(tmp_path) == before and not (tmp_path / "out").exists()
