"""Every run has a name of its own."""

from __future__ import annotations

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from orthotrace.analysis.networks.names import names_of

PARTS = st.lists(st.sampled_from(["a", "b", "a_b", "b_1", "a_b_1"]), min_size=1, max_size=4)


@given(st.lists(PARTS.map(lambda parts: Path(*parts)), min_size=1, max_size=8, unique=True))
@example([Path("a/b"), Path("c/b"), Path("a_b")])
@example([Path("a/b"), Path("c/b"), Path("a_b"), Path("a_b_1")])
def test_no_two_runs_have_one_name(folders):
    found = names_of(folders)
    assert list(found) and set(found) == set(folders) and len(set(found.values())) == len(folders)
    assert not any("/" in name for name in found.values())
    assert found == names_of(reversed(folders))


def test_a_name_that_is_no_one_else_s_stays():
    assert names_of([Path("a/seed=0"), Path("a/seed=1")]) == {Path("a/seed=0"): "seed=0", Path("a/seed=1"): "seed=1"}


def test_of_several_those_folders_are_named_in_which_they_differ():
    folders = [Path("all/pilot/x/seed=0"), Path("all/main/x/seed=0"), Path("all/main/x/seed=1")]
    assert list(names_of(folders).values()) == ["pilot_x_seed=0", "main_x_seed=0", "seed=1"]
