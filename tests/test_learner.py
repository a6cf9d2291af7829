import pytest
import torch
from torch import nn

from orthotrace.data.sources import Images
from orthotrace.errors import UserError
from orthotrace.learner import evaluate, parameter_groups


def test_accuracy_is_averaged_over_samples_not_batches():
    # 5 samples in batches of 4: the last, smaller batch must not count more.
    logits = torch.eye(2)[[0, 0, 0, 0, 0]]
    part = Images(logits, torch.tensor([0, 0, 0, 0, 1]))
    loss, accuracy = evaluate(nn.Identity(), part, batch_size=4)
    assert accuracy == pytest.approx(4 / 5)
    assert loss == pytest.approx(float(nn.functional.cross_entropy(logits, part.labels)))


@pytest.mark.parametrize("training", [True, False])
def test_a_network_is_judged_in_evaluation_mode_and_its_mode_kept(training):
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.9)).double()
    model.train(training)
    part = Images(torch.ones(50, 4), torch.zeros(50, dtype=torch.int64))
    assert evaluate(model, part) == evaluate(model, part)
    assert model.training == training


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
