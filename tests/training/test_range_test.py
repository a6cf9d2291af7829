"""The learning-rate range test: rates, bounds on a quadratic of known curvature, and runs that diverge."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from composed import StopError, Stopping, built, configured

from orthotrace.cli.folder import tell
from orthotrace.core.errors import UserError
from orthotrace.core.seeds import generator
from orthotrace.results.run_folder import Run
from orthotrace.training.range_test import RangeTest, bounds, has_diverged, proposal, smoothed
from orthotrace.training.schedules import Cyclical
from orthotrace.training.stacked import StackedExperiment

STEPS = 400
TINY = ("method=finetune", "stream=permuted", "stream.tasks=1", "model.hidden=[16]", "trainer.accelerator=cpu",
        "trainer.max_epochs=4", "trainer.batch_size=32", "optimizer=sgd", "scheduler=range_test", "scheduler.low=.001",
        "scheduler.high=100")  # fmt: skip


def rates(test: RangeTest, lr: float = 0.5, steps: int = 8) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = test.scheduler(optimizer, 2, steps // 2)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("lr", [0.5, 0.0])
@pytest.mark.parametrize("shape", ["exponential", "linear"])
def test_the_rate_rises_from_low_to_high_whatever_the_optimizers_is(shape, lr):
    expected = [0.01 * 100 ** (step / 7) if shape == "exponential" else 0.01 + 0.99 * step / 7 for step in range(8)]
    test = RangeTest(0.01, 1.0, shape)
    assert rates(test, lr) == pytest.approx(expected)
    assert [test.rate(step, 8) for step in range(8)] == pytest.approx(expected)


def test_layers_with_rates_of_their_own_keep_their_ratio():
    groups = [{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)], "lr": 0.05}]
    optimizer = torch.optim.SGD(groups, lr=0.5)
    RangeTest(0.01, 1.0).scheduler(optimizer, 1, 4)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01, 0.001])


@pytest.mark.parametrize("largest", [1.0, 10.0, 100.0])
def test_on_a_quadratic_the_upper_bound_is_two_over_the_largest_curvature(largest):
    """Gradient descent with noise: it diverges along the steepest axis at a rate above 2 / lambda_max."""
    curvature = largest * torch.logspace(-2, 0, 20, dtype=torch.float64)
    draws, point = generator(0), torch.ones(20, dtype=torch.float64)
    test = RangeTest(1e-3 / largest, 1e2 / largest)
    losses: list[float] = []
    for step in range(STEPS):
        losses.append(float((curvature * point.square()).sum() / 2))
        if has_diverged(losses, STEPS):
            break
        noise = largest * 0.02 * torch.randn(20, generator=draws, dtype=torch.float64)
        point = point - test.rate(step, STEPS) * (curvature * point + noise)
    rows = [{"rate": test.rate(step, STEPS), "loss": loss} for step, loss in enumerate(losses)]
    found = proposal(rows, test)
    assert len(losses) < STEPS and found["remark"] is None
    assert 0.7 < found["upper"] * largest / 2 < 1.4
    assert found["lower"] < found["upper"] / 10


def test_smoothing_is_a_mean_about_each_step():
    values = torch.rand(100, generator=generator(0), dtype=torch.float64).tolist()
    expected = [float(np.mean(values[max(0, k - 2) : k + 3])) for k in range(100)]
    assert smoothed(values) == pytest.approx(expected)


def test_noise_is_no_bound():
    noise = 0.1 * torch.randn(100, generator=generator(0), dtype=torch.float64)
    losses = (
        torch.tensor([2.0] * 8 + [1.8] * 5 + [2.0] * 7 + [1.0] * 60 + [4.0] * 20, dtype=torch.float64) + noise
    ).tolist()
    found = bounds([float(step) for step in range(1, 101)], losses)
    assert found is not None and 18 <= found[0] <= 22 and 77 <= found[1] <= 81


@pytest.mark.parametrize(
    ("losses", "remark"),
    [([3.0, 2.0, 1.0], "the loss had not risen at the last rate"), ([1.0, 1.0, 1.0], "the loss never fell"),
     ([1.0, 2.0, 3.0], "the loss never fell"), ([], "the loss never fell")],
)  # fmt: skip
def test_a_range_that_is_too_narrow_is_told(losses, remark):
    test = RangeTest(0.01, 1.0)
    rows = [{"rate": test.rate(step, 3), "loss": loss} for step, loss in enumerate(losses)]
    assert proposal(rows, test)["remark"].startswith(remark)


def test_a_test_ends_where_it_is_four_times_above_its_lowest_and_where_it_began():
    assert not has_diverged([2.0, 0.1, 0.5, 1.9], 4) and has_diverged([2.0, 0.1, 0.5, 2.1], 4)
    assert not has_diverged([2.0, 1.9, 2.1], 4)
    assert has_diverged([2.0, math.inf], 400) and has_diverged([math.nan], 400)


@pytest.mark.parametrize("more", [(), ("trainer.batches_at_once=1",), ("trainer.batches_at_once=7",)])
def test_a_run_that_diverges_proposes_bounds_and_puts_the_network_back(tmp_path, more):
    run = Run(tmp_path / "run")
    made = built(run, *TINY, *more)
    before = [value.detach().clone() for value in made.learner.model.parameters()]
    after = []
    end = made.checkpoints.save
    made.checkpoints.save = lambda trainer, progress: (
        after.extend(value.detach().clone() for value in made.learner.model.parameters()) if not after else None,
        end(trainer, progress),
    )
    progress = made.run()
    assert progress.finished
    found = json.loads(run.range_file.read_text())
    # It ended early, and has taught nothing: the network is as it was.
    assert 20 < len(found["rate"]) < 4 * 51 and found["rate"][-1] < 100
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert progress.accuracy[0] == progress.untrained
    assert 0.001 < found["lower"] < found["upper"] < 20
    assert (
        found["overrides"].startswith("optimizer.lr=") and "scheduler=cyclical scheduler.floor=" in found["overrides"]
    )
    assert len(found["loss"]) == len(found["accuracy"]) == len(found["smoothed"]) == len(found["rate"])


def test_the_steps_are_those_of_the_same_batches_however_many_at_once(tmp_path):
    found = []
    for at_once in (1, 64):
        run = Run(tmp_path / str(at_once))
        built(run, *TINY, f"trainer.batches_at_once={at_once}").run()
        found.append(json.loads(run.range_file.read_text()))
    assert found[0] == found[1]


def test_loss_and_accuracy_of_a_step_are_those_of_its_batches(tmp_path):
    """Gradients are added up over two batches: a row is of both."""
    run, seen = Run(tmp_path / "run"), []
    made = built(run, *TINY, "trainer.max_epochs=1", "trainer.accumulate_grad_batches=2", "scheduler.high=.1")
    inner = made.learner.method.loss

    def noting(network, batch, context):
        loss, logits = inner(network, batch, context)
        seen.append((float(loss.detach()), float((logits.argmax(1) == batch.labels).float().mean()), len(batch.labels)))
        return loss, logits

    made.learner.method.loss = noting
    made.run()
    rows = made.progress.range_test
    assert len(rows) == -(-len(seen) // 2)
    for row, pair in zip(rows, [seen[k : k + 2] for k in range(0, len(seen), 2)], strict=True):
        assert row["loss"] == pytest.approx(sum(one[0] for one in pair) / len(pair))
        right = sum(one[1] * one[2] for one in pair) / sum(one[2] for one in pair)
        assert row["accuracy"] == pytest.approx(right)
    steps = len(rows)
    assert [row["rate"] for row in rows] == pytest.approx([0.001 * 100 ** (k / (steps - 1)) for k in range(steps)])


@pytest.mark.parametrize("epoch", [2, 3])
def test_killed_within_its_task_it_comes_to_the_same(tmp_path, epoch):
    gentle = [*TINY, "scheduler.high=1", "trainer.save_every=0"]
    whole, cut = Run(tmp_path / "whole"), Run(tmp_path / "cut")
    built(whole, *gentle).run()
    with pytest.raises(StopError):
        built(cut, *gentle, tracker=Stopping(1, epoch)).run()
    built(cut, *gentle).run()
    assert json.loads(cut.range_file.read_text()) == json.loads(whole.range_file.read_text())
    ours, theirs = (torch.load(run.last, weights_only=True)["state_dict"] for run in (cut, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_what_has_diverged_is_not_saved_within_the_task(tmp_path):
    """Killed then, the run would go on to train from it."""
    made, saved = built(Run(tmp_path / "run"), *TINY, "scheduler.high=100000", "trainer.save_every=0"), []
    save = made.checkpoints.save
    made.checkpoints.save = lambda trainer, progress: (
        saved.append((progress.task, progress.epoch)),
        save(trainer, progress),
    )
    last = len(made.run().epochs)
    assert last < 4 and saved == [*((0, epoch) for epoch in range(1, last)), (1, 0)]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["scheduler.high=.0001"], "scheduler.high: the rate rises: it must be above low"),
        (["scheduler.low=0"], "scheduler.low: input should be greater than 0"),
        (["stream.tasks=2"], "scheduler: a range test is of one task, after which nothing is learned"),
        (["regularizer.average=.9"], "regularizer.average: makes no sense of a range test"),
        (["regularizer=early_stopping"], "regularizer.early_stopping: makes no sense of a range test"),
        (["regularizer.restore_best=true"], "regularizer.restore_best: makes no sense of a range test"),
    ],
)
def test_what_does_not_go_with_it_is_refused(tmp_path, given, line):
    with pytest.raises(UserError) as raised:
        built(Run(tmp_path / "run"), *TINY, *given)
    assert str(raised.value).startswith(line)


def test_networks_that_are_trained_together_are_not_tested_so(tmp_path):
    with pytest.raises(UserError, match="scheduler: is not done for networks that are trained together"):
        StackedExperiment([built(Run(tmp_path / "run"), *TINY)])


def test_what_is_told_at_the_end_is_what_to_type(tmp_path, capsys):
    run, words = Run(tmp_path / "run"), TINY
    made = built(run, *words)
    made.run()
    tell(configured(*words), made, "", False, 0.0)
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("range test: ")]
    overrides, between, where = line.removeprefix("range test: ").split("; ")[0], line.split("; ")[1], str(run.folder)
    assert overrides == json.loads(run.range_file.read_text())["overrides"]
    assert between.startswith("the loss falls from ") and line.endswith(where)
    again = built(Run(tmp_path / "again"), *TINY[:-3], *overrides.split())
    assert type(again.optimization.schedule) is Cyclical
