"""docs/howto/add_a_method.md: its code, its configuration and its commands, as they stand there."""

from __future__ import annotations

import json
import re
import sys

import pytest
from pages import PAGES

PAGE = PAGES["docs/howto/add_a_method.md"]
CODE, CHECK = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(CONFIG,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line.split()[1:] for line in re.findall(r"^orthotrace-.*$", PAGE, re.MULTILINE)]


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A newcomer's folder with both files."""
    (tmp_path / "floor.py").write_text(CODE)
    (tmp_path / "conf" / "method").mkdir(parents=True)
    (tmp_path / "conf" / "method" / "floor.yaml").write_text(CONFIG)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "floor", raising=False)
    return tmp_path


def test_fewer_than_40_lines():
    assert len(CODE.splitlines()) < 40


def test_the_commands_of_the_page(written, train, analyze):
    compare, floors, analysis = COMMANDS
    for command in (compare, floors):
        answer = train(*(argument.replace("0,1,2", "0") for argument in command))
        assert answer.code == 0, answer.err
    runs = [json.loads(path.read_text()) for path in (written / "runs" / "floor").rglob("scores.json")]
    of = {name: [run for run in runs if run["method"] == name] for name in ("floor", "finetune")}
    assert len(of["floor"]) == 3 and len(of["finetune"]) == 1
    assert max(leak for run in of["floor"] for leak in run["leak"]) < 1e-6
    assert min(run["bwt"] for run in of["floor"]) > max(run["bwt"] for run in of["finetune"])
    assert len({json.dumps(run["capacity"]) for run in of["floor"]}) == 3, "the floor decides the ranks"
    answer = analyze(*analysis)
    assert answer.code == 0, answer.err
    assert (written / "runs" / "floor" / "analysis" / "report.html").is_file()


def test_a_key_that_is_wrong_is_told_among_those_of_the_method(written, train):
    answer = train("--config-dir=conf", "method=floor", "method.flor=1")
    assert answer.code == 2
    assert "method.flor: no such key; did you mean 'method.floor'?" in answer.err


def test_what_is_no_number_is_told_before_anything_starts(written, train):
    answer = train("--config-dir=conf", "method=floor", "method.floor=abc")
    assert answer.code == 2 and answer.err.startswith("error: method.floor: ") and answer.err.count("\n") == 1


# Noise fills a layer, and that is said.
@pytest.mark.filterwarnings("ignore:.*directions are held")
def test_a_floor_of_nothing_holds_no_rounding(written, train):
    answer = train(
        "--config-dir=conf", "method=floor", "method.floor=1e-30", "stream.tasks=2", "trainer.max_epochs=1",
        "model.hidden=[100]", "hydra.run.dir=run", "stream.input_noise=.1",
    )  # fmt: skip
    scores = json.loads((written / "run" / "scores.json").read_text())
    assert all(max(of["rank"]) <= of["features"] for of in scores["capacity"].values()), answer.err


def test_the_check_of_the_page(written):
    exec(CHECK, {})
