"""docs/howto/add_other_methods.md: its code, its configurations and its commands, and that its methods resume."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from pages import PAGES

from orthotrace.core.errors import UserError
from orthotrace.methods import Method, TaskContext

PAGE = PAGES["docs/howto/add_other_methods.md"]
CODE = "\n\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
CONFIGS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line.split()[1:] for line in re.findall(r"^orthotrace-.*$", PAGE, re.MULTILINE)]


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A folder with the file and its configurations."""
    (tmp_path / "kinds.py").write_text(CODE)
    (tmp_path / "conf" / "method").mkdir(parents=True)
    for name, config in zip(("anchor", "weighed", "adapters"), CONFIGS, strict=True):
        (tmp_path / "conf" / "method" / f"{name}.yaml").write_text(config)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "kinds", raising=False)
    return tmp_path


def scores_in(folder: Path) -> dict[str, dict]:
    found = [json.loads(path.read_text()) for path in (folder / "runs" / "kinds").rglob("scores.json")]
    return {run["method"]: run for run in found}


def test_the_commands_of_the_page(written, train):
    for command in COMMANDS:
        answer = train(*command)
        assert answer.code == 0, answer.err
    scores = scores_in(written)
    assert sorted(scores) == ["adapters", "anchor", "weighed"]
    # What is frozen forgets nothing, and the first task is learned.
    assert scores["adapters"]["bwt"] == pytest.approx(0, abs=1e-9) and scores["adapters"]["accuracy"][0][0] > 0.5


def test_adapters_resume_bit_by_bit(written, train, monkeypatch):
    """Stopped when the last task begins and continued, beside a run that was not."""
    whole = ["--config-dir=conf", "method=adapters", "stream.tasks=3", "trainer.max_epochs=2"]
    assert train(*whole, "name=whole").code == 0

    def stop(method: Method, context: TaskContext) -> None:
        if context.number == 2:
            raise UserError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["kinds"].Adapters, "begin_task", stop)
        assert train(*whole, "name=parts").code == 2
    assert train(*whole, "name=parts").code == 0
    states = []
    for name in ("whole", "parts"):
        (last,) = (written / "runs" / name).rglob("last.ckpt")
        states.append(torch.load(last, weights_only=True)["state_dict"])
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], value) for key, value in states[1].items())


def test_the_table_names_the_hooks_that_there_are():
    table = PAGE[PAGE.index("## The hooks") : PAGE.index("`context` says")]
    named = re.findall(r"`(\w+)\(", table)
    assert len(named) == len(set(named)) and all(callable(getattr(Method, name)) for name in named)
    hooks = {name for name, value in vars(Method).items() if callable(value) and not name.startswith("_")}
    # These say what a task begins with, not what happens in one.
    assert hooks - set(named) <= {"task", "fresh", "kept"}
