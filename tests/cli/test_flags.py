"""Every flag, alone and with another one, in a run and in a multirun: an answer or one line, and no traceback."""

from __future__ import annotations

import itertools
import logging

import pytest
import yaml

from orthotrace.cli.flags import INFO, SWITCHES, VALUES, as_words, overrides_in, read_flags
from orthotrace.core.errors import UserError

FLAGS = [
    *([names[0]] for names in SWITCHES),
    *([name, value] for name, value in zip((names[0] for names in VALUES), ("model", ".", "train", "."), strict=True)),
    *(["--cfg", of] for of in ("job", "hydra", "all")),
    ["--info"],
    *(["--info", of] for of in INFO),
]


@pytest.fixture(autouse=True)
def handlers_of_hydra_are_taken_away():
    """Hydra prints its help by a handler that it leaves, with the output of this test, which is closed after it."""
    before = logging.root.handlers[:]
    yield
    for one in logging.root.handlers[:]:
        if type(one) is logging.StreamHandler and one not in before:
            logging.root.removeHandler(one)


PAIRS = [(one, two) for one, two in itertools.combinations(FLAGS, 2) if one[0] != two[0]]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: " ".join(itertools.chain(*pair)))
def test_flags_stand_anywhere_and_go_together_or_are_refused_on_one_line(pair):
    one, two = pair
    orders = [[*one, "seed=0", *two, "name=x"], ["seed=0", *two, "name=x", *one], [*two, *one, "seed=0", "name=x"]]
    answers = []
    for words in orders:
        try:
            found = read_flags(words)
        except UserError as error:
            answers.append("refused" if "\n" not in str(error) else "several lines")
            continue
        # What Hydra is given is read as the same again, and overrides come after all flags.
        again = as_words(found)
        assert as_words(read_flags(again)) == again
        assert found.overrides == ([] if found.hydra_help else ["seed=0", "name=x"])
        assert again[len(again) - len(found.overrides) :] == found.overrides
        answers.append(sorted(again))
    assert len({str(answer) for answer in answers}) == 1 and answers[0] != "several lines"
    assert overrides_in(orders[0]) in (["seed=0", "name=x"], [])


# What is printed, in a run and for both jobs of a multirun: flags -> what it says.
ASKED = {
    "--cfg job": "max_epochs: 5",
    "--cfg hydra --resolve": "dir: runs/study/seed=",
    "--cfg all": "hydra:",
    "--cfg job --package seed": "1",
    "--cfg job --resolve": "init: 1",
    "--info defaults": "trainer/default",
    "--info config": "max_epochs: 5",
}


@pytest.mark.parametrize("asked", ASKED)
def test_what_is_asked_of_a_multirun_is_answered_for_each_job(train, tmp_path, asked):
    answer = train("--multirun", *asked.split(), "seed=0,1", "hydra/launcher=joblib")
    assert answer.code == 0 and not answer.err, answer.err
    first, *jobs = answer.out.split("---\n# job ")
    assert not first and [job.split("\n")[0] for job in jobs] == ["1 of 2: seed=0", "2 of 2: seed=1"]
    assert ASKED[asked] in jobs[1] and jobs[0].count("\n") == jobs[1].count("\n")
    if asked.startswith("--cfg job") and "--package" not in asked:
        found = list(yaml.safe_load_all(answer.out))
        assert [one["seed"] for one in found] == [0, 1]
    assert not list(tmp_path.iterdir())


# Of what depends on no job there is one answer; a mistake is one line.
ONCE = {
    "--hydra-help": (0, "Hydra"),
    "--version": (0, "orthotrace 0"),
    "--help": (0, "Groups and their options"),
    "--shell-completion install=bash": (0, "complete"),
    "--shell-completion": (2, "--shell-completion: write install=SHELL"),
    "--shell-completion install=zork": (2, "--shell-completion: write install=SHELL"),
    "--shell-completion query=bash": (2, "--shell-completion: query is what the shell itself asks"),
    "--resolve": (2, "--resolve: goes with --cfg"),
    "--package model": (2, "--package: goes with --cfg"),
    "--cfg job --package nothing": (2, "--package: there is nothing at nothing"),
    "--cfg job --info config": (2, "only one of --cfg and --info at a time"),
    "--config-name nothing": (2, "--config-name: there is no nothing.yaml"),
    "--config-dir nothing": (2, "--config-dir: there is no folder nothing"),
    "--config-path nothing": (2, "--config-path: there is no folder nothing"),
    "--cfg job hydra/sweeper=nothing": (2, "hydra/sweeper=nothing: no such option"),
    "--cfg job metod=gpm": (2, "metod: no such key"),
}


@pytest.mark.parametrize("multirun", [[], ["--multirun"]], ids=["run", "multirun"])
@pytest.mark.parametrize("asked", ONCE)
def test_what_depends_on_no_job_is_answered_once(train, tmp_path, monkeypatch, asked, multirun):
    monkeypatch.delenv("COMP_LINE", raising=False)
    code, said = ONCE[asked]
    answer = train(*multirun, *asked.split())
    assert answer.code == code, answer.err
    assert (answer.err if code else answer.out).removeprefix("error: ").lstrip().startswith(said) or said in answer.out
    assert answer.err.count("\n") == bool(code) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "asked", ["--cfg job", "--hydra-help", "--multirun --cfg hydra --resolve", "--multirun --info"]
)
def test_an_analysis_answers_alike(analyze, monkeypatch, tmp_path, asked):
    answer = analyze(*asked.split(), "runs=x")
    assert answer.code == 0 and answer.out and not answer.err and not list(tmp_path.iterdir())


def test_a_command_without_a_word_is_read():
    assert read_flags([]).overrides == [] and overrides_in([]) == [] and as_words(read_flags([])) == []
