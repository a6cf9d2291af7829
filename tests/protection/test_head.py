import torch
from torch import nn

from orthotrace.protection.head import Head


def test_all_but_the_outputs_in_use_are_put_back_bit_by_bit():
    layer = nn.Linear(3, 6, bias=False)
    head = Head(layer)
    before = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight.mul_(3)
    head.hold(None)
    # No outputs were named: all are active.
    assert torch.equal(layer.weight, 3 * before)
    head.hold(range(2, 4))
    assert torch.equal(layer.weight[[0, 1, 4, 5]], before[[0, 1, 4, 5]])
    assert torch.equal(layer.weight[2:4], 3 * before[2:4])
    head.begin()
    with torch.no_grad():
        layer.weight.zero_()
    head.hold(range(2, 4))
    assert torch.equal(layer.weight[[0, 1, 4, 5]], before[[0, 1, 4, 5]])


def test_the_outputs_of_a_convolution_are_its_maps():
    layer = nn.Conv2d(3, 6, (2, 1))
    head = Head(layer)
    before = {name: value.detach().clone() for name, value in layer.named_parameters()}
    with torch.no_grad():
        for value in layer.parameters():
            value.add_(1)
    assert head.moved(range(2, 4)) and head.checked(range(2, 6)) == range(2, 6)
    for held in (range(6), range(2, 4)):
        head.hold(held)
    for name, value in layer.named_parameters():
        kept = [0, 1, 4, 5]
        assert torch.equal(value[kept], before[name][kept]) and torch.equal(value[2:4], before[name][2:4] + 1)
    assert not head.moved(range(2, 4))


def test_the_start_is_its_state_and_the_layer_is_not():
    assert list(Head(nn.Linear(3, 2)).state_dict()) == ["start"]
