"""A process ends with the one that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from conftest import surroundings

from orthotrace.core.processes import FIRST, INTERVAL, ends_with_first

CHILD = "import time\nfrom orthotrace.core.processes import ends_with_parent\nwith ends_with_parent(7, 'gone'):\n print('in', flush=True)\n time.sleep(60)"
PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {CHILD!r}])"


def test_a_process_ends_with_its_parent():
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=surroundings()
    )
    assert parent.stdout.readline() == "in\n"
    os.kill(parent.pid, signal.SIGKILL)
    start = time.monotonic()
    # Its output is closed when the child has ended too.
    assert parent.communicate(timeout=30) == ("", "gone\n")
    assert time.monotonic() - start < 10


STARTED = "import time\nfrom orthotrace.core.processes import ends_with_first\nwith ends_with_first():\n print('in', flush=True)\n time.sleep(60)"


def test_a_process_whose_first_one_ended_while_it_started_ends():
    """Whoever has it by now is not the one that started it."""
    gone = subprocess.Popen([sys.executable, "-S", "-c", ""])
    gone.wait()
    environment = surroundings() | {FIRST: str(gone.pid)}
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", STARTED], capture_output=True, text=True, env=environment, timeout=60)
    assert (done.returncode, done.stderr) == (2, "error: the first process has ended; the same command continues\n")
    assert time.monotonic() - start < 30


def test_a_process_stays_while_its_first_one_is_there(monkeypatch):
    monkeypatch.setenv(FIRST, str(os.getppid()))
    with ends_with_first():
        time.sleep(2.5 * INTERVAL)
