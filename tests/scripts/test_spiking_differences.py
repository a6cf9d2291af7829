"""The tables of spiking networks over time: their numbers are those committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from orthotrace.core.files import read_json

ROOT = Path(__file__).parents[2]


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    monkeypatch.chdir(ROOT)
    import spiking_differences

    return spiking_differences


def test_the_tables_are_those_of_the_results(study):
    page = (ROOT / "docs" / "results" / "spiking_differences.md").read_text()
    lines = [*study.table(), *study.table_over_time()]
    assert len(lines) == 2 + 3 + 2 + 3 and all(line in page for line in lines)


def test_five_seeds_of_each_and_no_path_of_a_machine(study):
    content = read_json(study.RESULTS)
    assert {label: len(of) for label, of in content["accuracy"].items()} == {"ReLUs": 5, "spiking": 5}
    assert all(len(one["pairs"]) == 10 for one in content["rates"]["consistency"])
    assert "/" not in str(content["overrides"]) and "dataset.path" not in study.RESULTS.read_text()
    for names in study.FIGURES.values():
        for name in names:
            assert (study.RESULTS.parent / f"{name}.pdf").is_file()
            assert (ROOT / "docs" / "figures" / f"spiking_differences_{name}.png").is_file()
