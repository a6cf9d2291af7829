"""The suite under the settings of other processors, tried on tests of three lines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = """
import os

def test_that_is_counted():
    with open({log!r}, "a") as file:
        file.write(os.environ["ATEN_CPU_CAPABILITY"] + "\\n")

def test_that_fails():
    assert {right}
"""


@pytest.mark.parametrize(("right", "code"), [(True, 0), (False, 1)])
def test_a_setting_is_run_once_and_a_failure_is_named(tmp_path, right, code):
    log, file = tmp_path / "log", tmp_path / "test_few.py"
    file.write_text(TESTS.format(log=str(log), right=right))
    command = [
        *(sys.executable, ROOT / "scripts" / "processors.py", "--settings", "ATen default", "--select", file),
        *("--out", tmp_path / "out.json"),
    ]
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert ("test_few::test_that_fails" in done.stdout) == (not right)
    # The second time nothing was left to do.
    assert log.read_text() == "default\n"
    [row] = json.loads((tmp_path / "out.json").read_text())["settings"]
    assert (row["setting"], row["passed"], row["failed"]) == ("ATen default", 1 + right, 1 - right)
    # Of other tests it says nothing.
    other = subprocess.run([*command[:-3], ROOT, *command[-2:]], capture_output=True, text=True, check=False)
    assert other.returncode == 2 and "is of other tests" in other.stderr
