"""The published table: its numbers are those committed, its script knows its methods."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = json.loads((ROOT / "scripts" / "results" / "split_mnist.json").read_text())["results"]
SEARCH = json.loads((ROOT / "scripts" / "results" / "split_mnist_search.json").read_text())
SCENARIOS = ("task", "domain", "class")


@pytest.mark.parametrize("method", RESULTS)
def test_the_table_of_the_page_is_that_of_the_results(method):
    cells = []
    for scenario in SCENARIOS:
        acc = RESULTS[method][scenario]["acc"]
        assert RESULTS[method][scenario]["seeds"] == [0, 1, 2, 3, 4]
        cells.append(f"{statistics.mean(acc):.3f} ± {statistics.stdev(acc):.3f}".replace("0.", "."))
    assert f"| {method} | {' | '.join(cells)} |" in (ROOT / "docs" / "results" / "continual_learning.md").read_text()


def test_strengths_are_the_best_of_the_search():
    for method, of in SEARCH["scores"].items():
        for scenario, scores in of.items():
            best = SEARCH["best"][method][scenario]
            assert scores[best] == max(scores.values())
            assert list(RESULTS[method][scenario]["option"].values()) == [best]


def test_overrides_are_those_chosen(monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    monkeypatch.chdir(ROOT)
    import split_mnist

    for method, expected in {"finetune": [], "lwf": [f"method.strength={SEARCH['best']['lwf']['class']}"]}.items():
        monkeypatch.setattr(sys, "argv", ["split_mnist.py", "chosen", method, "class"])
        split_mnist.main()
        assert capsys.readouterr().out.split() == expected
