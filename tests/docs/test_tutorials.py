"""The tutorials: every cell runs, and what is stored is what a run prints and draws."""

from __future__ import annotations

import json
import re
import sys

import pytest
from pages import DOCS, ROOT

TUTORIALS = sorted((DOCS / "tutorials").glob("*.ipynb"))
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


@pytest.fixture
def notebooks(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    monkeypatch.delitem(sys.modules, "notebooks", raising=False)
    import notebooks

    return notebooks


def kinds(cell: dict) -> list[str]:
    """What the outputs of a cell are, without the numbers, which differ by machine."""
    return ["".join(NUMBER.sub("#", line) for line in one.get("text", ["a figure"])) for one in cell["outputs"]]


def test_there_is_one_for_each_pillar():
    assert [path.stem for path in TUTORIALS] == ["compare", "protect", "read"]


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs_and_shows_what_it_stores(notebooks, path):
    stored = json.loads(path.read_text())
    assert stored["nbformat"] == 4
    for old, new in zip(stored["cells"], notebooks.run(path)["cells"], strict=True):
        if old["cell_type"] == "code":
            assert old["execution_count"] == new["execution_count"] and kinds(old) == kinds(new)


def test_the_value_of_a_last_line_and_a_figure_are_kept(notebooks):
    found = notebooks.outputs("import matplotlib.pyplot as plt\nprint(1)\nfigure = plt.figure()\n2 + 3", {})
    assert found[0]["text"] == ["1\n", "5\n"] and "image/png" in found[1]["data"] and len(found) == 2
    assert notebooks.outputs("x = 1", {}) == []
