import torch
from tasks import context_of

from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted
from orthotrace.methods.finetune import Finetune


def test_it_is_the_network_and_nothing_else():
    model = torch.nn.Linear(3, 2)
    method = Finetune()
    x = torch.ones(4, 3)
    assert torch.equal(method.training_forward(model, x, context_of(Permuted(digits()))), model(x))
    assert method.state_dict() == {}
    method.attach([torch.optim.SGD(model.parameters(), 0.1)])()
