import pytest
import torch
from torch.nn.functional import cross_entropy

from orthotrace.data.active_outputs import ActiveOutputs, predicted

OWN = (range(0, 2), range(2, 5), range(0, 2))
LOGITS = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))

TRAINED = {
    "task": [range(0, 2), range(2, 5), range(0, 2)],
    "domain": [range(5)] * 3,
    "class": [range(0, 2), range(0, 5), range(0, 5)],
}


@pytest.mark.parametrize("scenario", TRAINED)
def test_what_is_trained(scenario):
    readout = ActiveOutputs(scenario, OWN)
    assert [readout.trained(task) for task in range(3)] == TRAINED[scenario] and readout.outputs == 5


def test_what_is_judged():
    for scenario in ("domain", "class"):
        # Untrained: nothing is known of the classes.
        assert ActiveOutputs(scenario, OWN).judged(1, after=0) == range(5)
    classes = ActiveOutputs("class", OWN)
    # No task id: the outputs do not depend on the task that is tested.
    assert [classes.judged(task, after=1) for task in range(3)] == [range(0, 2)] * 3
    assert [classes.judged(task, after=3) for task in range(3)] == [range(0, 5)] * 3
    assert ActiveOutputs("class", OWN, blurred=True).judged(0, after=1) == range(5)
    assert [ActiveOutputs("task", OWN).judged(task, after) for task, after in ((0, 0), (1, 1), (2, 3))] == list(OWN)


def test_what_earlier_tasks_taught():
    assert ActiveOutputs("task", OWN).earlier(0) == [] == ActiveOutputs("class", OWN).earlier(0)
    assert ActiveOutputs("task", OWN).earlier(2) == [range(0, 2), range(2, 5)]
    # A task that comes again is one head.
    assert ActiveOutputs("task", (*OWN, range(2, 5))).earlier(3) == [range(0, 2), range(2, 5)]
    assert ActiveOutputs("class", OWN).earlier(1) == [range(0, 2)]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_over_the_outputs_that_count(smoothing):
    labels = torch.tensor([2, 3, 4, 2, 3, 4])
    readout = ActiveOutputs("task", OWN, smoothing=smoothing)
    expected = cross_entropy(LOGITS[:, 2:], labels - 2, label_smoothing=smoothing)
    assert torch.allclose(readout.loss(LOGITS, labels, 1), expected)
    mixed, tasks = torch.tensor([0, 3, 4, 1, 3, 1]), torch.tensor([0, 1, 1, 0, 1, 2])
    each = [
        cross_entropy(row[None, part.start : part.stop], label[None] - part.start, label_smoothing=smoothing)
        for row, label, part in zip(LOGITS, mixed, [OWN[task] for task in tasks], strict=True)
    ]
    assert torch.allclose(readout.loss(LOGITS, mixed, 1, tasks), torch.stack(each).mean())


def test_what_is_told():
    tasks = torch.tensor([0, 1, 1, 0, 1, 2])
    readout = ActiveOutputs("task", OWN)
    told = [int(predicted(row[None], OWN[task])) for row, task in zip(LOGITS, tasks, strict=True)]
    assert readout.predicted(LOGITS, 0, tasks).tolist() == told
    assert torch.equal(ActiveOutputs("domain", (range(5),)).predicted(LOGITS, 0), LOGITS.argmax(1))
