import errno
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import sys
import time

import pytest

from orthotrace.core import beats, folders
from orthotrace.core.errors import UserError
from orthotrace.core.files import write_text
from orthotrace.core.folders import HOST, FolderInUseError, held, is_held, part_of, remove_parts

HOLDER = """
import sys, time
from pathlib import Path
from orthotrace.core.folders import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_process_stops_at_once_and_a_kill_frees_the_folder(tmp_path):
    folder = tmp_path / "run"
    other = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    start = time.monotonic()
    with pytest.raises(FolderInUseError, match=rf"run is in use by process {other.pid} on "), held(folder):
        pass
    assert time.monotonic() - start < 1 and is_held(folder)
    # By its lock, however long it has given no sign.
    os.utime(folder / ".lock", (0, 0))
    assert is_held(folder)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    assert (folder / ".lock").exists() and not is_held(folder)
    with held(folder), held(folder):
        assert is_held(folder)
        assert (folder / ".lock").read_text() == f"process {os.getpid()} on {HOST}\n"
    assert not list(folder.iterdir())


BEATING = """
import sys, time
from pathlib import Path
from orthotrace.core import beats, folders
beats.BEAT = 0.05
folders.HOST = "elsewhere"
with folders.held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A process on another machine, as this one sees it, that holds a folder whose locks do not reach here."""
    monkeypatch.setattr(beats, "PATIENCE", 1.0)
    monkeypatch.setattr(fcntl, "lockf", lambda *_: None)
    monkeypatch.setattr(struct, "unpack", lambda *_: [fcntl.F_UNLCK])
    with subprocess.Popen(
        [sys.executable, "-c", BEATING, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        yield other
        other.kill()


def test_a_process_on_another_machine_is_seen_by_its_signs_of_life(tmp_path, elsewhere):
    folder = tmp_path / "run"
    with (
        pytest.raises(FolderInUseError, match=f"run is in use by process {elsewhere.pid} on elsewhere: "),
        held(folder),
    ):
        pass
    assert is_held(folder)
    elsewhere.kill()
    elsewhere.wait()
    # Its machine cannot be asked; its last sign is some time ago.
    with held(folder):
        assert (folder / ".lock").read_text() == f"process {os.getpid()} on {HOST}\n"


def test_a_clock_that_differs_frees_no_folder(tmp_path, elsewhere, monkeypatch):
    """The times of the disk are an hour behind those of here, or ahead: they move all the same."""
    hour = time.time
    for ahead in (-3600, 3600):
        monkeypatch.setattr(time, "time", lambda ahead=ahead: hour() + ahead)
        with pytest.raises(FolderInUseError, match="on elsewhere"), held(tmp_path / "run"):
            pass


def without_locks(*_):
    raise OSError(errno.ENOLCK, "No locks available")


def test_where_there_are_no_locks_who_lives_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "lockf", without_locks)
    monkeypatch.setattr(folders, "SETTLED", 0.05)
    with subprocess.Popen(["sleep", "60"]) as other:
        (tmp_path / ".lock").write_text(f"process {other.pid} on {HOST}\n")
        with pytest.raises(FolderInUseError, match=f"process {other.pid} on {HOST}"), held(tmp_path):
            pass
        other.kill()
    with held(tmp_path):
        assert is_held(tmp_path)


def test_of_two_that_come_at_once_without_locks_one_stays(tmp_path, monkeypatch):
    def other_writes(_):
        with (tmp_path / ".lock").open("a") as file:
            file.write("process 7 on elsewhere\n")

    monkeypatch.setattr(fcntl, "lockf", without_locks)
    monkeypatch.setattr(folders.time, "sleep", other_writes)
    with pytest.raises(FolderInUseError, match="process 7 on elsewhere"), held(tmp_path):
        pass


def test_what_was_made_and_stays_empty_is_removed(tmp_path):
    with pytest.raises(ZeroDivisionError), held(tmp_path / "a" / "b"):
        _ = 1 / 0
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine").mkdir()
    with held(tmp_path / "mine"):
        pass
    assert (tmp_path / "mine").is_dir()


def again(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def moved(folder):
    folder.rename(folder.with_name("moved"))


@pytest.mark.parametrize(
    ("what", "how"), [("", shutil.rmtree), ("part", shutil.rmtree), ("", moved), ("part", moved), ("", again)]
)
def test_a_folder_that_is_removed_is_not_made_again(tmp_path, what, how):
    root = tmp_path / "run"
    with held(root):
        write_text(root / "part" / "a.txt", "one")
        write_text(root / "a.txt", "one")
        how(root / what)
        before = sorted(root.parent.rglob("*"))
        for path in (root / "a.txt", root / "part" / "b.txt", root / "other" / "c.txt"):
            with pytest.raises(UserError, match="was removed while it was written to: nothing more is written"):
                write_text(path, "two")
        assert sorted(root.parent.rglob("*")) == before
        write_text(tmp_path / "elsewhere" / "a.txt", "fine")


def test_parts_of_dead_processes_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    mine = part_of(tmp_path / "a.txt").name
    gone = [
        mine,
        mine.replace(str(os.getpid()), str(dead.pid)),
        f".b.{dead.pid}.part.json",
        f".c.{dead.pid}@{HOST}.part",
        f".d.{10**30}.part",
    ]
    kept = [f".a.{os.getppid()}@{HOST}.part.txt", f".a.{dead.pid}@elsewhere.part.txt", "a.1.part.txt", ".part", "b.txt"]
    for name in [*gone, *kept]:
        (tmp_path / name).write_text("half")
    remove_parts(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(kept)
    for folder in (tmp_path, tmp_path / "inside"):
        (folder / gone[1]).mkdir(parents=True)
        (folder / gone[1] / "x").write_text("")
    with held(tmp_path):
        assert not (tmp_path / gone[1]).exists() and not (tmp_path / "inside" / gone[1]).exists()


def test_parts_of_processes_of_another_user_stay(tmp_path, monkeypatch):
    def not_ours(*_):
        raise PermissionError

    part = tmp_path / f".a.{os.getppid()}@{HOST}.part"
    part.write_text("half")
    monkeypatch.setattr(os, "kill", not_ours)
    remove_parts(tmp_path)
    assert part.exists()


def test_the_lock_of_one_that_came_after_stays(tmp_path):
    with held(tmp_path / "run"):
        again(tmp_path / "run")
        (tmp_path / "run" / ".lock").write_text("of another process")
    assert (tmp_path / "run" / ".lock").exists()


def test_a_lock_that_was_removed_before_it_was_taken_is_none(tmp_path, monkeypatch):
    taken = fcntl.lockf

    def late(lock, how):
        taken(lock, how)
        monkeypatch.setattr(fcntl, "lockf", taken)
        (tmp_path / ".lock").unlink()

    monkeypatch.setattr(fcntl, "lockf", late)
    with held(tmp_path):
        write_text(tmp_path / "a.txt", "one")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write .*file"), held(tmp_path / "file"):
        pass


def test_a_folder_in_the_place_of_the_lock_is_named(tmp_path):
    (tmp_path / ".lock").mkdir()
    with (
        pytest.raises(UserError, match=r"cannot write .*/\.lock: is a directory; move away what is there"),
        held(tmp_path),
    ):
        pass
