import torch

from orthotrace.data.sources import Images
from orthotrace.methods import Method, Outcome
from orthotrace.seeds import Seeds


class Counting(Method):
    """A method with state, as a user writes one."""

    def __init__(self):
        super().__init__()
        self.register_buffer("tasks", torch.zeros(1, dtype=torch.float32))

    def end_task(self, model, train, batch_size):
        self.tasks += 1
        return Outcome()


def test_hooks_have_defaults_and_state_is_what_is_kept():
    method, model = Counting(), torch.nn.Linear(2, 2)
    method.setup(model, Seeds())
    method.begin_task()
    assert torch.equal(method.training_forward(model, torch.ones(1, 2)), model(torch.ones(1, 2)))
    method.end_task(model, Images(torch.ones(1, 2), torch.zeros(1)), 1)
    assert method.extra_memory_bytes == 4
    fresh = Counting()
    fresh.load_state_dict(method.state_dict())
    assert float(fresh.tasks) == 1
