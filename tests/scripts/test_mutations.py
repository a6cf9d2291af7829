"""The lines that scripts/mutations.py breaks: each is there, and so is the test file that must notice."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_every_line_that_is_broken_is_there_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from broken_lines import MUTATIONS

    assert len(MUTATIONS) > 70
    for one in MUTATIONS:
        assert (ROOT / one.file).read_text().count(one.old) == 1, one.name
        assert (ROOT / one.tests).is_file(), one.tests
