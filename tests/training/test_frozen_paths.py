"""Columns that are frozen do not move, whatever the method, the optimizer and the penalties do."""

from __future__ import annotations

import pytest
import torch
from composed import built
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.results.run_folder import Run
from orthotrace.training.frozen_paths import hold
from orthotrace.training.stackable import check_stacked

NET = (
    "model=fractal", "model.blocks=[{kind: fractal, channels: 4, columns: 3}]", "model.freeze_path=true",
    "stream=permuted", "stream.tasks=3", "trainer.max_epochs=1", "dataset.limit=4", "trainer.batch_size=20",
    "trainer.accelerator=cpu",
)  # fmt: skip


def test_what_is_held_stays_and_has_no_gradient():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimizer = torch.optim.Adam(model.parameters(), weight_decay=0.1)
    before = [value.clone() for value in model.parameters()]
    release = hold(list(model[0].parameters()), [optimizer])
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(5, 3)).square().sum().backward()
        assert not any(bool(value.grad.any()) for value in model[0].parameters())
        optimizer.step()
    moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert moved == [False, False, True, True]
    release()
    optimizer.zero_grad()
    model(torch.randn(5, 3)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(before[0], model[0].weight)


def paths(model: nn.Module) -> list[nn.Module]:
    return list(model.get_submodule("block1.columns").children())


def columns(model: nn.Module) -> list[dict[str, torch.Tensor]]:
    """Weights, affine and statistics of each column."""
    return [{name: value.clone() for name, value in path.state_dict().items()} for path in paths(model)]


@pytest.mark.parametrize("method", ["finetune", "gpm", "agem", "independent"])
def test_a_column_is_frozen_after_each_task_but_the_last(tmp_path, method):
    rows = ["method.rows=1"] if method == "gpm" else []
    others = ["optimizer=adamw", "optimizer.weight_decay=.1", "regularizer.l2=.1", "regularizer.max_norm=.5"]
    experiment = built(Run(tmp_path / "run"), f"method={method}", *rows, *NET, *others)
    learner, states, modes = experiment.learner, [], []
    start, end = learner.on_train_epoch_start, learner.end_task

    def started():
        start()
        states.append(columns(learner.model))
        norms = [
            [one for one in column.modules() if isinstance(one, nn.BatchNorm2d)] for column in paths(learner.model)
        ]
        modes.append([norm[0].training for norm in norms])

    def ended():
        end()
        states.append(columns(learner.model))

    learner.on_train_epoch_start, learner.end_task = started, ended
    experiment.run()
    for task in range(3):
        before, after = states[2 * task : 2 * task + 2]
        still = [all(torch.equal(old[name], new[name]) for name in old) for old, new in zip(before, after, strict=True)]
        frozen = 0 if method == "independent" else task
        assert still == [number < frozen for number in range(3)]
        # A guard has all normalisation in evaluation mode after the first task.
        assert method == "gpm" or modes[task] == [number >= frozen for number in range(3)]
    assert all(module.training for module in learner.model.train().modules())


def test_networks_that_freeze_are_not_trained_together(tmp_path):
    experiments = [built(Run(tmp_path / str(seed)), "method=finetune", *NET, f"seed={seed}") for seed in (0, 1)]
    assert experiments[0].learner.model.freeze_path
    with pytest.raises(UserError, match=r"^model\.freeze_path: is not done for networks that are trained together"):
        check_stacked(experiments)
