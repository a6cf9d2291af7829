import os
from pathlib import Path

import numpy as np
import pytest
import torch
from damage import cases, damage

from orthotrace.core.errors import UserError
from orthotrace.data import cache
from orthotrace.data.cache import cache_folder, cached, content_hash, stored


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHOTRACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make(folder):
    np.save(folder / "a.npy", np.arange(4))
    return {"count": 4}


def test_a_key_is_made_once_and_whole(folder):
    calls = []
    for _ in range(2):
        path, about = cached("key", lambda place: calls.append(place) or make(place))
        assert about == {"count": 4} and {file.name for file in path.iterdir()} == {"a.npy", "about.json", ".sha256"}
    assert len(calls) == 1 and [path.name for path in folder.iterdir()] == ["key"]


def test_what_fails_leaves_nothing(folder):
    def fails(place):
        make(place)
        raise UserError("no")

    with pytest.raises(UserError):
        cached("key", fails)
    assert not list(folder.iterdir())
    assert cached("key", make)[1] == {"count": 4}


def test_a_folder_without_its_mark_is_made_again(folder):
    (folder / "key").mkdir(parents=True)
    (folder / "key" / "rest").write_text("of a kill")
    assert cached("key", make)[1] == {"count": 4}
    assert not (folder / "key" / "rest").exists()


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ORTHOTRACE_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot write"):
        cached("key", make)


def test_a_cache_of_somebody_else_is_named(folder, monkeypatch):
    """The user root may look anywhere, so the file system is asked to say no."""

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refused)
    with pytest.raises(UserError, match="key: permission denied"):
        cached("key", make)


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("ORTHOTRACE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(UserError, match="set ORTHOTRACE_CACHE"):
        cache_folder()


def test_large_arrays_are_mapped_and_small_ones_read(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.arange(1000))
    read, mapped = stored(tmp_path / "a.npy")
    assert not mapped
    monkeypatch.setattr(cache, "MEMORY_BYTES", 100)
    there, mapped = stored(tmp_path / "a.npy")
    assert mapped and torch.equal(read, there)


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.delenv("ORTHOTRACE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "orthotrace"


def test_the_hash_is_of_content_and_options(tmp_path):
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        file.write_text("x")
    one = content_hash(files, 1)
    os.utime(files[0], (1, 1))
    assert content_hash(files, 1) == one != content_hash(files, 2)
    files[1].write_text("y")
    assert content_hash(files, 1) != one


@pytest.mark.parametrize("name", ["a.npy", "about.json"])
def test_a_damaged_entry_is_made_again(folder, name):
    cached("key", make)
    (folder / "other.txt").write_text("another file")
    for kind, seed in cases(flips=20, cuts=3):
        damage(folder / "key" / name, kind, seed, folder / "other.txt")
        calls = []
        path, about = cached("key", lambda place, calls=calls: calls.append(place) or make(place))
        assert len(calls) == 1 and about == {"count": 4} and stored(path / "a.npy")[0].tolist() == [0, 1, 2, 3]


def test_arrays_that_are_mapped_are_compared_where_their_dates_changed(folder, monkeypatch):
    monkeypatch.setattr(cache, "MEMORY_BYTES", 100)
    compared = []
    verify = cache.verify
    monkeypatch.setattr(cache, "verify", lambda path: compared.append(path.name) or verify(path))
    for expected in (0, 1, 0):
        cached("key", make)
        assert compared.count("a.npy") == expected
        compared.clear()
    damage(folder / "key" / "a.npy", "flip", 1)
    assert stored(cached("key", make)[0] / "a.npy")[0].tolist() == [0, 1, 2, 3]


def test_what_a_killed_process_was_making_is_removed(folder):
    (folder / ".key.999999999.part").mkdir(parents=True)
    cached("key", make)
    assert [path.name for path in folder.iterdir()] == ["key"]
