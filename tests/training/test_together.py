"""When one of several processes ends, the others do; make chaos kills real ones."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

import orthotrace.training.together
from orthotrace.core import interrupt
from orthotrace.core.processes import FIRST
from orthotrace.training.together import Together


def started(program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-S", "-c", program])


def trainer(*processes: subprocess.Popen[bytes], rank: int = 0, world: int = 2) -> SimpleNamespace:
    """Lightning's launcher has a process when it has started it."""
    launcher = SimpleNamespace(procs=list(processes))
    return SimpleNamespace(world_size=world, global_rank=rank, strategy=SimpleNamespace(launcher=launcher))


@pytest.fixture
def left(monkeypatch) -> list[tuple[int, str]]:
    """What this process would have ended with."""
    found: list[tuple[int, str]] = []
    for module in (orthotrace.training.together, interrupt):
        monkeypatch.setattr(module, "leave", lambda *how: found.append(how))
    monkeypatch.setattr(orthotrace.training.together, "SETTLED", 0.3)
    monkeypatch.setattr(orthotrace.training.together, "INTERVAL", 0.01)
    monkeypatch.setenv(FIRST, "")
    return found


def waited(left: list, number: int) -> None:
    deadline = time.monotonic() + 5
    while len(left) < number and time.monotonic() < deadline:
        time.sleep(0.01)


ENDS = {
    "import os; os.kill(os.getpid(), 9)": "was killed by signal 9",
    "import os; os.kill(os.getpid(), 15)": "was killed by signal 15",
    "import sys; sys.exit(3)": "ended with code 3",
    "": None,
}


@pytest.mark.parametrize("program", ENDS)
def test_the_end_of_another_process_is_told(left, program):
    """From its start on: here nobody has joined."""
    of = trainer()
    with Together().watched(of):
        assert os.environ[FIRST] == str(os.getpid())
        # Lightning makes a new list when it starts processes.
        of.strategy.launcher.procs = [started(program)]
        of.strategy.launcher.procs[0].wait()
        waited(left, 1 if ENDS[program] else 0)
    told = ENDS[program] and [(2, f"error: process 2 of 2 {ENDS[program]}; the same command continues")]
    assert left == (told or [])


def test_every_process_is_watched(left):
    of = trainer(started("import time; time.sleep(60)"), world=4)
    with Together().watched(of):
        time.sleep(0.05)
        of.strategy.launcher.procs += [started("import time; time.sleep(60)"), started("import sys; sys.exit(5)")]
        waited(left, 1)
    assert left == [(2, "error: process 4 of 4 ended with code 5; the same command continues")]
    assert [process.wait(10) for process in of.strategy.launcher.procs] == [-9, -9, 5]


@pytest.mark.parametrize("heard", [None, 15])
def test_a_signal_to_all_processes_is_told_as_one_to_this(left, monkeypatch, heard):
    """Ctrl-C ends those that are starting; of SIGTERM this process knows by then."""
    watch = interrupt._Watch()
    watch.received = heard
    monkeypatch.setattr(interrupt, "_watch", watch)
    number = heard or 2
    of = trainer(started(f"import os, signal; signal.signal({number}, signal.SIG_DFL); os.kill(os.getpid(), {number})"))
    with Together().watched(of):
        waited(left, 1)
    assert left[0] == (128 + number, "interrupted; the same command continues")


def test_an_error_here_ends_the_others_and_is_the_one_that_is_told(left):
    process = started("import time; time.sleep(60)")
    with pytest.raises(ValueError, match="mine"), Together().watched(trainer(process)):
        raise ValueError("mine")
    assert process.wait(10) == -9
    time.sleep(0.1)
    assert left == []


def test_an_error_of_another_process_waits_for_the_first(left, monkeypatch):
    monkeypatch.setenv(FIRST, str(os.getppid()))
    start = time.monotonic()
    with pytest.raises(ValueError, match="mine"), Together().watched(trainer(rank=1)):
        raise ValueError("mine")
    assert time.monotonic() - start >= 0.3


def test_nothing_watches_when_it_is_over(left):
    # Those of a test before may end meanwhile.
    before = set(threading.enumerate())
    with Together().watched(trainer()):
        (watching,) = set(threading.enumerate()) - before
        assert watching.is_alive()
    watching.join(5)
    assert not watching.is_alive()


def test_a_signal_that_comes_here_a_moment_later_is_waited_for(left, monkeypatch):
    watch = interrupt._Watch()
    monkeypatch.setattr(interrupt, "_watch", watch)
    monkeypatch.setattr(orthotrace.training.together.time, "sleep", lambda _: setattr(watch, "received", 15))
    process = started("import os; os.kill(os.getpid(), 15)")
    Together()._wait(2, 2, process)
    assert left[0] == (143, "interrupted; the same command continues")


def test_that_another_process_was_killed_is_told_before_the_error_that_comes_of_it(left, monkeypatch):
    monkeypatch.setattr(orthotrace.training.together, "SETTLED", 3.0)
    process = started("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(ValueError, match="connection closed"), Together().watched(trainer(process)):
        raise ValueError("connection closed")
    assert left == [(2, "error: process 2 of 2 was killed by signal 9; the same command continues")]
