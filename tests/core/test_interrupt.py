"""A signal raises where it may, waits where it must, and is told once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import surroundings
from moments import CODES

from orthotrace.core.interrupt import (
    deferred,
    interrupted,
    interruptible,
    keep_handlers,
    silently_interruptible,
    stop_here,
    waiting_for,
    working_in,
)

SIGNALS = pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)


def come(number: signal.Signals) -> None:
    signal.raise_signal(number)


def at_once(number):
    come(number)
    pytest.fail("it went on")


def swallowed(number):
    try:
        come(number)
    except BaseException:
        assert interrupted()


def in_a_clean_up(number):
    try:
        come(number)
    finally:
        raise ValueError("of the clean-up")


class _Dropped:
    """Python prints what a destructor raises, and goes on."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        come(self.number)


def in_a_destructor(number):
    one = _Dropped(number)
    del one
    time.sleep(5)
    pytest.fail("it went on")


def waited_for(number):
    with deferred():
        come(number)
        assert interrupted()
    pytest.fail("it went on")


def at_a_place(number):
    with deferred():
        come(number)
        stop_here()
        pytest.fail("it went on")


def with_a_handler_of_a_library(number):
    signal.signal(number, lambda *_: None)
    keep_handlers()
    at_once(number)


def by_an_interrupt_of_the_keyboard(number):
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    come(number)


WAYS = [
    at_once,
    swallowed,
    in_a_clean_up,
    in_a_destructor,
    waited_for,
    at_a_place,
    with_a_handler_of_a_library,
    by_an_interrupt_of_the_keyboard,
]


@SIGNALS
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_signal_is_one_line_and_its_code(way, number, capsys):
    before = [signal.getsignal(one) for one in CODES]
    start = time.monotonic()
    with pytest.raises(SystemExit) as end, interruptible():
        working_in("runs/a")
        way(number)
    assert end.value.code == CODES[number]
    assert time.monotonic() - start < 4
    assert capsys.readouterr().err == "interrupted: runs/a; the same command continues\n"
    assert [signal.getsignal(one) for one in CODES] == before
    assert not interrupted()


@SIGNALS
def test_what_is_deferred_goes_on_to_its_end(number):
    seen = []
    with pytest.raises(SystemExit), interruptible():
        with deferred():
            come(number)
            seen.append("within")
        seen.append("behind")
    assert seen == ["within"]


def test_without_a_signal_everything_passes():
    with interruptible(), deferred():
        stop_here()
    with pytest.raises(ValueError, match="mine"), interruptible():
        raise ValueError("mine")
    with deferred():
        stop_here()


def test_what_the_caller_ignores_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            come(signal.SIGINT)
            assert not interrupted()
    finally:
        signal.signal(signal.SIGINT, before)


# From 3.12 on Python warns of any fork beside a thread.
HEAD = """
import os, signal, sys, time, warnings
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
import orthotrace.core.interrupt as interrupt
interrupt.LIMIT = 0.3
"""
ENDS = {
    # A second signal of the keyboard ends at once, another one of the system changes nothing.
    "twice": (
        "with interrupt.interruptible():\n with interrupt.deferred():\n  for s in (15, 15, 2): os.kill(os.getpid(), s)\n"
        "  time.sleep(60)",
        143,
    ),
    "and again": (
        "interrupt.LIMIT = 60\nwith interrupt.interruptible():\n with interrupt.deferred():\n"
        "  for _ in range(2): os.kill(os.getpid(), 15)\n  os.write(1, b'on')\n  os.kill(os.getpid(), 2)\n  time.sleep(60)",
        143,
    ),
    # Something hangs.
    "limit": ("with interrupt.interruptible():\n with interrupt.deferred():\n  os.kill(0, 2)\n  time.sleep(60)", 130),
    # A library waits, and Python's handlers with it: a lock that is taken twice.
    "in C": (
        "import ctypes, threading\nlibrary, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64)\n"
        "threading.Timer(.1, os.kill, (os.getpid(), 15)).start()\n"
        "with interrupt.interruptible():\n for _ in range(2): library.pthread_mutex_lock(lock)",
        143,
    ),
    # Another user of the pipe in which Python notes signals has taken it away.
    "asyncio": (
        "import asyncio\nasync def main(): asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)\n"
        "with interrupt.interruptible(), interrupt.deferred():\n asyncio.run(main())\n os.kill(os.getpid(), 15)\n"
        " time.sleep(60)",
        143,
    ),
    # All is done, and the process is on its way out.
    "leaving": (
        "interrupt.LIMIT = 60\nwith interrupt.interruptible(for_good=True): pass\nos.kill(os.getpid(), 15)\ntime.sleep(60)",
        143,
    ),
    # A helper is as without a handler; the process knows nothing of it.
    "forked": (
        "with interrupt.interruptible():\n pid = os.fork()\n if not pid: time.sleep(60)\n time.sleep(.05)\n"
        " os.kill(pid, 15)\n assert os.waitpid(pid, 0)[1] == 15 and not interrupt.interrupted()\n os.kill(os.getpid(), 2)",
        130,
    ),
}


@pytest.mark.parametrize("case", ENDS)
def test_the_end_comes_in_any_case(case):
    program, code = ENDS[case]
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", HEAD + program], capture_output=True, text=True, env=surroundings(), timeout=60,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (code, "interrupted; the same command continues\n")
    assert done.stdout == ("on" if case == "and again" else "")
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("ends", ["by itself", "by the limit"])
def test_a_later_process_of_a_launcher_is_silent_whatever_ends_it(ends):
    """It lingers while the first one saves: its own thread ends it, or what ends every process at last."""
    alone = "" if ends == "by itself" else "interrupt._linger = lambda number, frame: None\n"
    program = f"{HEAD}{alone}with interrupt.interruptible():\n os.kill(os.getpid(), 15)\n time.sleep(60)"
    step = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=surroundings() | step, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")


def test_a_helper_of_the_first_process_is_silent(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with interruptible():
        os.kill(os.getpid(), signal.SIGINT)
        assert not interrupted() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


FORKS = {
    # A signal that comes while a process is made: from here some of sixty did.
    "while it is made": "with interrupt.interruptible():\n for _ in range(60): end(os.fork())\n time.sleep(.4)",
    "on the way out": "with interrupt.interruptible(for_good=True): pass\nend(os.fork())\ntime.sleep(.4)",
    "of a thread": "with interrupt.interruptible():\n work = threading.Thread(target=lambda: end(os.fork()))\n"
    " work.start(), work.join(), time.sleep(.4)",
}


@pytest.mark.parametrize("case", FORKS)
def test_a_signal_of_a_forked_process_is_not_of_this_one(case):
    program = (
        "import threading\ndef end(pid):\n if not pid: os._exit(time.sleep(9))\n os.kill(pid, 15)\n"
        f" assert os.waitpid(pid, 0)[1] == 15\n{FORKS[case]}"
    )
    done = subprocess.run(
        [sys.executable, "-c", HEAD + program],
        capture_output=True,
        text=True,
        env=surroundings(),
        timeout=60,
        start_new_session=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def opened() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_of_a_block_is_left(monkeypatch):
    monkeypatch.setattr("orthotrace.core.interrupt.LIMIT", 0.1)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer)
    try:
        files = opened()
        for _ in range(3):
            with pytest.raises(SystemExit), interruptible():
                come(signal.SIGTERM)
        with interruptible():
            pass
        end = time.monotonic() + 5
        while opened() > files and time.monotonic() < end:
            time.sleep(0.05)
        assert opened() <= files
    finally:
        assert signal.set_wakeup_fd(before) == writer
        os.close(reader)
        os.close(writer)


def test_a_signal_that_is_on_its_way_is_heard_by_the_block_that_ends(monkeypatch):
    """Not by whoever comes behind it, who would end."""
    send = signal.pthread_kill
    monkeypatch.setattr(signal, "pthread_kill", lambda *given: (time.sleep(0.3), send(*given)))

    class Signalled:
        def __del__(self):
            come(signal.SIGINT)

    late = False
    try:
        with pytest.raises(SystemExit), interruptible():
            Signalled()
            end = time.monotonic() + 0.03
            while time.monotonic() < end:
                pass
        time.sleep(0.5)
    except KeyboardInterrupt:
        late = True
    assert not late


def test_what_a_destructor_raises_beside_a_signal_is_told(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)

    class Wrong:
        def __del__(self):
            raise ValueError("of the destructor")

    with interruptible():
        Wrong()
    assert [one.exc_type for one in told] == [ValueError]


def test_a_signal_within_blocks_within_is_raised_at_the_end_of_the_outer_one():
    seen = []
    with pytest.raises(SystemExit), interruptible(), deferred():
        with deferred():
            come(signal.SIGTERM)
        seen.append("behind the inner one")
    assert seen


def test_a_process_that_works_for_another_ends_without_a_line(capsys):
    with silently_interruptible():
        come(signal.SIGTERM)
        pytest.fail("it went on")
    assert capsys.readouterr().err == ""


def test_what_was_waited_for_is_told_once():
    told = []
    with pytest.raises(SystemExit), interruptible():
        with waiting_for(lambda: told.append("told"), lambda: True):
            pass
        come(signal.SIGTERM)
    assert not told
