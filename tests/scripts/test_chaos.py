"""make chaos: its kinds can be tried, its failures are counted, and what is committed is what the page shows."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest
from tally import Tally

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "results" / "trust.md"
# What is promised of each part: so many tries at least.
LEAST = {"kill:": 60, "W&B": 20, "arrays": 10_000, "damage:": 300, "configurations that": 1000, "valid": 300}


@pytest.fixture
def chaos(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    monkeypatch.delitem(sys.modules, "chaos", raising=False)
    import chaos

    return chaos


def test_every_part_can_be_called(chaos):
    for module, function, number in chaos.PARTS.values():
        assert callable(getattr(import_module(module), function)) and number >= 1


@pytest.mark.parametrize(
    "part", ["removed folders", *(pytest.param(part, marks=pytest.mark.whole) for part in ("ranks", "workers"))]
)
def test_a_part_is_tried(chaos, part):
    (row,) = chaos.one(part, 1, 0)
    assert row["tries"] == row["survived"] == 1 and not row["notes"] and row["seconds"] > 0
    assert not chaos.failed([row])


def test_what_is_not_survived_is_counted_and_said(chaos):
    tally = Tally("kind")
    assert chaos.failed([tally.row()]), "nothing was tried"
    tally.count("survived")
    assert not chaos.failed([tally.row()])

    def fails():
        raise ZeroDivisionError("of the test")

    def refuses():
        raise ValueError("one line")

    tally.reading(refuses, 1, "a", ValueError)
    tally.reading(lambda: 1, 1, "b", ValueError)
    tally.reading(lambda: 2, 1, "c", ValueError)
    tally.reading(fails, 1, "d", ValueError)
    tally.count("hangs", "e")
    row = tally.row()
    assert (row["tries"], row["survived"], row["wrong"], row["tracebacks"], row["hangs"]) == (6, 3, 1, 1, 1)
    assert [note.split(": ")[1] for note in row["notes"]] == ["wrong", "tracebacks", "hangs"]
    assert chaos.failed([row]) and chaos.table([row])[2] == "| kind | 6 | 3 | 0 | 1 | 1 | 1 |"


def test_one_kind_that_is_tried_again_takes_its_place_in_the_results_and_a_new_one_the_last(
    chaos, tmp_path, monkeypatch
):
    def row(kind, wrong):
        tally = Tally(kind)
        tally.count("wrong" if wrong else "survived")
        return tally.row()

    monkeypatch.setattr(chaos, "RESULTS", tmp_path / "chaos.json")
    chaos.write({"command": "make chaos", "rows": [row("a", False), row("b", True)]})
    monkeypatch.setattr(chaos, "one", lambda *_: [row("b", False), row("c", False)])
    monkeypatch.setattr(sys, "argv", ["chaos.py", "marks", "--write"])
    with pytest.raises(SystemExit) as stop:
        chaos.main()
    found = json.loads((tmp_path / "chaos.json").read_text())
    assert not stop.value.code and [one["kind"] for one in found["rows"]] == ["a", "b", "c"]
    assert not chaos.failed(found["rows"]) and found["again"] == ["python scripts/chaos.py marks --write"]


def test_the_table_of_the_page_is_what_is_committed_and_nothing_was_lost(chaos):
    found = json.loads(chaos.RESULTS.read_text())
    assert "\n".join(chaos.table(found["rows"])) in PAGE.read_text()
    assert not chaos.failed(found["rows"])
    for start, least in LEAST.items():
        tries = [row["tries"] for row in found["rows"] if row["kind"].startswith(start)]
        assert (sum if start == "kill:" else min)(tries) >= least, start
    assert found["seconds"] < 40 * 60
