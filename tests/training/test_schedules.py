from __future__ import annotations

import math

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR, StepLR

from orthotrace.core.errors import UserError
from orthotrace.training.schedules import Constant, Cosine, Cyclical, Plateau, Step

EPOCHS, STEPS = 6, 4


def rates(schedule, epochs=EPOCHS, steps=STEPS) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = schedule.scheduler(optimizer, epochs, steps) if isinstance(schedule, Constant) else schedule(optimizer)
    found = []
    for _ in range(epochs * steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Step(every=2, gamma=0.3), lambda o: StepLR(o, 2 * STEPS, 0.3)),
        (Step(at=[1, 4], gamma=0.5), lambda o: MultiStepLR(o, [STEPS, 4 * STEPS], 0.5)),
        (Cosine(floor=0.1), lambda o: CosineAnnealingLR(o, EPOCHS * STEPS, 0.05)),
    ],
)
def test_they_are_those_of_torch(ours, theirs):
    assert rates(ours) == pytest.approx(rates(theirs))


def test_a_warm_up_rises_in_equal_steps_to_the_full_rate():
    found = rates(Cosine(warmup=2))
    assert found[:8] == pytest.approx([0.5 * (step + 1) / 8 for step in range(8)])
    assert found[8:] == pytest.approx([0.25 * (1 + math.cos(math.pi * step / 16)) for step in range(16)])


def test_cycles():
    found = rates(Cyclical(period=2, floor=0.2))
    assert found[0] == pytest.approx(0.1) and found[4] == pytest.approx(0.5) and found[:8] == pytest.approx(found[8:16])


def test_constant_needs_no_scheduler():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    assert Constant().scheduler(optimizer, EPOCHS, STEPS) is None


@pytest.mark.parametrize("monitor", ["loss", "accuracy"])
def test_a_plateau_lowers_the_rate(monitor):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = Plateau(patience=1, gamma=0.1, lowest=0.01, monitor=monitor).scheduler(optimizer, 1, 1)
    found = []
    for value in (3.0, 2.0, 2.0, 2.0, 1.0, 1.5, 1.5, 1.5, 1.5):
        scheduler.step(value if monitor == "loss" else -value)
        found.append(optimizer.param_groups[0]["lr"])
    assert found == pytest.approx([0.5, 0.5, 0.5, 0.05, 0.05, 0.05, 0.01, 0.01, 0.01])


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: Step(), "give either every or at"),
        (lambda: Step(every=1, at=[2]), "give either every or at"),
        (lambda: Step(every=0), "every"),
        (lambda: Step(at=[0]), "at"),
        (lambda: Cosine(warmup=-1), "warmup"),
        (lambda: Cosine(warmup=6).scheduler(torch.optim.SGD([torch.zeros(1)], 1.0), 6, 1), "6 of 6 epochs leaves none"),
        (lambda: Cyclical(period=0), "period"),
        (lambda: Plateau(gamma=1), "gamma"),
    ],
)
def test_schedules_that_cannot_be(make, line):
    with pytest.raises(UserError, match=line):
        make()
