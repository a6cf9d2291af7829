import torch

from orthotrace.methods.finetune import Finetune


def test_it_is_the_network_and_nothing_else():
    model = torch.nn.Linear(3, 2)
    method = Finetune()
    x = torch.ones(4, 3)
    assert torch.equal(method.training_forward(model, x), model(x))
    assert method.state_dict() == {}
    method.attach([torch.optim.SGD(model.parameters(), 0.1)])()
