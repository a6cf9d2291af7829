"""A network that starts from the weights of a run or a file: the same folder for the same weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import called, snapshot
from safetensors.torch import save_file

from orthotrace import load
from orthotrace.cli.train import main

SMALL = ("method=finetune", "trainer.max_epochs=1", "model.hidden=[8]", "trainer.batch_size=256", "stream.tasks=1")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("finished") / "first"
    called(main, *SMALL, f"hydra.run.dir={folder}")
    return folder


@pytest.fixture
def first(finished, tmp_path) -> Path:
    """A copy of it, in the folder where the command is given."""
    return Path(shutil.copytree(finished, tmp_path / "first").name)


def test_a_run_starts_from_what_another_came_to(train, first):
    answer = train(*SMALL, "name=second", "seed=1", f"init_from={first}")
    assert answer.code == 0, answer.err
    (second,) = Path("runs/second").iterdir()
    scores = [json.loads((run / "scores.json").read_text()) for run in (first, second)]
    # The same task for both, before the second has trained.
    assert scores[1]["untrained"] == scores[0]["accuracy"][0]
    before = snapshot(second)
    # The same weights lie elsewhere, in another form.
    shutil.copytree(first, "a copy")
    save_file(load(first).state_dict(), "first.safetensors")
    for place in ("first.safetensors",):
        again = train(*SMALL, "name=second", "seed=1", f"init_from={place}")
        assert again.code == 0 and f"{second} is finished" in again.out, (again.out, again.err)
    assert snapshot(second) == before
    # A network is read without what it started from.
    shutil.rmtree(first)
    assert load(second).head.out_features == 10


def test_an_average_begins_with_the_weights_that_are_given(train, first):
    weights = load(first).state_dict()
    torch.save({name: value + 1 for name, value in weights.items()}, "start.pt")
    answer = train(*SMALL, "init_from=start.pt", "regularizer.average=.1", "seed=1", "optimizer.lr=0")
    assert answer.code == 0, answer.err
    (run,) = Path("runs/study").iterdir()
    assert all(torch.allclose(value, weights[name] + 1) for name, value in load(run).state_dict().items())


REFUSED = {
    "first/notes.txt": "init_from: first/notes.txt holds no weights, or a pickle",
    "other.pt": "init_from: 'fc1.weight' is (9, 64) there, and (8, 64) in the network",
}  # fmt: skip


def test_what_cannot_be_taken_is_one_line_before_anything_is_removed(train, first):
    (first / "notes.txt").write_text("mine")
    wider = {
        name: torch.ones(9, 64) if name == "fc1.weight" else value for name, value in load(first).state_dict().items()
    }
    torch.save(wider, "other.pt")
    before = snapshot(Path())
    for place, said in REFUSED.items():
        answer = train(*SMALL, f"init_from={place}", "hydra.run.dir=first", "overwrite=true")
        assert answer.code == 2 and answer.err.startswith(f"error: {said}") and answer.err.count("\n") == 1, answer.err
    answer = train(*SMALL, "init_from=other.pt", "init_digest=abc")
    assert answer.code == 2 and answer.err.startswith("error: init_digest: the weights of other.pt have another one")
    assert snapshot(Path()) == before
