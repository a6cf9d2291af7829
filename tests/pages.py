"""The pages of the documentation: their commands and their code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from orthotrace.cli.composed import check_composed
from orthotrace.cli.plugins import offer_plugins
from orthotrace.config.conf import conf_folder, group_folders
from orthotrace.core.errors import UserError

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PROGRAM = re.compile(r"(^|/)orthotrace-\w+$")
GROUPS = {folder.name for folder in group_folders()}
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]}


def blocks(page: str, language: str = "") -> list[str]:
    """The fenced blocks of a page."""
    found = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```$", PAGES[page], re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


def commands(page: str) -> list[list[str]]:
    """The lines of its blocks that start a program of ours, split into words."""
    lines = [line for block in blocks(page) for line in block.splitlines()]
    found = [shlex.split(line.partition(" #")[0]) for line in lines if "orthotrace-" in line.split(" ")[0]]
    return [[words[0].removeprefix(".venv/bin/"), *words[1:]] for words in found]


def shell_commands(page: str) -> list[list[str]]:
    """The same of its blocks for a shell.

    What comes before a program, such as a variable or srun, and what sends it into the background are left out; a
    variable of the shell is 0.
    """
    text = "\n".join(blocks(page, "bash") + blocks(page, "sh")).replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        words = shlex.split(re.sub(r"\$\w+", "0", line.partition(" #")[0].rstrip("& ")))
        place = next((place for place, word in enumerate(words) if PROGRAM.search(word)), None)
        if place is not None:
            found.append([words[place].rpartition("/")[2], *words[place + 1 :]])
    return found


def compositions(words: list[str]) -> list[list[str]]:
    """What a multirun composes: every option of a sweep over a group, of other sweeps the first value."""
    jobs: list[list[str]] = [[]]
    for override in OverridesParser.create().parse_overrides(words):
        key, plain = override.get_key_element(), override.input_line or ""
        values = [plain]
        if override.is_interval_sweep():
            # Of a search; its bounds are checked in tests/cli/test_plugins.py.
            values = [f"{key}={override.value().start}"]
        elif override.is_sweep_override():
            values = [f"{key}={value}" for value in override.sweep_string_iterator()]
        jobs = [[*job, value] for job in jobs for value in (values if key in GROUPS else values[:1])]
    return jobs


def mistake_in(config: Any, name: str) -> str | None:
    """What the command would say of a configuration; None where it would start."""
    try:
        check_composed(config, config.hydra, name)
    except UserError as error:
        return str(error)
    return None


def composed_all(command: list[str]) -> int:
    """Compose and check every job of a command; how many there were."""
    if command[0] == "orthotrace-runs":
        # It reads no configuration.
        return 1
    name = {"orthotrace-train": "train", "orthotrace-analyze": "analyze"}[command[0]]
    options = {"--cfg", "job", "--multirun"}
    offer_plugins(command)
    jobs = compositions([word for word in command[1:] if word not in options])
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        for job in jobs:
            config = compose(name, job, return_hydra_config=True)
            mistake = mistake_in(config, name)
            # The code of a page is not written to a file here, nor is there a run of the commands before.
            made = (f"there is no file or folder runs/{run} " for run in ("more/RUN", "pretrained", "features/first"))
            needs = ("there is no module 'my", *made)
            assert mistake is None or any(one in mistake for one in needs), mistake
    return len(jobs)
