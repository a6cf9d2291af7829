"""A process ends with the one that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from conftest import surroundings

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
