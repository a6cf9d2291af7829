"""Every command that a shell script would give is one that Hydra composes; nothing is run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from conftest import keep_configurations
from hydra import compose, initialize_config_dir
from pages import compositions, mistake_in

from orthotrace.cli.plugins import offer_plugins
from orthotrace.config.conf import conf_folder

keep_configurations()
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
def test_every_command_composes(tmp_path, monkeypatch, script):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    commands = [words for words in given(tmp_path, script) if words[0] in KINDS]
    assert commands
    offer_plugins(commands[0])
    seen: set[tuple[str | None, ...]] = set()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        for program, *words in commands:
            for job in compositions([word for word in words if not word.startswith(("--multirun", "name=", "seed="))]):
                new = facts(job) - seen
                if not new:
                    continue
                seen |= new
                mistake = mistake_in(compose(KINDS[program], job, return_hydra_config=True), KINDS[program])
                # Runs that the commands before would have made.
                assert mistake is None or "folder runs/" in mistake, (job, mistake)


def facts(job: list[str]) -> set[tuple[str | None, ...]]:
    """What must fit in a job: its options, and each key with the option that has it."""
    given = [word.partition("=")[::2] for word in job]
    options = {key: value for key, value in given if "." not in key}
    keys = {(options.get("experiment"), options.get(key.partition(".")[0]), key) for key, _ in given if "." in key}
    return {*options.items(), *keys}
