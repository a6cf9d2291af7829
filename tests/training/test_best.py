"""A task ends with the weights of its best validation score."""

from __future__ import annotations

import csv
import math

import pytest
import torch
from composed import built
from torch import nn

from orthotrace.results.run_folder import Run
from orthotrace.training.best import Best
from orthotrace.training.evaluation import evaluate

TINY = (
    "stream=permuted", "stream.tasks=2", "stream.validation=.2", "trainer.max_epochs=5", "model.hidden=[8]",
    "dataset.limit=20", "trainer.accelerator=cpu",
)  # fmt: skip


def network():
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def change(model, *others):
    """Everything that can change in an epoch, whole numbers too."""
    with torch.no_grad():
        for value in (*model.parameters(), *model.buffers(), *others):
            value.add_(1)


def now(model, *others):
    return [value.detach().clone() for value in (*model.parameters(), *model.buffers(), *others)]


@pytest.mark.parametrize(
    ("monitor", "scores", "place"),
    [
        ("loss", [3.0, 1.0, 2.0], 1),
        ("accuracy", [3.0, 1.0, 2.0], 0),
        ("loss", [2.0, 1.0, 1.0], 1),
        ("loss", [math.nan, 5.0, math.inf], 1),
        ("accuracy", [math.nan, 0.0, 0.0], 1),
        ("loss", [math.nan, math.nan], 1),
        ("loss", [], -1),
    ],
)
def test_it_puts_back_what_was_best(monitor, scores, place):
    model, beside = network(), torch.zeros(2)
    best = Best(model, monitor)
    # A second task knows nothing of the first.
    for _ in range(2):
        best.begin([beside])
        states = []
        for score in scores:
            change(model, beside)
            best.look(score)
            states.append(now(model, beside))
        expected = states[place] if states else now(model, beside)
        best.put_back()
        assert all(map(torch.equal, now(model, beside), expected))
        assert list(best.state_dict()) == ["score"]


def test_what_is_kept_is_saved_with_the_task():
    model = network()
    best, other = Best(model, "loss"), Best(model, "loss")
    best.look(1.0)
    expected = now(model)
    other.load_state_dict(best.state_dict())
    change(model)
    other.look(2.0)
    other.put_back()
    assert all(map(torch.equal, now(model), expected))
    # And nothing of another task stays where none is saved.
    best.load_state_dict(other.state_dict())
    assert list(best.state_dict()) == ["score"] and best.score == math.inf


@pytest.mark.parametrize(
    "more",
    [
        ["method=finetune"],
        ["method=gpm", "regularizer.monitor=accuracy"],
        ["method=gpm", "regularizer.average=.5"],
        ["method=trgp", "method.threshold=0"],
    ],
)
def test_a_run_ends_each_task_with_its_best_epoch(tmp_path, monkeypatch, more):
    seen = []

    def look(best, score, of=Best.look):
        # The score is that of the network that is kept.
        [(part, outputs)] = experiment.learner._validation
        found = evaluate(best._model[0], part, outputs, loss=True, error=experiment.learner.context.outputs.error)
        assert score == pytest.approx(found.loss if best.monitor == "loss" else found.accuracy)
        seen.append((score, now(best._model[0], *best._extra)))
        of(best, score)

    monkeypatch.setattr(Best, "look", look)
    run = Run(tmp_path / "run")
    # So high a rate that the last epoch is not the best one.
    experiment = built(run, *TINY, "regularizer.restore_best=true", "optimizer=sgd", "optimizer.lr=1", *more)
    experiment.run()
    with run.metrics_file.open() as file:
        rows = list(csv.DictReader(file))
    monitor = "accuracy" if "regularizer.monitor=accuracy" in more else "loss"
    choose = max if monitor == "accuracy" else min
    last = []
    for task in (1, 2):
        scores = [float(row[f"validation_{monitor}"]) for row in rows if row["task"] == str(task)]
        of_task = seen[5 * (task - 1) : 5 * task]
        assert [score for score, _ in of_task] == pytest.approx(scores)
        place = scores.index(choose(scores))
        last.append(place == 4)
        saved = torch.load(run.checkpoint(task), weights_only=True)["state_dict"]
        kept = [value for key, value in saved.items() if key.startswith("model.")]
        for value, expected in zip(kept, of_task[place][1], strict=False):
            # An average is projected once more: rounding.
            tolerance = {"rtol": 0, "atol": 1e-5 if "regularizer.average=.5" in more else 0}
            assert torch.allclose(value, expected, **tolerance)
    assert not all(last)
    assert max(run.scores["leak"] or [0]) < 1e-6
    if "method=trgp" in more:
        beside = seen[5 + scores.index(min(scores))][1][-1]
        assert any(torch.equal(beside, value) for value in saved.values()) and (beside != 1).all()
