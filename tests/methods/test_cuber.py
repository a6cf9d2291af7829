import copy

import pytest
import torch
from tasks import context_of

from orthotrace.core.seeds import Seeds
from orthotrace.data.images import Batch
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted
from orthotrace.methods.cuber import CUBER
from orthotrace.models.mlp import MLP

# The second task is another one, the third the first again.
STREAM = Permuted(digits(), tasks=2, repeats=2)


def begun(task: int, steps: int = 15, **options):
    """A method at the start of a task, all earlier ones trained a little."""
    torch.manual_seed(0)
    model = MLP((1, 8, 8), 10, hidden=[20])
    method = CUBER(**{"energy": 0.9, "samples": 100, "threshold": 0.0, **options})
    method.setup(model, Seeds(), STREAM)
    for number in range(task + 1):
        context = context_of(STREAM, number)
        method.enter(context)
        method.begin_task(context)
        if number < task:
            trained(method, model, context, steps)
            method.end_task(context)
    return method, model, context


def trained(method, model, context, steps):
    optimizer = torch.optim.SGD([*model.parameters(), *method.task_parameters(context)], 0.1)
    detach = method.attach([optimizer])
    model.train()
    for inputs, labels in list(context.part.split(32, next(model.parameters())))[:steps]:
        optimizer.zero_grad()
        method.loss(model, Batch(inputs, labels, torch.arange(len(labels))), context)[0].backward()
        optimizer.step()
    detach()
    model.eval()


def test_gradients_are_those_at_the_end_of_each_task():
    method, _, _ = begun(1)
    first = context_of(STREAM, 0)
    for number, gradient in enumerate(method.gradients(first, method.sample(first))):
        torch.testing.assert_close(getattr(method, f"gradients_{number}")[0], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.99])
def test_tasks_that_agree_are_let_go_and_the_others_are_trust_regions(correlation):
    method, _, context = begun(2, correlation=correlation, regions=2)
    gradients = method.gradients(context, method.sample(context))
    for number, (label, space) in enumerate(method.guard.subspaces.items()):
        new, kept = gradients[number], getattr(method, f"gradients_{number}")
        agree = [torch.cosine_similarity(old.flatten(), new.flatten(), dim=0) > correlation for old in kept]
        regions = {key[2] for key, _ in method.scales.items() if key[:2] == (2, number)}
        assert regions == {task for task in range(2) if not agree[task]}, label
        expected = copy.deepcopy(space)
        expected.release([task for task in range(2) if agree[task]])
        assert torch.equal(space.released, expected.released)


def test_weights_move_along_what_is_let_go_alone_and_are_penalised_for_it():
    method, model, context = begun(2, correlation=0.0, strength=3.0, regions=2)
    moving = [label for label, space in method.guard.subspaces.items() if len(space.let_go())]
    assert moving
    with torch.no_grad():
        model.fc1.weight.add_(0.01)
    inputs, labels = next(context.part.split(32, next(model.parameters())))
    loss = method.loss(model, Batch(inputs, labels, torch.arange(len(labels))), context)[0]
    plain = context.outputs.loss(method.training_forward(model, inputs, context), labels, 2)
    penalty = 0.0
    for label in moving:
        penalty += 3 * float(
            (method.guard.update(label)[:, :-1] @ method.guard.subspaces[label].let_go().T).square().sum()
        )
    assert float((loss - plain).detach()) == pytest.approx(penalty, rel=1e-3) and penalty > 0
    method.guard.enforce()
    trained(method, model, context, 10)
    for label in moving:
        space, moved = method.guard.subspaces[label], method.guard.update(label)[:, :-1]
        assert float((moved @ space.held().T).norm()) < 1e-4 * float(moved.norm())
        assert float((moved @ space.let_go().T).norm()) > 1e-3 * float(moved.norm())
