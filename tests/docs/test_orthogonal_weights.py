"""docs/howto/orthogonal_weights.md: its command, its code and its numbers."""

from __future__ import annotations

import json
import re
import statistics

import torch
from pages import PAGES, ROOT

PAGE = PAGES["docs/howto/orthogonal_weights.md"]
RESULTS = PAGES["docs/results/orthogonal_weights.md"]


def test_the_command_of_the_page(train):
    (command,) = re.findall(r"^orthotrace-train (.*)$", PAGE, re.MULTILINE)
    answer = train(*command.split())
    assert answer.code == 0, answer.err


def test_the_code_of_the_page():
    names: dict = {}
    exec(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0], names)
    assert max(names["worst"].values()) < 1e-5 and list(names["worst"]) == ["0"]
    assert type(names["model"][0]) is torch.nn.Conv2d and not names["deviations"](names["model"])


def test_the_numbers_of_the_page():
    results = json.loads((ROOT / "scripts" / "results" / "own_cifar10.json").read_text())["results"]
    for kind in ("free", "own"):
        values = results[kind]["test_accuracy"]
        assert results[kind]["seeds"] == [0, 1, 2]
        cell = f"{statistics.fmean(values):.3f} ± {statistics.stdev(values):.3f}".replace("0.", ".")
        assert f"| {kind} | {cell} |" in RESULTS
    assert set(results["own"]["deviation"]) == {"Linear", "Conv2d"}
    assert max(max(of) for of in results["own"]["deviation"].values()) <= 1e-4
