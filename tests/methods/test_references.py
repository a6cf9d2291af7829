import torch
from tasks import context_of

from orthotrace.core.seeds import Seeds
from orthotrace.data.sources import digits
from orthotrace.data.streams import Split
from orthotrace.methods.references import Independent, Joint
from orthotrace.models.mlp import MLP


def stream(scenario: str, **options) -> Split:
    return Split(digits(), tasks=5, scenario=scenario, class_order="natural", **options)


def test_joint_training_has_all_images_so_far_each_of_its_task():
    of = stream("task")
    joined = Joint().task(of, 2)
    parts = [of.task(index) for index in range(3)]
    assert torch.equal(joined.train.images, torch.cat([task.train.images for task in parts]))
    assert torch.equal(joined.validation.labels, torch.cat([task.validation.labels for task in parts]))
    assert torch.equal(
        joined.train.tasks, torch.repeat_interleave(torch.arange(3), torch.tensor([len(t.train) for t in parts]))
    )
    assert torch.equal(joined.test.images, parts[2].test.images)


def run(method, of, model):
    """Three tasks, in each of which the weights move by 1."""
    method.setup(model, Seeds(), of)
    for number in range(of.tasks):
        context = context_of(of, number)
        method.begin_task(context)
        yield number, [value.detach().clone() for value in model.parameters()]
        with torch.no_grad():
            for value in model.parameters():
                value.add_(1)
        method.end_task(context)


def test_every_task_starts_from_the_initial_weights():
    of, model = stream("class"), MLP((1, 8, 8), 10, hidden=[4])
    first = [value.detach().clone() for value in model.parameters()]
    method = Independent()
    for _, now in run(method, of, model):
        assert all(torch.equal(a, b) for a, b in zip(now, first, strict=True))
    # Nothing tells which network to take: the newest.
    assert method.network(model, 0) is model


def test_each_task_is_tested_with_its_network_where_the_task_is_known():
    of, model = stream("task", repeats=2), MLP((1, 8, 8), 10, hidden=[4])
    first = next(model.parameters()).detach().clone()
    method = Independent()
    for number, now in run(method, of, model):
        # A task that comes again goes on where it was.
        assert torch.allclose(now[0], first + (number >= 5))
    assert torch.allclose(next(method.network(model, 7).parameters()), first + 2)
    assert method.network(model, 2) is method.network(model, 7) is not model
