"""docs/howto/sequences.md: the series of the page is learned; its other commands are composed, by test_commands."""

from __future__ import annotations

import json

from conftest import TINY
from pages import blocks, commands


def test_the_series_of_the_page(tmp_path, train):
    (code,) = blocks("docs/howto/sequences.md", "python")
    exec(code, {})
    (command,) = [one for one in commands("docs/howto/sequences.md") if "dataset=tensors" in one]
    kept = [word for word in TINY if "hidden" not in word and "tasks" not in word]
    answer = train(*command[1:], *kept, "trainer.batch_size=16", "hydra.run.dir=runs/one")
    assert answer.code == 0, answer.err
    assert len(json.loads((tmp_path / "runs" / "one" / "scores.json").read_text())["accuracy"]) == 2
