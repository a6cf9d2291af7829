import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from damage import KINDS, damage
from hypothesis import given, settings
from hypothesis import strategies as st

from orthotrace.core import digests
from orthotrace.core.digests import NAME, DamagedFileError, digest_of, files_in, record, recorded, remove, verify
from orthotrace.core.errors import UserError
from orthotrace.core.files import link, read, whole, write_text


def test_sha256sum_checks_a_folder(tmp_path):
    write_text(tmp_path / "a b.txt", "one")
    write_text(tmp_path / "é.txt", "two")
    write_text(tmp_path / "a b.txt", "three")
    link(tmp_path / "é.txt", tmp_path / "linked.txt")
    assert recorded(tmp_path / "a b.txt") == {digest_of(tmp_path / "a b.txt")}
    done = subprocess.run(["sha256sum", "-c", NAME], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.count(": OK") == 3
    (tmp_path / "é.txt").write_text("twp")
    assert subprocess.run(["sha256sum", "-c", NAME], cwd=tmp_path, capture_output=True, check=False).returncode == 1
    remove(tmp_path / "a b.txt"), remove(tmp_path / "é.txt"), remove(tmp_path / "linked.txt")
    assert not list(tmp_path.iterdir())


@settings(max_examples=40, deadline=None)
@given(content=st.binary(min_size=1, max_size=300), kind=st.sampled_from(KINDS[:3]), seed=st.integers(0, 9999))
def test_what_is_not_what_was_written_is_named(tmp_path_factory, content, kind, seed):
    path = tmp_path_factory.mktemp("one") / "a.bin"
    with whole(path) as temporary:
        temporary.write_bytes(content)
    assert verify(path) and read(path, Path.read_bytes) == content
    if damage(path, kind, seed):
        with pytest.raises(DamagedFileError, match=r"a\.bin is damaged: it is not what was written.*; do this$"):
            read(path, Path.read_bytes, "do this")


def test_files_without_a_digest_are_read(tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    assert not verify(tmp_path / "a.txt") and read(tmp_path / "a.txt", Path.read_text) == "mine"


@pytest.mark.parametrize("kind", ["flip", "cut", "empty"])
def test_damaged_digests_damage_no_file(tmp_path, kind):
    for seed in range(30):
        path = tmp_path / f"{kind}{seed}" / "a.txt"
        write_text(path, "old")
        changed = damage(path.parent / NAME, kind, seed)
        with pytest.warns(UserWarning, match=r"\.sha256 is damaged: the files that it names are read unverified"):
            assert changed and read(path, Path.read_text) == "old"
        with pytest.warns(UserWarning, match="is damaged"):
            write_text(path, "new")
        assert verify(path)


class KilledError(BaseException):
    pass


# What a kill can come between: each call that changes a folder.
STEPS = ("replace", "link", "unlink")


def killed_at(monkeypatch, number: int, after: bool):
    """Raise before, or after, the call of this number that changes a folder."""
    count = 0

    def wrapped(function):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == number and not after:
                raise KilledError
            if count > number:
                # The dead clean up nothing.
                raise KilledError
            result = function(*args, **kwargs)
            if count == number:
                raise KilledError
            return result

        return call

    for name in STEPS:
        monkeypatch.setattr(os, name, wrapped(getattr(os, name)))


@pytest.mark.parametrize("recorded_before", [True, False])
def test_a_kill_at_any_step_leaves_the_old_file_or_the_new_one(tmp_path, recorded_before):
    told = set()
    for number in range(1, 9):
        for after in (False, True):
            path = tmp_path / f"{number}{after}" / "a.txt"
            write_text(path, "old")
            if not recorded_before:
                (path.parent / NAME).unlink()
            with pytest.MonkeyPatch.context() as patch:
                killed_at(patch, number, after)
                try:
                    write_text(path, "new")
                except KilledError:
                    told.add("killed")
            told.add(read(path, Path.read_text))
            write_text(path, "newer")
            assert read(path, Path.read_text) == "newer" and len(recorded(path)) == 1
    assert told == {"killed", "old", "new"}


def test_a_link_of_a_damaged_file_is_damaged_too(tmp_path):
    first, other = tmp_path / "a.txt", tmp_path / "b.txt"
    write_text(first, "one")
    first.write_text("two")
    link(first, other)
    with pytest.raises(DamagedFileError):
        verify(other)


def test_a_reader_waits_for_a_writer(tmp_path, monkeypatch):
    """A file that is replaced while it is read is no damaged one."""
    path = tmp_path / "a.txt"
    write_text(path, "old")
    found = digests.digest_of

    def slow(file):
        digest = found(file)
        monkeypatch.setattr(digests, "digest_of", found)
        write_text(path, "new")
        return digest if digest == found(path) else "of no file"

    monkeypatch.setattr(digests, "digest_of", slow)
    assert verify(path)


def test_a_folder_is_moved_with_its_digests(tmp_path):
    write_text(tmp_path / "a" / "x.txt", "one")
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert verify(tmp_path / "b" / "x.txt")


def test_two_writers_of_a_folder_take_turns(tmp_path):
    other = threading.Thread(target=write_text, args=(tmp_path / "a.txt", "one"))
    with digests._alone(tmp_path):
        other.start()
        other.join(0.2)
        assert not recorded(tmp_path / "a.txt")
    other.join()
    assert verify(tmp_path / "a.txt")


def test_the_digests_are_of_the_other_files(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    for _ in range(2):
        record(tmp_path)
        assert files_in(tmp_path) == [tmp_path / "a.txt"]


@pytest.mark.parametrize("what", ["folder", "link"])
def test_what_is_no_file_of_digests_is_named_and_damages_no_file(tmp_path, what):
    (tmp_path / "a.txt").write_text("one")
    if what == "folder":
        (tmp_path / NAME).mkdir()
    else:
        (tmp_path / NAME).symlink_to(NAME)
    for use in (lambda: read(tmp_path / "a.txt", Path.read_text), lambda: write_text(tmp_path / "a.txt", "two")):
        with pytest.raises(UserError, match=r"\.sha256 cannot be read .*: move it away") as error:
            use()
        assert not isinstance(error.value, DamagedFileError)
    assert (tmp_path / "a.txt").read_text() == "one" and len(list(tmp_path.iterdir())) == 2


def test_what_lies_below_a_file_has_no_digest(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    assert not recorded(tmp_path / "a.txt" / "b.txt")
