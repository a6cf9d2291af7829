from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from orthotrace.core.errors import UserError
from orthotrace.data.sources import digits
from orthotrace.models.recurrent import Recurrent

SHAPE = (2, 3, 4)
CELLS = ("elman", "rnn", "lstm", "gru")


@pytest.mark.parametrize("reading", ["rows", "pixels", None])
@pytest.mark.parametrize("cell", ["elman", "rnn"])
def test_states_step_by_step(cell, reading):
    torch.manual_seed(0)
    shape = SHAPE if reading else (6, 4)
    model = Recurrent(shape, 3, cell=cell, hidden=[5], reading=reading).double()
    inputs = torch.randn(7, *shape, dtype=torch.float64)
    if reading == "rows":
        steps = [inputs[:, :, row].flatten(1) for row in range(3)]
    elif reading == "pixels":
        steps = [inputs[:, :, row, column] for row in range(3) for column in range(4)]
    else:
        steps = [inputs[:, step] for step in range(6)]
    layer, active = model.rnn1, torch.tanh if cell == "elman" else torch.relu
    state = torch.zeros(7, 5, dtype=torch.float64)
    for x in steps:
        state = active(x @ layer.weight_ih_l0.T + layer.bias_ih_l0 + state @ layer.weight_hh_l0.T + layer.bias_hh_l0)
    assert torch.allclose(model(inputs), model.head(state), atol=1e-12)


def test_relus_begin_at_the_identity():
    layer = Recurrent(SHAPE, 3, cell="rnn", hidden=[5], reading="rows").rnn1
    assert torch.equal(layer.weight_hh_l0, torch.eye(5)) and not layer.bias_ih_l0.any() and not layer.bias_hh_l0.any()


@pytest.mark.parametrize("cell", CELLS)
def test_digits_are_learned(cell):
    torch.manual_seed(0)
    model = Recurrent((1, 8, 8), 10, cell=cell, hidden=[32], reading="rows")
    part = digits().train
    inputs, labels = part.inputs(torch.arange(100)), part.labels[:100]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        losses.append(cross_entropy(model(inputs), labels))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "reading"),
        ({"shape": (5, 4), "reading": "rows"}, "reading"),
        ({"shape": (4,)}, "vocabulary"),
        ({"shape": (4,), "vocabulary": 9, "reading": "rows"}, "reading"),
        ({"shape": (5, 4), "vocabulary": 9}, "vocabulary"),
        ({"shape": (1, 2, 3, 4)}, "shape"),
        ({"reading": "columns"}, "reading"),
        ({"reading": "rows", "cell": "gate"}, "cell"),
        ({"reading": "rows", "hidden": []}, "hidden"),
        ({"reading": "rows", "hidden": [0]}, "hidden"),
    ],
)
def test_nets_that_cannot_be(options, named):
    with pytest.raises(UserError) as refused:
        Recurrent(**({"shape": SHAPE, "classes": 3} | options))
    assert str(refused.value).startswith(named) and "\n" not in str(refused.value)
