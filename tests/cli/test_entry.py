"""Signals at generated moments: one line, the code, no work lost, the same bits; many more of them in make chaos."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from moments import CODES, Moment, interrupted, moments, sent_to_this_process, told

from orthotrace.results.run_folder import Run
from orthotrace.training import stopping

MANY = ("method=gpm", "stream.tasks=3", "trainer.max_epochs=3", "model.hidden=[24]", "trainer.batch_size=64")
AGAIN = "the same command continues"


def bits(folder: str) -> dict[str, torch.Tensor]:
    return torch.load(Run(folder).last, weights_only=True)["state_dict"]


def test_interrupted_again_and_again_a_run_comes_to_the_same_bits(train):
    assert train(*MANY, "hydra.run.dir=whole").code == 0
    hit = 0
    for moment in moments(seed=0, number=4, longest=0.7):
        with sent_to_this_process(moment):
            answer = train(*MANY, "hydra.run.dir=cut")
        if answer.code:
            hit += 1
            assert answer.code == CODES[moment.signal], answer.err
            # The folder is known once the configuration is.
            assert answer.err in (f"interrupted{where}; {AGAIN}\n" for where in ("", f": {Path('cut').resolve()}"))
    assert hit >= 2
    assert train(*MANY, "hydra.run.dir=cut").code == 0
    one, two = bits("whole"), bits("cut")
    assert list(one) == list(two) and all(torch.equal(one[key], two[key]) for key in one)
    assert Run("whole").metrics_file.read_text() == Run("cut").metrics_file.read_text()


@pytest.mark.parametrize(("patience", "epochs"), [(60.0, 1), (0.0, 0)])
def test_the_end_of_an_epoch_is_waited_for_where_it_is_near(train, monkeypatch, patience, epochs):
    """Without time for checkpoints, the one of the signal is the only one."""
    monkeypatch.setattr(stopping, "PATIENCE", patience)
    steps = []

    def step(self, trainer, module, *rest):
        if not steps:
            signal.raise_signal(signal.SIGTERM)
        steps.append(rest)
        original(self, trainer, module, *rest)

    original = stopping.Stopping.on_train_batch_end
    monkeypatch.setattr(stopping.Stopping, "on_train_batch_end", step)
    assert train(*MANY, "trainer.save_every=1000", "hydra.run.dir=run").code == 143
    assert Run("run").last.is_file() == bool(epochs)
    assert len(Run("run").metrics_file.read_text().splitlines()) == (2 if epochs else 1)
    assert (len(steps) > 1) == bool(epochs)


def test_a_signal_stops_a_whole_multirun(train, monkeypatch):
    monkeypatch.setattr(stopping.Stopping, "on_train_batch_end", lambda *_: signal.raise_signal(signal.SIGTERM))
    answer = train("--multirun", *MANY, "seed=0,1", "hydra.sweep.dir=all")
    assert answer.code == 143 and answer.err == "interrupted: all; the same command continues\n"
    assert "failed" not in answer.out and not list(Path("all").rglob("failed.txt"))
    assert len([folder for folder in Path("all").iterdir() if folder.is_dir()]) == 1


def test_an_analysis_is_interrupted_alike(analyze, study, tmp_path):
    with sent_to_this_process(Moment(signal.SIGINT, 0.6)):
        answer = analyze(f"runs={study}", f"out={tmp_path}/out")
    assert answer.code == 130
    assert answer.err == f"interrupted: {tmp_path}/out; the same command continues\n"


def test_the_imports_are_interrupted_alike(tmp_path):
    moment = Moment(signal.SIGINT, 0.5)
    ended = interrupted(["orthotrace-train", "--multirun", *MANY, "seed=0,1"], tmp_path, moment)
    assert told(ended, moment), ended
