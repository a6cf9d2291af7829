import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.training.learner import parameter_groups


def test_rates_reach_their_parameters_and_the_longest_name_counts():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    groups = parameter_groups(model, {"0": 0.5, "0.bias": 0.1})
    found = {id(value): group.get("lr") for group in groups for value in group["params"]}
    names = {name: found[id(value)] for name, value in model.named_parameters()}
    assert names == {"0.weight": 0.5, "0.bias": 0.1, "1.weight": None, "1.bias": None}
    assert [group["lr"] for group in torch.optim.SGD(groups, lr=9.0).param_groups] == [9.0, 0.5, 0.1]


@pytest.mark.parametrize(
    ("rates", "line"),
    [
        ({"fc9": 0.1}, "no parameter has the name 'fc9'; did you mean 'fc1'?"),
        ({"fc1": 0}, "the rate of fc1 must be a positive number (got 0)"),
        ({"fc1": "fast"}, "the rate of fc1 must be a positive number (got fast)"),
        ({"fc": 0.1}, "no parameter has the name 'fc'"),
    ],
)
def test_rates_that_cannot_be(rates, line):
    model = nn.Sequential()
    model.add_module("fc1", nn.Linear(2, 2))
    with pytest.raises(UserError) as error:
        parameter_groups(model, rates)
    assert line in str(error.value)
