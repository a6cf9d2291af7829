"""Every command of the documentation is one that Hydra composes; those of the first pages are run."""

from __future__ import annotations

import json
import re

import pytest
import torch
from conftest import TINY
from hydra.errors import ConfigCompositionException
from pages import PAGES, ROOT, blocks, commands, composed_all, shell_commands

from orthotrace.analysis import figures

# What a page shows to be refused, and what another test runs with the files of its page.
REFUSED = ("docs/howto/own_data.md", 0)
ELSEWHERE = ("docs/howto/add_a_method.md", "docs/howto/add_other_methods.md", "docs/howto/blocks.md")
COMMANDS = {
    tuple(command): f"{page}:{number}"
    for page in PAGES
    if page not in ELSEWHERE
    for number, command in enumerate(commands(page))
    if (page, number) != REFUSED
}
# In blocks for a shell; an experiment that a search before has written is not there.
SHELL = {tuple(one): page for page in PAGES for one in shell_commands(page) if "--config-dir" not in one}
SMALL = {"trainer.max_epochs": "1", "stream.tasks": "2", "model.hidden": "[16]", "seed": "0,1"}


def small(command: list[str]) -> list[str]:
    """The command with less to do."""
    kept = [word for word in command[1:] if word.split("=")[0] not in SMALL]
    return [*kept, *(f"{key}={value}" for key, value in SMALL.items() if key != "seed" or "--multirun" in kept)]


def test_the_pages_with_commands_are_found():
    assert len(COMMANDS) >= 30 and len(SHELL) >= 13
    assert {"README.md", "docs/start.md", "docs/howto/sweeps.md"} <= {name for name in PAGES if commands(name)}


@pytest.mark.parametrize("command", COMMANDS, ids=COMMANDS.values())
def test_a_command_composes(command):
    assert composed_all(list(command)) >= 1


@pytest.mark.parametrize("command", SHELL, ids=SHELL.values())
def test_a_command_for_a_shell_composes(monkeypatch, command):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    assert composed_all(list(command)) >= 1


def test_the_command_that_is_refused_does_not_compose():
    page, number = REFUSED
    with pytest.raises(ConfigCompositionException, match="method.memory"):
        composed_all(commands(page)[number])


def test_the_commands_of_start_run(train, analyze, tmp_path):
    sweep, job, analysis = commands("docs/start.md")
    answer = train(*small(sweep))
    assert answer.code == 0, answer.err
    runs = sorted((tmp_path / "runs" / "mine").rglob("scores.json"))
    assert {json.loads(run.read_text())["method"] for run in runs} == {"hlop", "finetune"} and len(runs) == 4
    for name in ("metrics.csv", "checkpoints/task1.ckpt", "checkpoints/last.ckpt", ".hydra"):
        assert (runs[0].parent / name).exists(), name
    answer = train(*job[1:])
    assert answer.code == 0 and "max_epochs: 5" in answer.out
    answer = analyze(*analysis[1:], "stimuli.per_class=3", "formats=[png]", "figures=[accuracy]")
    assert answer.code == 0, answer.err
    for name in ("report.html", "figures", "tables", "results.json", "rdms", "stimuli.csv"):
        assert (tmp_path / "runs" / "mine" / "analysis" / name).exists(), name


def test_the_readme_and_the_index_show_the_commands_of_start():
    shown = [command for command in commands("docs/start.md") if "--cfg" not in command]
    assert commands("README.md") == commands("docs/index.md") == shown


def test_an_interrupted_command_is_found_again(train, tmp_path):
    first, afresh, *_ = commands("docs/howto/resume.md")
    assert train(*small(first)).code == 0
    (scores,) = (tmp_path / "runs" / "long").rglob("scores.json")
    written = scores.stat().st_mtime_ns
    assert train(*small(first)).code == 0 and scores.stat().st_mtime_ns == written
    assert train(*small(afresh)).code == 0 and scores.stat().st_mtime_ns > written


def test_a_model_of_ones_own(train, analyze, tmp_path, monkeypatch):
    code, loop, resume = blocks("docs/howto/own_model.md", "python")
    (tmp_path / "mymodels.py").write_text(code)
    command, analysis, *_ = commands("docs/howto/own_model.md")
    answer = train(*command[1:], *TINY[:2])
    assert answer.code == 0, answer.err
    answer = analyze(*analysis[1:-1])
    assert answer.code == 2 and 'trust=["mymodels.Small"]' in answer.err
    assert analyze(*analysis[1:]).code == 0
    names: dict = {}
    exec(loop, names)
    guard = names["guard"]
    assert 0 < guard.subspaces["0"].capacity.rank < 20
    monkeypatch.chdir(tmp_path)
    exec(resume, names)
    assert names["guard"] is not guard and torch.equal(names["guard"].subspaces["0"].basis, guard.subspaces["0"].basis)


def test_the_code_of_the_gallery(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "page"}
    for code in blocks("docs/gallery.md", "python"):
        exec(code, names)
    assert {path.name for path in (tmp_path / "figures").glob("*.pdf")} == {"consistency.pdf", "figure2.pdf"}
    # Every function that a figure is drawn by.
    page = PAGES["docs/gallery.md"]
    assert [one for one in re.findall(r"figures\.([a-z]\w+)\(?", page) if one not in figures.__all__] == []


def test_the_code_of_the_page_on_analysis():
    every = blocks("docs/howto/analysis.md", "python")
    (reader,) = (code for code in every if "class Small" in code)
    others = [code for code in every if code != reader]
    names: dict = {"__name__": "page"}
    exec(reader, names)
    # As its comments say.
    assert names["found"].places["conv"].after == ("bn", "relu") and names["found"].left_out == ()
    assert {name: tuple(one.shape) for name, one in names["layers"].items()} == {"conv": (10, 144), "head": (10, 2)}
    assert len(others) == 4
    for code in others:
        exec(code, {})
