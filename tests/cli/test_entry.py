"""Signals at generated moments: one line, the code, no work lost, the same bits; many more of them in make chaos."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from chaos_commands import Command, signals
from moments import Moment, interrupted, told

from orthotrace.results.run_folder import Run
from orthotrace.training import stopping

MANY = ("method=gpm", "stream.tasks=3", "trainer.max_epochs=3", "model.hidden=[24]", "trainer.batch_size=64")


def test_a_run_is_interrupted_anywhere_and_comes_to_the_same_bits(tmp_path):
    """In processes of their own: where a signal comes within the opening of a file, Python warns of what is left open."""
    (tally,) = signals(tmp_path, number=2, seed=0)
    assert not tally.failed and tally.tries == 2, tally.notes


@pytest.mark.parametrize(("patience", "epochs"), [(60.0, 1), (0.0, 0)])
def test_the_end_of_an_epoch_is_waited_for_where_it_is_near(train, monkeypatch, patience, epochs):
    """Without time for checkpoints, the one of the signal is the only one."""
    monkeypatch.setattr(stopping, "patience", lambda: patience)
    steps = []

    def step(self, trainer, module, *rest):
        if not steps:
            signal.raise_signal(signal.SIGTERM)
        steps.append(rest)
        original(self, trainer, module, *rest)

    original = stopping.Stopping.after_batch
    monkeypatch.setattr(stopping.Stopping, "after_batch", step)
    assert train(*MANY, "trainer.save_every=1000", "hydra.run.dir=run").code == 143
    assert Run("run").last.is_file() == bool(epochs)
    assert len(Run("run").metrics_file.read_text().splitlines()) == (2 if epochs else 1)
    assert (len(steps) > 1) == bool(epochs)


def test_a_signal_stops_a_whole_multirun(train, monkeypatch):
    monkeypatch.setattr(stopping.Stopping, "after_batch", lambda *_: signal.raise_signal(signal.SIGTERM))
    answer = train("--multirun", *MANY, "seed=0,1", "hydra.sweep.dir=all")
    assert answer.code == 143 and answer.err == "interrupted: all; the same command continues\n"
    assert "failed" not in answer.out and not list(Path("all").rglob("failed.txt"))
    assert len([folder for folder in Path("all").iterdir() if folder.is_dir()]) == 1


def test_an_analysis_is_interrupted_alike(study, tmp_path):
    command = Command(["orthotrace-analyze", f"runs={study}", f"out={tmp_path}/out"], tmp_path)
    # The folder is locked when the analysis has begun.
    while command.process.exitcode is None and not (tmp_path / "out").exists():
        time.sleep(0.01)
    command.send(signal.SIGINT, 0.3)
    ended = command.ended()
    assert ended.code == 130, ended
    assert ended.err == f"interrupted: {tmp_path}/out; the same command continues\n"


def test_the_imports_are_interrupted_alike(tmp_path):
    moment = Moment(signal.SIGINT, 0.5)
    ended = interrupted(["orthotrace-train", "--multirun", *MANY, "seed=0,1"], tmp_path, moment)
    assert told(ended, moment), ended
