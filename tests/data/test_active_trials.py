from __future__ import annotations

import math

import pytest
import torch

from orthotrace.data.active_targets import LOSSES
from orthotrace.data.active_trials import ActiveTrials, performed, trial_loss
from orthotrace.data.sources import cognitive

ACTIVE = ActiveTrials("domain", (range(0, 3),) * 2)


def test_the_loss_is_the_mean_of_weighted_squares():
    torch.manual_seed(0)
    outputs, labels = torch.randn(4, 3, 6).double(), torch.randn(4, 4, 6).double().abs()
    total = 0.0
    for n in range(4):
        for k in range(3):
            for t in range(6):
                error = float(outputs[n, k, t] - labels[n, k, t])
                total += (4 if k == 0 else 1) * float(labels[n, 3, t]) * error**2
    assert float(ACTIVE.loss(outputs, labels, 0)) == pytest.approx(total / (4 * 3 * 6), rel=1e-12)
    assert float(trial_loss(labels[:, :3], labels, LOSSES["mse"])) == 0


def test_with_a_head_for_each_task_its_own_outputs_count():
    active = ActiveTrials("task", (range(0, 3), range(3, 6)))
    labels = torch.rand(5, 4, 7)
    outputs = torch.cat([labels[:, :3] + 9, labels[:, :3]], dim=1)
    assert float(active.loss(outputs, labels, 1)) == 0 and float(active.loss(outputs, labels, 0)) > 1
    tasks = torch.tensor([0, 1, 1, 0, 1])
    mixed = active.predicted(outputs, 0, tasks)
    assert torch.equal(mixed[tasks == 1], labels[tasks == 1][:, :3])
    assert torch.equal(active.predicted(outputs, 1), labels[:, :3])


@pytest.mark.parametrize("apart", [0.0, 0.19, -0.19, 0.21, -0.21, 1.0, -1.0])
@pytest.mark.parametrize("target", [0.0, 3.0, -3.1])
def test_directions_within_a_fifth_of_half_a_turn_are_right(target, apart):
    labels = torch.zeros(1, 4, 5)
    labels[0, 1:3, 3] = torch.tensor([math.cos(target), math.sin(target)])
    # What comes after the trial does not count, nor does the length of the answer.
    labels[0, 3, :4] = 1.0
    outputs = torch.full((1, 3, 5), 7.0)
    answer = target + apart * math.pi
    outputs[0, :, 3] = torch.tensor([0.4, 3 * math.cos(answer), 3 * math.sin(answer)])
    assert bool(performed(outputs, labels)) == (abs(apart) < 0.2)
    outputs[0, 0, 3] = 0.6
    assert not bool(performed(outputs, labels))
    # Where the trial ends in fixation only that counts.
    labels[0, 0, 3] = 1.0
    assert bool(performed(outputs, labels))


def test_the_targets_themselves_are_performed_and_one_direction_in_a_fifth():
    part = cognitive(["go"], trials=1000, test_trials=1).train
    assert ACTIVE.score_of(part.labels[:, :3], part.labels) == 1.0
    same = torch.zeros(1000, 3, part.labels.shape[2])
    same[:, 1] = 1.0
    assert ACTIVE.score_of(same, part.labels) == pytest.approx(0.2, abs=0.04)
