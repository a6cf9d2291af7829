import errno
import os
from pathlib import Path

import pytest

from orthotrace.core.errors import UserError
from orthotrace.core.files import link, read, read_json, whole, write_csv, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), whole(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert sorted(file.name for file in tmp_path.iterdir()) == [".sha256", "a.txt"]


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match=r"cannot write .*a\.txt: no space left on device"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert (
        sorted(file.name for file in tmp_path.iterdir()) == [".sha256", "a.txt"] and read(path, Path.read_text) == "old"
    )


def test_a_folder_that_cannot_be_one(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="not a directory|file exists"):
        write_text(tmp_path / "file" / "a.txt", "x")


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_csv_has_a_column_for_every_key(tmp_path):
    write_csv(tmp_path / "a.csv", [{"a": 1}, {"b": "x,y"}])
    assert (tmp_path / "a.csv").read_text() == 'a,b\n1,\n,"x,y"\n'


@pytest.mark.parametrize(
    ("content", "line"),
    [(None, "there is no file"), ("{", "is damaged"), ("[1]", "not a JSON object"), ("", "is damaged")],
)
def test_damaged_and_missing_files_are_named(tmp_path, content, line):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError) as error:
        read_json(path)
    assert line in str(error.value) and str(path) in str(error.value)


def test_an_error_for_users_passes_through_read(tmp_path):
    def reader(path):
        raise UserError("clear already")

    with pytest.raises(UserError, match="^clear already$"):
        read(tmp_path, reader)


FULL = {
    "system": OSError(errno.ENOSPC, "a page\nof details, as HDF5 gives them"),
    "safetensors": Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
    "torch": RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"),
    "limit": RuntimeError("File too large"),
}


@pytest.mark.parametrize("library", FULL)
def test_a_full_disk_is_one_line_whatever_the_library_says(tmp_path, library):
    with pytest.raises(UserError) as error, whole(tmp_path / "a.bin") as temporary:
        temporary.write_bytes(b"half")
        raise FULL[library]
    assert str(error.value).startswith(f"cannot write {tmp_path}/a.bin: ") and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_other_errors_are_not_the_disks(tmp_path):
    with pytest.raises(RuntimeError, match="of the writer"), whole(tmp_path / "a.bin"):
        raise RuntimeError("a mistake of the writer")


def test_without_links_a_file_is_copied(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    write_text(tmp_path / "a.txt", "one")
    monkeypatch.setattr(os, "link", none)
    link(tmp_path / "a.txt", tmp_path / "b.txt")
    write_text(tmp_path / "a.txt", "two")
    assert read(tmp_path / "b.txt", Path.read_text) == "one"


def test_a_folder_in_the_place_of_a_file_is_no_want_of_space(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(
        UserError, match=r"cannot write .*a\.txt: is a directory; move away what is there or choose another folder"
    ):
        write_text(tmp_path / "a.txt", "one")
