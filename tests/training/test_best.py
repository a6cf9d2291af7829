"""A task ends with the weights of its best validation score."""

from __future__ import annotations

import csv
import math

import pytest
import torch
from composed import built
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.results.run_folder import Run
from orthotrace.training.best import Best
from orthotrace.training.evaluation import evaluate
from orthotrace.training.learner import Learner

TINY = (
    "stream=permuted", "stream.tasks=2", "stream.validation=.2", "trainer.max_epochs=5", "model.hidden=[8]",
    "dataset.limit=20", "trainer.accelerator=cpu",
)  # fmt: skip
# Of the epochs of a task.
SCORES = (3.0, 1.0, 2.0, 4.0, 3.5)


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
        ("loss", [0.1, 0.1 + 1e-12], 0),
        ("loss", [], -1),
    ],
)
def test_it_puts_back_what_was_best(monitor, scores, place):
    model, beside = network(), torch.zeros(2)
    best = Best(model, monitor)
    # A second task knows nothing of the first.
    for _ in range(2):
        best.begin(lambda: [beside])
        states = []
        for score in scores:
            change(model, beside)
            best.look(score)
            states.append(now(model, beside))
        expected = states[place] if states else now(model, beside)
        best.put_back()
        assert all(map(torch.equal, now(model, beside), expected))
        assert list(best.state_dict()) == ["score"]


def test_what_is_beside_the_network_is_put_back_wherever_it_is_then():
    """Buffers are other tensors once their module has been on another device."""
    model, beside = network(), nn.Module()
    beside.register_buffer("path", torch.zeros(2))
    best = Best(model, "loss")
    best.begin(lambda: [beside.path])
    best.look(1.0)
    beside.path = beside.path + 7
    best.put_back()
    assert beside.path.tolist() == [0, 0]


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


# Of each case: overrides, and the part of the checkpoint that is put back beside the network.
ENDS = {
    "finetune": (("method=finetune",), None),
    "accuracy": (("method=gpm", "regularizer.monitor=accuracy"), None),
    "an average": (("method=gpm", "regularizer.average=.5"), None),
    "stopped early": (("method=finetune", "regularizer.early_stopping=1"), None),
    "scales": (("method=trgp", "method.threshold=0"), "method.scales."),
    "sums along the way": (("method=si",), "method.path."),
    "masks": (("method=hat",), "method.embeddings."),
}


@pytest.fixture
def scored(monkeypatch):
    """Task and state of each epoch, as it was scored; the scores are SCORES, since other processors round otherwise."""
    seen = []

    def validate(learner, of=Learner._validate):
        loss, accuracy = of(learner)
        context = learner.context
        [(part, outputs)] = learner._validation
        with learner.evaluated():
            # What is measured is the network that would be tested.
            tested = learner.method.network(learner.model, context.number)
            found = evaluate(tested, part, outputs, loss=True, error=context.outputs.error)
            seen.append((context.number, {key: value.clone() for key, value in learner.state_dict().items()}))
        assert (loss, accuracy) == pytest.approx((found.loss, found.accuracy))
        return SCORES[context.epoch], SCORES[context.epoch]

    monkeypatch.setattr(Learner, "_validate", validate)
    return seen


@pytest.mark.parametrize("case", ENDS)
def test_a_run_ends_each_task_with_its_best_epoch(tmp_path, scored, case):
    more, beside = ENDS[case]
    run = Run(tmp_path / "run")
    built(run, *TINY, "regularizer.restore_best=true", *more).run()
    choose = max if case == "accuracy" else min
    for task in (1, 2):
        states = [state for number, state in scored if number == task - 1]
        assert len(states) == (3 if case == "stopped early" else len(SCORES))
        best = states[SCORES.index(choose(SCORES))]
        saved = torch.load(run.checkpoint(task), weights_only=True)["state_dict"]
        for key in [key for key in best if key.startswith(("model.", beside or "model."))]:
            # An average is projected once more: rounding.
            tolerance = {"rtol": 0, "atol": 1e-5 if case == "an average" else 0}
            assert torch.allclose(saved[key], best[key], **tolerance), key
        for part in ("model.", beside or "model."):
            # It had moved on by the end of the task. The first one has no scales.
            moved = [not torch.equal(states[-1][key], saved[key]) for key in best if key.startswith(part)]
            assert any(moved) or (task == 1 and case == "scales")
    assert max(run.scores["leak"] or [0]) < 1e-6


@pytest.mark.parametrize("restored", [True, False])
def test_a_task_that_diverges_ends_with_its_best_epoch_or_is_refused(tmp_path, monkeypatch, restored):
    def diverge(learner, of=Learner.on_train_epoch_end):
        of(learner)
        if learner.context.number == 1 and learner.context.epoch == 2:
            torch.nn.init.constant_(next(learner.model.parameters()), math.nan)

    monkeypatch.setattr(Learner, "on_train_epoch_end", diverge)
    run = Run(tmp_path / "run")
    experiment = built(run, *TINY, "method=finetune", f"regularizer.restore_best={restored}")
    if restored:
        experiment.run()
        with run.metrics_file.open() as file:
            losses = [float(row["validation_loss"]) for row in csv.DictReader(file)][5:]
        assert all(map(math.isnan, losses[2:]))
        [(part, outputs)] = experiment.learner._validation
        found = evaluate(experiment.learner.model, part, outputs, loss=True)
        assert found.loss == pytest.approx(min(losses[:2]))
    else:
        with pytest.raises(UserError, match="^optimizer: the weights are not finite after task 2: lower"):
            experiment.run()


def test_factors_of_an_average_are_orthonormal_in_the_end(tmp_path, scored):
    run = Run(tmp_path / "run")
    adapted = ("method=eblora", "weights=lora", "model.weights.rank=2", "method.start=.5", "regularizer.average=.5")
    built(run, *TINY, "regularizer.restore_best=true", "optimizer=sgd", "optimizer.lr=1", *adapted).run()
    (first, second) = (torch.load(run.checkpoint(task), weights_only=True)["state_dict"] for task in (1, 2))
    name = "model.fc1.parametrizations.weight.original"
    sizes = torch.linalg.svdvals(second[name] - first[name]).tolist()
    # The two singular values of an update are one, and there is no third.
    assert sizes[1] == pytest.approx(sizes[0], rel=1e-3) and sizes[2] < 1e-3 * sizes[0]
