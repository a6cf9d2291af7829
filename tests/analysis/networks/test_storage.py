import contextlib
import json
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
from damage import cases, damage

from orthotrace.analysis.networks import storage
from orthotrace.analysis.networks.storage import read_arrays, read_rdms, write_rdms
from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.core.errors import UserError
from orthotrace.core.files import write_text

RNG = np.random.default_rng(0)
MADE = RDMs(
    RNG.uniform(size=(2, 10)),
    "correlation",
    {"kind": np.array(["cat", "dog", "élan", "cat", "eel"]), "image": np.arange(5)},
    {"name": np.array(["conv.1", "fc"]), "seed": np.array([0, 3])},
    {"stimuli": "ab12", "task": 2},
)

PLAIN = replace(
    MADE, pattern_descriptors={**MADE.pattern_descriptors, "kind": np.array(["cat", "dog", "elan", "cat", "eel"])}
)


def same(first: RDMs, second: RDMs) -> bool:
    kept = all(
        getattr(first, which)[name].tolist() == np.asarray(value).tolist()
        for which in ("pattern_descriptors", "rdm_descriptors")
        for name, value in getattr(second, which).items()
    )
    return kept and first.measure == second.measure and np.array_equal(first.dissimilarities, second.dissimilarities)


@pytest.mark.parametrize("suffix", [".safetensors", ".h5", ".hdf5"])
@pytest.mark.parametrize("measure", ["correlation", None])
def test_a_round_trip_loses_nothing(tmp_path, suffix, measure):
    path = tmp_path / f"x{suffix}"
    # rsatoolbox reads lists of text outside ASCII from no HDF5.
    made = MADE if suffix == ".safetensors" else PLAIN
    write_rdms(path, made.relabelled(measure))
    back = read_rdms(path)
    assert same(back, made.relabelled(measure)) and back.descriptors["stimuli"] == "ab12"
    assert int(back.descriptors["task"]) == 2
    names = {"x.json", "x.safetensors"} if suffix == ".safetensors" else {path.name}
    assert {one.name for one in tmp_path.iterdir()} == names | {".sha256"}
    write_rdms(path, made)
    assert read_rdms(path).measure == "correlation"


def test_the_sidecar_says_what_the_rdms_are_of(tmp_path):
    write_rdms(tmp_path / "x.safetensors", MADE)
    about = json.loads((tmp_path / "x.json").read_text())
    assert about["rdm_descriptors"]["name"] == ["conv.1", "fc"] and about["order"] == "upper triangles, row by row"


def rsatoolbox():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from rsatoolbox import rdm
    return rdm


def test_rsatoolbox_reads_what_we_write(tmp_path):
    plain = RDMs(
        MADE.dissimilarities,
        "euclidean",
        {"kind": np.array(list("abcab"))},
        {"name": np.array(["conv", "fc"])},
        {"session": "one"},
    )
    write_rdms(tmp_path / "x.hdf5", plain)
    theirs = rsatoolbox().load_rdm(str(tmp_path / "x.hdf5"), file_type="hdf5")
    assert np.array_equal(theirs.dissimilarities, plain.dissimilarities)
    assert theirs.dissimilarity_measure == "euclidean" and theirs.descriptors["session"] == "one"
    assert list(theirs.pattern_descriptors["kind"]) == list("abcab")
    assert list(theirs.rdm_descriptors["name"]) == ["conv", "fc"]


def test_we_read_what_rsatoolbox_writes(tmp_path):
    theirs = rsatoolbox().RDMs(
        MADE.dissimilarities,
        dissimilarity_measure="crossnobis",
        descriptors={"session": "one"},
        rdm_descriptors={"subject": ["s1", "s2"]},
        pattern_descriptors={"kind": list("abcab"), "value": np.arange(5.0)},
    )
    theirs.save(str(tmp_path / "x.h5"), "hdf5")
    back = read_rdms(tmp_path / "x.h5")
    assert back.measure == "crossnobis" and np.array_equal(back.dissimilarities, MADE.dissimilarities)
    assert back.rdm_descriptors["subject"].tolist() == ["s1", "s2"]
    assert back.pattern_descriptors["kind"].tolist() == list("abcab") and back.descriptors["session"] == "one"


def damaged(path):
    path.write_bytes(b"half")


def other_tensors(path):
    from safetensors.numpy import save_file

    save_file({"weights": np.ones(3)}, path)
    path.with_suffix(".json").write_text("{}")


def later(path):
    from safetensors.numpy import save_file

    save_file({"dissimilarities": np.ones((1, 3))}, path)
    path.with_suffix(".json").write_text('{"schema": 2}')


def no_triangle(path):
    from safetensors.numpy import save_file

    save_file({"dissimilarities": np.ones((1, 7))}, path)
    path.with_suffix(".json").write_text("{}")


def no_rdms(path):
    import h5py

    with h5py.File(path, "w") as file:
        file["other"] = np.ones(3)


BAD = {
    "x.safetensors": (damaged, r"x\.safetensors is damaged"),
    "later.safetensors": (later, r"later\.json has schema 2, and this version reads 1"),
    "y.safetensors": (other_tensors, r"y\.safetensors holds no RDMs: it has weights"),
    "z.safetensors": (no_triangle, r"z\.safetensors: 7 entries are no upper triangle"),
    "x.h5": (damaged, r"x\.h5 is damaged"),
    "y.h5": (no_rdms, r"y\.h5 holds no RDMs: it has other"),
    "none.h5": (lambda path: None, r"there is no file .*none\.h5"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_named(tmp_path, name):
    make, line = BAD[name]
    make(tmp_path / name)
    with pytest.raises(UserError, match=line):
        read_rdms(tmp_path / name)


def test_another_suffix_is_refused(tmp_path):
    for call in (lambda path: write_rdms(path, MADE), read_arrays):
        with pytest.raises(UserError, match=r"x\.pkl ends in"):
            call(tmp_path / "x.pkl")


def test_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(UserError, match=r"x\.npy is damaged \(Object arrays cannot be loaded"):
        read_arrays(tmp_path / "x.npy")


def test_from_one_format_to_the_other_and_back(tmp_path):
    made = RDMs(MADE.dissimilarities, "cosine", {}, {}, {"task": 3, "good": True, "parts": [1, 2], "none": None})
    write_rdms(str(tmp_path / "x.h5"), made)
    write_rdms(tmp_path / "y.safetensors", read_rdms(str(tmp_path / "x.h5")))
    back = read_rdms(tmp_path / "y.safetensors").descriptors
    assert back == {"task": 3, "good": True, "parts": [1, 2], "none": None}


def test_text_of_any_length_is_text(tmp_path):
    import h5py

    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["dissimilarities"] = np.ones((2, 3)) * [1, 2, 3]
        group = file.create_group("rdm_descriptors")
        group["name"] = ["é", "bb"]
    assert len(read_rdms(tmp_path / "x.h5").subset(name="é")) == 1


@pytest.mark.parametrize("which", ["pattern_descriptors", "rdm_descriptors", "descriptors"])
@pytest.mark.parametrize("text", ["élan", "ß", "狗"])
def test_text_that_rsatoolbox_cannot_read_is_refused(tmp_path, which, text):
    number = {"pattern_descriptors": 5, "rdm_descriptors": 2, "descriptors": 3}[which]
    with pytest.raises(UserError, match=rf"x\.h5: {which}\['of'\] has '{text}': rsatoolbox reads .* ASCII"):
        write_rdms(tmp_path / "x.h5", replace(PLAIN, **{which: {"of": [text] + ["a"] * (number - 1)}}))
    assert not list(tmp_path.iterdir())
    # Single texts, as attributes, are read by both.
    write_rdms(tmp_path / "x.h5", replace(PLAIN, descriptors={"of": text}))
    theirs = rsatoolbox().load_rdm(str(tmp_path / "x.h5"), file_type="hdf5")
    assert theirs.descriptors["of"] == text == read_rdms(tmp_path / "x.h5").descriptors["of"]


KEPT = {
    ".safetensors": [({"a": {1, 2}}, "descriptors\\['a'\\] cannot be kept in JSON"), ({"a": np.nan}, "cannot be kept")],
    ".h5": [({"a": {"b": 1}}, "descriptors\\['a'\\] cannot be kept in HDF5"), ({"a/b": 1}, "a slash is a path")],
}


@pytest.mark.parametrize(("suffix", "case"), [(suffix, case) for suffix in KEPT for case in (0, 1)])
def test_what_cannot_be_kept_leaves_nothing_behind(tmp_path, suffix, case):
    descriptors, line = KEPT[suffix][case]
    with pytest.raises(UserError, match=line):
        write_rdms(tmp_path / f"x{suffix}", RDMs(MADE.dissimilarities, None, {}, {}, descriptors))
    assert not list(tmp_path.iterdir())


def test_their_names_of_measures_are_ours(tmp_path):
    theirs = rsatoolbox().RDMs(MADE.dissimilarities, dissimilarity_measure="squared euclidean")
    theirs.save(str(tmp_path / "x.h5"), "hdf5")
    assert read_rdms(tmp_path / "x.h5").measure == "squared_euclidean"


@pytest.mark.parametrize("suffix", [".safetensors", ".json", ".h5"])
def test_no_damage_is_believed(tmp_path, suffix):
    end = ".h5" if suffix == ".h5" else ".safetensors"
    path, other = tmp_path / f"x{end}", tmp_path / f"other{end}"
    write_rdms(path, PLAIN)
    write_rdms(other, RDMs(PLAIN.dissimilarities * 2, "euclidean"))
    content = path.with_suffix(suffix).read_bytes()
    for kind, seed in cases(flips=20, cuts=3):
        assert damage(path.with_suffix(suffix), kind, seed, other.with_suffix(suffix))
        with pytest.raises(UserError, match=rf"x\{suffix}( is damaged|$)"):
            read_rdms(path)
        path.with_suffix(suffix).write_bytes(content)
    assert same(read_rdms(path), PLAIN)


def test_a_damaged_sidecar_of_an_older_version_is_no_traceback(tmp_path):
    """Without digests not all damage can be seen; what is seen is one line."""
    path = tmp_path / "x.safetensors"
    write_rdms(path, MADE)
    (tmp_path / ".sha256").unlink()
    for file in (path, path.with_suffix(".json")):
        content = file.read_bytes()
        for kind, seed in cases(flips=150, cuts=20):
            if kind != "other":
                damage(file, kind, seed)
                with contextlib.suppress(UserError):
                    read_rdms(path)
                file.write_bytes(content)


OTHER = RDMs(MADE.dissimilarities * 2, "euclidean")


def test_a_sidecar_of_other_rdms_is_refused(tmp_path):
    """Each of the two files is whole, and is what was written."""
    path = tmp_path / "x.safetensors"
    write_rdms(path, OTHER)
    sidecar = path.with_suffix(".json").read_text()
    write_rdms(path, MADE)
    write_text(path.with_suffix(".json"), sidecar)
    with pytest.raises(UserError, match=r"x\.safetensors is not the file that x\.json beside it describes"):
        read_rdms(path)
    # Copied to where nothing is recorded.
    for file in (path, path.with_suffix(".json")):
        (tmp_path / "copy").mkdir(exist_ok=True)
        shutil.copyfile(file, tmp_path / "copy" / file.name)
    with pytest.raises(UserError, match=r"x\.safetensors is not the file"):
        read_rdms(tmp_path / "copy" / path.name)
    write_rdms(path, MADE)
    assert same(read_rdms(path), MADE)


def test_a_kill_between_the_two_files_is_seen(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    write_rdms(path, OTHER)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(storage, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        write_rdms(path, MADE)
    with pytest.raises(UserError, match="is not the file"):
        read_rdms(path)


def test_a_sidecar_of_an_older_version_is_read(tmp_path):
    path = tmp_path / "x.safetensors"
    write_rdms(path, MADE)
    about = json.loads(path.with_suffix(".json").read_text())
    del about["sha256"]
    write_text(path.with_suffix(".json"), json.dumps(about))
    assert same(read_rdms(path), MADE)
