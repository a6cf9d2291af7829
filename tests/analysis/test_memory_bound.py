"""An analysis within a bound on memory: the same folder, to the bit, with its RDMs in files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conftest import snapshot
from given_networks import LABELS, Flat, activations, images, saved

from orthotrace.analysis import compare_networks
from orthotrace.analysis.networks import kept
from orthotrace.analysis.networks.storage import rows_of, save_stacks
from orthotrace.analysis.rdm import memory
from orthotrace.analysis.rdm.stored import StoredByName, StoredStack, some, stored, together
from orthotrace.core.errors import UserError

SHOWN = {"stimuli": images(), "labels": LABELS}


def entries_of(tmp_path):
    """Two groups, and stages of which RDMs drift."""
    first = saved(tmp_path)
    for one in first:
        one["columns"]["task"] = 1
    later = saved(tmp_path / "later") if (tmp_path / "later").mkdir() is None else []
    for number, one in enumerate(later):
        torch.manual_seed(10 + number)
        torch.save(Flat().state_dict(), one["weights"])
        one["columns"]["task"] = 2
    other = saved(tmp_path, 2, "other")
    for one in other:
        one["columns"]["task"] = 2
    return [*first, *later, *other]


def content(folder):
    """All files but those that say when, and where, the folder is."""
    return {name: of for name, of in snapshot(folder).items() if not name.endswith((".lock", ".held", ".sha256"))}


def test_the_folder_is_the_same_to_the_bit(tmp_path, monkeypatch):
    entries = entries_of(tmp_path)
    options = {**SHOWN, "tasks": "all", "formats": ["png"], "figures": ["rdms"]}
    plain = compare_networks(entries, out=tmp_path / "plain", **options)
    bound = compare_networks(entries, out=tmp_path / "bound", memory="64GB", **options)
    assert json.dumps(plain.results) == json.dumps(bound.results)
    assert all(isinstance(one.rdms, StoredByName) for one in bound.readings.networks)
    assert content(tmp_path / "plain").keys() == content(tmp_path / "bound").keys()
    for name, of in content(tmp_path / "plain").items():
        assert of == content(tmp_path / "bound")[name], name
    assert not list((tmp_path / "bound").glob(f"{memory.SCRATCH}*"))

    # What is kept is found again, by the one way and the other.
    def no_more(*given):
        raise AssertionError("read again")

    monkeypatch.setattr("orthotrace.analysis.networks.read._read", no_more)
    again = compare_networks(entries, out=tmp_path / "plain", memory="64GB", **options)
    there = compare_networks(entries, out=tmp_path / "bound", **options)
    assert json.dumps(again.results) == json.dumps(there.results) == json.dumps(plain.results)


@pytest.mark.parametrize("given", ["modules", "activations"])
def test_nothing_need_be_written(given):
    torch.manual_seed(0)
    made = [Flat(), Flat()] if given == "modules" else [{"activations": activations(seed=seed)} for seed in (0, 1)]
    networks = dict(zip("ab", made, strict=True))
    shown = SHOWN if given == "modules" else {"labels": LABELS}
    plain, bound = (compare_networks(networks, **shown, memory=size) for size in (None, "64GB"))
    assert json.dumps(plain.results) == json.dumps(bound.results)
    for name, one in plain.rdms.items():
        assert np.array_equal(one.dissimilarities, bound.rdms[name].dissimilarities)


def test_stimuli_that_a_layer_does_not_answer_are_missing_in_files_too():
    first, second = activations(), activations(seed=1)
    first["fc"][3] = 0
    plain, bound = (
        compare_networks({"a": {"activations": first}, "b": {"activations": second}}, labels=LABELS, memory=size)
        for size in (None, "64GB")
    )
    ours, theirs = (one.results["between"][0]["similarity"] for one in (plain, bound))
    assert np.allclose(np.array(ours, float), np.array(theirs, float), atol=1e-12)
    assert np.isnan(bound.rdms["a"].dissimilarities).any()


def test_what_a_killed_process_left_is_removed(tmp_path):
    old = tmp_path / "out" / f"{memory.SCRATCH}old"
    old.mkdir(parents=True)
    compare_networks(saved(tmp_path), **SHOWN, out=tmp_path / "out", formats=[])
    assert not old.exists()


@pytest.mark.parametrize(
    ("size", "line"),
    [("8", "memory: '8' is no size"), ("1MB", "memory: the process takes .* already: give more than 1MB")],
)
def test_a_bound_that_is_none_or_too_small_is_told(tmp_path, size, line):
    with pytest.raises(UserError, match=line):
        compare_networks(saved(tmp_path), **SHOWN, out=tmp_path / "out", memory=size)


def test_layers_that_do_not_fit_are_told_with_their_network(tmp_path, monkeypatch):
    resident = memory.resident()
    monkeypatch.setattr(memory, "resident", lambda: resident)
    with pytest.raises(UserError, match=r"^memory: flat-0, after task 1, layer fc1: a tile of 12 x 12 .* needs \d+ kB"):
        compare_networks(saved(tmp_path), **SHOWN, memory=f"{resident + 500}B")


def test_files_of_stacks_are_to_the_byte_those_of_safetensors(tmp_path):
    from safetensors.numpy import save_file

    values = np.random.default_rng(0).random((3, 15))
    few = np.ascontiguousarray(values[:, :3])
    for about in (None, {"about": '{"é": "\\n"}'}):
        save_stacks(tmp_path / "a", {"dissimilarities": stored(values), "centroids": values[:, :3]}, about)
        save_file({"dissimilarities": values, "centroids": few}, tmp_path / "b", about)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    # And where the rows of any such file are.
    for name in ("a", "b"):
        rows = rows_of(tmp_path / name, "dissimilarities")
        assert np.array_equal(StoredStack(tuple(rows)), values)
    assert rows_of(tmp_path / "a", "nothing") == []


def test_rdms_by_name():
    found = StoredByName()
    found["a"], found["b"] = np.arange(3.0), np.arange(3.0) + 1
    assert "a" in found and "c" not in found and len(found) == 2
    assert list(some(found, ["b", "c"])) == ["b"]
    both = together((found, name) for name in found)
    assert isinstance(both, StoredStack) and np.array_equal(both, [[0, 1, 2], [1, 2, 3]])
    del found["a"]
    assert dict(found).keys() == {"b"}
    joined = kept.KeptNetwork(found).joined(kept.KeptNetwork(StoredByName({"c": both.rdms[0]})))
    assert isinstance(joined.rdms, StoredByName) and list(joined.rdms) == ["b", "c"]
