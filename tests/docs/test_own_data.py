"""docs/howto/own_data.md: every command and the code, run; in make test its commands are composed, by test_commands."""

from __future__ import annotations

import json
import re
import shlex

import numpy as np
import pytest
from images import encoded
from pages import PAGES

PAGE = PAGES["docs/howto/own_data.md"]
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^orthotrace-.*$", PAGE, re.MULTILINE)


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for shade, name in enumerate(("ant", "bee", "crab", "duck")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(30):
            pixels = rng.integers(60 * shade, 60 * shade + 50, (20, 24, 3), dtype=np.uint8)
            (tmp_path / "pictures" / name / f"{number:03}.png").write_bytes(encoded(pixels))
    return tmp_path


@pytest.mark.whole
def test_the_commands_of_the_page(pictures, train, analyze):
    assert len(COMMANDS) == 5
    wrong, *right, analysis, _ = [command.split()[1:] for command in COMMANDS]
    answer = train(*wrong, "hydra.sweep.dir=wrong")
    assert answer.code == 2 and "method.memory.size: no such key" in answer.err
    for command in right:
        answer = train(*command, "trainer.max_epochs=1", "seed=0,1")
        assert answer.code == 0, answer.err
    assert (pictures / "runs" / "pictures" / "summary.tex").is_file()
    answer = analyze(*analysis)
    assert answer.code == 0, answer.err
    assert (pictures / "runs" / "pictures" / "analysis" / "report.html").is_file()


def test_the_code_of_the_page(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    names: dict = {}
    exec(CODE[1], names)
    assert names["inputs"].shape[1:] == (3, 16, 16) and len(names["inputs"]) == len(names["labels"])


def test_the_regression_of_the_page(tmp_path, train):
    exec(CODE[0], {})
    answer = train(*shlex.split(COMMANDS[-1])[1:])
    assert answer.code == 0, answer.err
    told = json.loads((tmp_path / "runs" / "ages" / "scores.json").read_text())
    assert told["score"] == "r2" and told["acc"] > 0.3 and told["classes"] == ["age"]
    assert f"R² {told['acc']:.3f}" in answer.out and "task 2/2: R² " in answer.out
