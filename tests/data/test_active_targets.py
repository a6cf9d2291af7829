"""Loss and score of a regression, against torch's and scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score
from torch import nn

from orthotrace.data.active_targets import LOSSES, ActiveTargets, r2

DRAWS = torch.Generator().manual_seed(0)
VALUES, TARGETS = torch.randn(40, 2, generator=DRAWS), torch.randn(40, 2, generator=DRAWS)
HEADS = ActiveTargets("task", (range(0, 2), range(2, 4)))
OF_TORCH = {"mse": nn.MSELoss(), "l1": nn.L1Loss(), "huber": nn.HuberLoss()}
# Added to the targets; one of them does not vary.
SPREADS = {"small": 1.0, "far from 0": 1e4, "constant": 0.0}


def test_every_loss_is_tried():
    assert set(OF_TORCH) == set(LOSSES)


@pytest.mark.parametrize("error", OF_TORCH)
def test_losses_are_those_of_torch(error):
    one = ActiveTargets("domain", (range(2),), error=error)
    assert one.loss(VALUES, TARGETS, 0) == OF_TORCH[error](VALUES, TARGETS)
    # Over the outputs of the task alone, and of the task of each image where they are mixed.
    wide = torch.cat([VALUES + 9, VALUES], dim=1)
    heads = ActiveTargets("task", HEADS.by_task, error=error)
    assert heads.loss(wide, TARGETS, 1) == OF_TORCH[error](VALUES, TARGETS)
    tasks = torch.arange(40) % 2
    expected = sum(OF_TORCH[error]((VALUES + 9 * (1 - t))[tasks == t], TARGETS[tasks == t]) / 2 for t in (0, 1))
    assert torch.allclose(heads.loss(wide, TARGETS, 1, tasks), expected)
    shown = heads.predicted(wide, 1, tasks)
    assert shown.equal(torch.where((tasks == 1)[:, None], VALUES, VALUES + 9))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_loss_has_at_least_float32_and_a_gradient(dtype):
    values = VALUES.to(dtype).requires_grad_()
    loss = HEADS.loss(torch.cat([values, values], 1), TARGETS, 0)
    loss.backward()
    assert loss.dtype == torch.promote_types(dtype, torch.float32) and values.grad is not None


@pytest.mark.parametrize("name", SPREADS)
def test_r2_is_that_of_scikit_learn(name):
    targets = TARGETS * 0 + 3 if name == "constant" else TARGETS + SPREADS[name]
    values = targets + VALUES
    each = r2_score(targets.double().numpy(), values.double().numpy(), multioutput="raw_values")
    assert np.allclose(r2(values, targets), each, rtol=1e-10, atol=1e-12)
    of_all = r2_score(targets.double().numpy(), values.double().numpy())
    assert HEADS.score_of(values, targets) == pytest.approx(of_all, abs=1e-10)
    assert HEADS.score_of(targets, targets) == 1


def test_r2_of_several_processes_is_that_of_all_images():
    first, second = (VALUES[:10], TARGETS[:10] + 5), (VALUES[10:], TARGETS[10:] + 5)
    mean = (TARGETS + 5).double().mean(0)
    values, targets = (one.double() for one in second)
    # What the other process adds: the sum of its targets and their number, then its squares about the common mean.
    said = iter(
        [
            torch.cat([targets.sum(0), torch.tensor([30.0])]),
            torch.stack([(targets - values).square().sum(0), (targets - mean).square().sum(0)]),
        ]
    )
    found = r2(*first, lambda sums: sums.add_(next(said)))
    assert torch.allclose(found, r2(VALUES, TARGETS + 5), atol=1e-12)
