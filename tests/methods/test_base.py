import torch
from tasks import context_of

from orthotrace.core.seeds import Seeds
from orthotrace.data.images import Batch
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted, Split
from orthotrace.methods import Method, Outcome
from orthotrace.methods.base import Slots, trainable


class Counting(Method):
    """A method with state, as a user writes one."""

    def __init__(self):
        super().__init__()
        self.register_buffer("tasks", torch.zeros(1, dtype=torch.float32))

    def end_task(self, context):
        self.tasks += 1
        return Outcome()


def test_hooks_have_defaults_and_state_is_what_is_kept():
    method, model, stream = Counting(), torch.nn.Linear(2, 2), Split(digits(), tasks=5)
    context = context_of(stream)
    method.setup(model, Seeds(), stream)
    method.begin_task(context)
    assert torch.equal(method.training_forward(model, torch.ones(1, 2), context), model(torch.ones(1, 2)))
    method.end_task(context)
    assert method.extra_memory_bytes == 4
    fresh = Counting()
    fresh.load_state_dict(method.state_dict())
    assert float(fresh.tasks) == 1


def test_slots_are_zeros_for_what_is_trained():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1).requires_grad_(False))
    assert [tuple(buffer.shape) for buffer in Slots(model)] == [tuple(value.shape) for value in trainable(model)]
    assert not any(buffer.any() for buffer in Slots(model))


def test_the_loss_is_over_the_outputs_of_the_task():
    method, stream = Counting(), Split(digits(), tasks=5, scenario="task", class_order="natural")
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    method.setup(model, Seeds(), stream)
    context = context_of(stream, 2)
    part = context.part
    batch = Batch(part.inputs(), part.labels, torch.arange(len(part)))
    loss, logits = method.loss(model, batch, context)
    assert torch.allclose(loss, torch.nn.functional.cross_entropy(logits[:, 4:6], part.labels - 4))
    assert method.task(Permuted(digits()), 0).train is not None and method.network(model, 1) is model
