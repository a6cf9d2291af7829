"""Values of a multirun that only its jobs can know: those of options that are swept."""

from __future__ import annotations

import pytest
from conftest import TINY
from hydra.core.override_parser.overrides_parser import OverridesParser

from orthotrace.cli.per_job import differs, left_to_jobs
from orthotrace.results.run_folder import find

CASES = {
    "of a swept group": ("method=gpm,trgp method.samples=9", "method=gpm,trgp method.samples=choice(9)"),
    "of another group": ("method=gpm,trgp optimizer.lr=.1", "method=gpm,trgp optimizer.lr=.1"),
    "a list": ("method=gpm,sgp method.energy=[.9,1]", "method=gpm,sgp method.energy=choice([.9,1])"),
    "a mapping": ("method=gpm,sgp method.rows={fc1:2}", "method=gpm,sgp method.rows=choice({fc1:2})"),
    "quoted": ("method=gpm,hlop method.rows_from='a,b'", "method=gpm,hlop method.rows_from=choice('a,b')"),
    "swept itself": ("method=gpm,sgp method.samples=9,8", "method=gpm,sgp method.samples=9,8"),
    "weights are the model's": (
        "weights=own,oni model.weights.scale=1",
        "weights=own,oni model.weights.scale=choice(1)",
    ),
    "an experiment chooses": ("experiment=a,b method.samples=9", "experiment=a,b method.samples=choice(9)"),
    "a stream may choose": ("stream=a,b method.samples=9", "stream=a,b method.samples=choice(9)"),
    "added": ("method=gpm,sgp +method.samples=9", "method=gpm,sgp +method.samples=9"),
    "deleted": ("method=gpm,sgp ~method.samples", "method=gpm,sgp ~method.samples"),
    "nothing": ("method=gpm,sgp method.samples=", "method=gpm,sgp method.samples="),
    "no sweep": ("method=gpm method.samples=9 seed=0,1", "method=gpm method.samples=9 seed=0,1"),
    "of Hydra": ("method=gpm,sgp hydra.verbose=true", "method=gpm,sgp hydra.verbose=true"),
    "what Hydra refuses": ("method=gpm,sgp method.samples=[", "method=gpm,sgp method.samples=["),
}


@pytest.mark.parametrize("case", CASES)
def test_values_are_left_to_the_jobs_where_these_choose_the_option(case):
    given, expected = (words.split(" ") for words in CASES[case])
    assert left_to_jobs(given) == expected


@pytest.mark.parametrize(
    ("word", "swept"), [("a=1,2", True), ("a=choice(1)", False), ("a=choice(1,2)", True), ("a=1", False), ("a=range(2)", True)]
)  # fmt: skip
def test_a_choice_of_one_is_no_difference(word, swept):
    assert differs(OverridesParser.create().parse_override(word)) == swept


def test_a_key_that_the_default_method_has_not_holds_for_all_that_are_swept(train, tmp_path):
    answer = train("--multirun", "method=gpm,trgp", "method.samples=50", "method.energy=[.9,.95]", *TINY)
    assert answer.code == 0, answer.err
    # Named, and told, as of one method.
    assert "[1/2] method=gpm ACC" in answer.out or "[1/2] method=gpm task" in answer.out
    runs = find(tmp_path / "runs")
    assert len(runs) == 2 and all(run.config.method.samples == 50 for run in runs)
    assert all(run.config.method.energy == [0.9, 0.95] for run in runs)
    assert {run.folder.name.split(",")[0] for run in runs} == {"method=gpm", "method=trgp"}
    assert "method.samples=50" in runs[0].overrides


def test_a_mistake_in_it_is_told_with_the_job(train):
    answer = train("--multirun", "method=gpm,trgp", "method.smaples=50", *TINY)
    assert answer.code == 2 and "method.smaples: no such key; did you mean 'method.samples'?" in answer.err
    assert "(in the job method=gpm method.smaples=50" in answer.err
