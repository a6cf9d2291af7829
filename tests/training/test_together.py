"""When one of several processes ends, the others do; in test_moments of real ones."""

from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

import orthotrace.training.together
from orthotrace.training.together import Together


def started(program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-S", "-c", program])


def trainer(*processes: subprocess.Popen[bytes], rank: int = 0) -> SimpleNamespace:
    launcher = SimpleNamespace(procs=list(processes))
    return SimpleNamespace(world_size=2, global_rank=rank, strategy=SimpleNamespace(launcher=launcher))


@pytest.fixture
def left(monkeypatch) -> list[tuple[int, str]]:
    """What this process would have ended with."""
    found: list[tuple[int, str]] = []
    monkeypatch.setattr(orthotrace.training.together, "leave", lambda *how: found.append(how))
    monkeypatch.setattr(orthotrace.training.together, "SETTLED", 0.3)
    return found


ENDS = {
    "import os; os.kill(os.getpid(), 9)": [
        (2, "error: process 2 of 2 was killed by signal 9; the same command continues")
    ],
    "import sys; sys.exit(3)": [(2, "error: process 2 of 2 ended with code 3; the same command continues")],
    "": [],
}


@pytest.mark.parametrize("program", ENDS)
def test_the_end_of_another_process_is_told(left, program):
    together, process = Together(), started(program)
    of = trainer(process)
    with together.watched(of):
        together.setup(of, None, "fit")
        together.setup(of, None, "fit")
        process.wait()
        deadline = time.monotonic() + 5
        while len(left) < len(ENDS[program]) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert left == ENDS[program]


def test_an_error_here_ends_the_others_and_is_the_one_that_is_told(left):
    together, process = Together(), started("import time; time.sleep(60)")
    of = trainer(process)
    with pytest.raises(ValueError, match="mine"), together.watched(of):
        together.setup(of, None, "fit")
        raise ValueError("mine")
    assert process.wait(10) == -9
    time.sleep(0.1)
    assert left == []


def test_an_error_of_another_process_waits_for_the_first(left):
    start = time.monotonic()
    with pytest.raises(ValueError, match="mine"), Together().watched(trainer(rank=1)):
        raise ValueError("mine")
    assert time.monotonic() - start >= 0.3
