import pytest
import torch
from torch.nn.functional import cross_entropy

from orthotrace.data.active_outputs import ActiveOutputs, predicted

OWN = (range(0, 2), range(2, 5), range(0, 2))
LOGITS = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))

TRAINING = {
    "task": [range(0, 2), range(2, 5), range(0, 2)],
    "domain": [range(5)] * 3,
    "class": [range(0, 2), range(0, 5), range(0, 5)],
}


@pytest.mark.parametrize("scenario", TRAINING)
def test_outputs_in_training(scenario):
    active = ActiveOutputs(scenario, OWN)
    assert [active.for_training(task) for task in range(3)] == TRAINING[scenario] and active.outputs == 5


def test_outputs_in_evaluation():
    for scenario in ("domain", "class"):
        # Untrained: nothing is known of the classes.
        assert ActiveOutputs(scenario, OWN).for_evaluation(1, after=0) == range(5)
    classes = ActiveOutputs("class", OWN)
    # No task id: the outputs do not depend on the task that is tested.
    assert [classes.for_evaluation(task, after=1) for task in range(3)] == [range(0, 2)] * 3
    assert [classes.for_evaluation(task, after=3) for task in range(3)] == [range(0, 5)] * 3
    assert ActiveOutputs("class", OWN, blurred=True).for_evaluation(0, after=1) == range(5)
    assert [ActiveOutputs("task", OWN).for_evaluation(task, after) for task, after in ((0, 0), (1, 1), (2, 3))] == list(
        OWN
    )


def test_outputs_of_earlier_tasks():
    assert ActiveOutputs("task", OWN).of_earlier_tasks(0) == [] == ActiveOutputs("class", OWN).of_earlier_tasks(0)
    assert ActiveOutputs("task", OWN).of_earlier_tasks(2) == [range(0, 2), range(2, 5)]
    # A task that comes again is one head.
    assert ActiveOutputs("task", (*OWN, range(2, 5))).of_earlier_tasks(3) == [range(0, 2), range(2, 5)]
    assert ActiveOutputs("class", OWN).of_earlier_tasks(1) == [range(0, 2)]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_over_the_outputs_that_count(smoothing):
    labels = torch.tensor([2, 3, 4, 2, 3, 4])
    active = ActiveOutputs("task", OWN, smoothing=smoothing)
    expected = cross_entropy(LOGITS[:, 2:], labels - 2, label_smoothing=smoothing)
    assert torch.allclose(active.loss(LOGITS, labels, 1), expected)
    mixed, tasks = torch.tensor([0, 3, 4, 1, 3, 1]), torch.tensor([0, 1, 1, 0, 1, 2])
    each = [
        cross_entropy(row[None, part.start : part.stop], label[None] - part.start, label_smoothing=smoothing)
        for row, label, part in zip(LOGITS, mixed, [OWN[task] for task in tasks], strict=True)
    ]
    assert torch.allclose(active.loss(LOGITS, mixed, 1, tasks), torch.stack(each).mean())


def test_predictions_of_several_tasks():
    tasks = torch.tensor([0, 1, 1, 0, 1, 2])
    active = ActiveOutputs("task", OWN)
    expected = [int(predicted(row[None], OWN[task])) for row, task in zip(LOGITS, tasks, strict=True)]
    assert active.predicted(LOGITS, 0, tasks).tolist() == expected
    assert torch.equal(ActiveOutputs("domain", (range(5),)).predicted(LOGITS, 0), LOGITS.argmax(1))


@pytest.mark.parametrize("tasks", [None, torch.tensor([0, 1, 0])])
def test_logits_of_every_step_have_a_loss_at_every_step(tasks):
    active = ActiveOutputs("task", (range(0, 2), range(2, 4)))
    over_steps, labels = torch.randn(5, 3, 4), torch.tensor([0, 2 if tasks is not None else 1, 1])
    mean = over_steps.mean(0)
    alone = active.loss(mean, labels, 0, tasks)
    mean.over_steps = over_steps
    steps = torch.stack([active.loss(logits, labels, 0, tasks) for logits in over_steps])
    assert torch.allclose(active.loss(mean, labels, 0, tasks), steps.mean())
    assert not torch.allclose(alone, steps.mean())
