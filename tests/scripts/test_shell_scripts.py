"""Every option and key that a shell script would give exists; nothing is run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from composed import GROUPS
from pages import compositions

from orthotrace.config.keys import known_keys

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.name for path in (ROOT / "scripts").glob("*.sh") if path.name != "oldest.sh")
KINDS = {"orthotrace-train": "train", "orthotrace-analyze": "analyze"}
# In place of a program: writes down what it is called with, at once, and answers what a script reads.
STAND_IN = """#!/usr/bin/env bash
printf -v line '%s\\037' "${{0##*/}}" "$@"
printf '%s\\n' "$line" >> "{log}"
{answer}
"""
# What scripts read of runs that they have made before.
ANSWER = 'case "$*" in *rates*) printf "momentum .01\\nadam .001\\n";; *strength*|*rate*) echo .01;; esac'


def given(folder: Path, script: str) -> list[list[str]]:
    """The commands that a script gives."""
    (folder / "scripts").mkdir()
    (folder / "images").mkdir()
    (folder / "scripts" / script).write_text((ROOT / "scripts" / script).read_text())
    programs, log = folder / ".venv" / "bin", folder / "log"
    programs.mkdir(parents=True)
    for name in (*KINDS, "python"):
        (programs / name).write_text(STAND_IN.format(log=log, answer=ANSWER if name == "python" else ""))
        (programs / name).chmod(0o755)
    command = ["bash", folder / "scripts" / script, folder / "images", folder / "images"]
    # As in a shell where nobody has chosen a number of jobs.
    environment = {name: value for name, value in os.environ.items() if name != "JOBS"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line.split("\x1f")[:-1] for line in log.read_text().split("\n")[:-1]]


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_option_and_key_exists(tmp_path, script):
    commands = [words for words in given(tmp_path, script) if words[0] in KINDS]
    assert commands
    for program, *words in commands:
        for job in compositions([word for word in words if word != "--multirun"]):
            assert unknown(KINDS[program], job) == [], job


def unknown(kind: str, job: list[str]) -> list[str]:
    """The options and keys of a job that no file of conf/ has; values are looked at where a script is run."""
    words = [word.partition("=")[::2] for word in job]
    options = {key: value for key, value in words if key in GROUPS}
    wrong = [f"{group}={option}" for group, option in options.items() if option not in GROUPS[group]]
    keys = known_keys(kind, options)
    # Hydra's own are Hydra's to check; what begins with + is the user's to name.
    ours = [key for key, _ in words if key not in GROUPS and not key.startswith(("hydra", "+"))]
    return wrong + [key for key in ours if not has(keys, key.split("."))]


def has(keys: object, path: list[str]) -> bool:
    """Whether a path leads to a key."""
    return not path or (isinstance(keys, dict) and path[0] in keys and has(keys[path[0]], path[1:]))


def test_what_no_file_has_is_found():
    assert unknown("train", ["method=gpm", "method.rows=3", "stream.tasks=2", "hydra/launcher=joblib"]) == []
    assert unknown("train", ["method=sgp", "stream=splits", "method.alphas=3"]) == ["stream=splits", "method.alphas"]
    assert unknown("train", ["method=gpm", "method.alpha=3"]) == ["method.alpha"]
