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
