"""What a user sets of training. What goes together is tested through the command, in test_entry.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytorch_lightning.accelerators import MPSAccelerator

from orthotrace.core.errors import UserError
from orthotrace.training.settings import Training
from orthotrace.training.trainer import make_trainer


@pytest.mark.parametrize(
    "options", [{"max_epochs": 0}, {"max_epochs": 1, "threads": 0}, {"max_epochs": 1, "save_every": -1}]
)
def test_trainings_that_cannot_be(options):
    with pytest.raises(UserError):
        Training.of(**options)


def test_steps_are_a_number_or_a_list():
    assert Training.of(max_epochs=1, evaluate_inside=[1, 5]).evaluate_inside == (1, 5)
    assert Training.of(max_epochs=1, evaluate_inside=3).evaluate_inside == 3


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"logger": True}, "trainer.logger: is set by orthotrace itself"),
        ({"max_time": "00:00:00:00"}, "trainer.max_time: is set by orthotrace itself: a task ends after"),
        ({"precison": 32}, "trainer.precison: no such option; did you mean 'precision'?"),
        ({"accelerator": "abacus"}, "trainer: "),
    ],
)
def test_trainers_that_cannot_be(options, line):
    with pytest.raises(UserError) as error:
        make_trainer(options, [], Path("run"))
    assert str(error.value).startswith(line)


@pytest.fixture
def apple(monkeypatch):
    """A machine with Apple's GPU and no other."""
    monkeypatch.setattr(MPSAccelerator, "is_available", staticmethod(lambda: True))


@pytest.mark.parametrize("given", [{}, {"accelerator": "auto"}])
def test_a_gpu_without_float64_is_not_taken_by_itself(apple, given):
    assert make_trainer(given, [], Path("run")).strategy.root_device.type == "cpu"


@pytest.mark.parametrize("asked", ["mps", "gpu"])
def test_a_gpu_without_float64_is_refused(apple, asked):
    with pytest.raises(UserError, match=r"trainer\.accelerator: Apple's GPU has no float64"):
        make_trainer({"accelerator": asked}, [], Path("run"))
