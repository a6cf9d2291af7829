"""Hints at keys that are misspelt."""

import pytest

from orthotrace.config.keys import OPEN, groups, hint, known_keys

KNOWN = {
    "analyze": known_keys("analyze", {}),
    "train": known_keys("train", {"method": "hlop", "concepts": "strokes", "stream": "split"}),
}
NESTED = [
    (name, f"{group}.{key}")
    for name, known in KNOWN.items()
    for group, node in known.items()
    if isinstance(node, dict) and group not in OPEN
    for key in node
    if key != "_target_"
]


@pytest.mark.parametrize("name", KNOWN)
def test_of_every_nested_key_a_misspelt_group_is_told(name):
    paths = [path for of, path in NESTED if of == name]
    assert len(paths) > 15
    for path in paths:
        group, _, key = path.partition(".")
        for misspelt in (f"{group[:-1]}.{key}", f"{group}s.{key}", f"{group[1:]}.{key}"):
            assert hint(misspelt, KNOWN[name], groups(name)).startswith(f"did you mean '{path}'?"), misspelt


@pytest.mark.parametrize("key", OPEN)
def test_what_users_name_below_a_misspelt_group_keeps_its_name(key):
    assert hint(f"{key[:-1]}.mine.path", KNOWN["analyze"], []) == f"did you mean '+{key}.mine.path'?"


def test_an_analysis_has_none_of_the_options_of_training():
    said = hint("zzz.zzz", KNOWN["analyze"], groups("analyze"))
    assert "spikes" in said and not {"optimizer", "method"} & set(said.removeprefix("there are: ").split(", "))


def test_a_file_that_has_changed_is_read_anew(tmp_path):
    (tmp_path / "model").mkdir()
    file = tmp_path / "model" / "mine.yaml"
    found = []
    for text in ("units: 3\n", "units: 3\nmore: {deep: '???'}\n"):
        file.write_text(text)
        found.append(known_keys("train", {"model": "mine"}, [tmp_path])["model"])
        # What is handed out is the caller's own.
        found[-1]["own"] = 1
    assert found == [{"units": 3, "own": 1}, {"units": 3, "more": {"deep": "???"}, "own": 1}]
    assert "own" not in known_keys("train", {"model": "mine"}, [tmp_path])["model"]


def test_what_is_missing_replaces_nothing(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "base.yaml").write_text("units: 3\nlist: [1, 2]\ndeep: {a: 1, b: 2}\n")
    (tmp_path / "model" / "mine.yaml").write_text(
        "defaults: [base]\nunits: ???\nlist: [3]\ndeep: {b: null}\nnew: ???\n"
    )
    assert known_keys("train", {"model": "mine"}, [tmp_path])["model"] == {
        "units": 3, "list": [3], "deep": {"a": 1, "b": None}, "new": "???"
    }  # fmt: skip
