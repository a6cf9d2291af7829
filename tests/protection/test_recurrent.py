"""The rows of recurrent layers are their inputs and states at every step: against cells in a loop."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

from orthotrace.core.errors import UserError
from orthotrace.protection import Guard, recurrent
from orthotrace.protection.layers import weight_matrices
from orthotrace.subspace import SvdSubspace

CELLS = {nn.RNN: nn.RNNCell, nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell}
KINDS = {"rnn": nn.RNN, "relu": partial(nn.RNN, nonlinearity="relu"), "lstm": nn.LSTM, "gru": nn.GRU}
LENGTHS = [4, 6, 1]


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def looped(layer: nn.RNNBase, sequences: list[torch.Tensor], states: list[torch.Tensor]) -> list[torch.Tensor]:
    """Inputs and states of each layer and direction, sequence by sequence and step by step."""
    found: list[list[torch.Tensor]] = []
    cell_kind = next(cell for kind, cell in CELLS.items() if isinstance(layer, kind))
    options = {"nonlinearity": layer.nonlinearity} if isinstance(layer, nn.RNN) else {}
    directions = 1 + layer.bidirectional
    for number in range(layer.num_layers):
        outputs = [torch.zeros(len(one), 0, dtype=one.dtype) for one in sequences]
        for direction in range(directions):
            ending = f"_l{number}{'_reverse' * direction}"
            cell = cell_kind(sequences[0].shape[1], layer.hidden_size, layer.bias, **options).double()
            for name, value in cell.named_parameters():
                value.data.copy_(getattr(layer, name + ending))
            inputs, before = [], []
            for index, sequence in enumerate(sequences):
                state = [one[number * directions + direction, index] for one in states]
                own = torch.zeros(len(sequence), layer.hidden_size, dtype=sequence.dtype)
                for step in range(len(sequence))[:: -1 if direction else 1]:
                    inputs.append(sequence[step])
                    before.append(state[0])
                    new = cell(sequence[step], tuple(state) if isinstance(layer, nn.LSTM) else state[0])
                    state = list(new) if isinstance(new, tuple) else [new]
                    own[step] = state[0]
                outputs[index] = torch.cat([outputs[index], own], dim=1)
            found += [torch.stack(inputs), torch.stack(before)]
        sequences = [one.detach() for one in outputs]
    return [one.detach() for one in found]


def same_rows(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """The same rows in any order."""
    order = [
        sorted(range(len(rows)), key=lambda n, rows=rows: rows[n].round(decimals=9).tolist())
        for rows in (found, expected)
    ]
    return found.shape == expected.shape and torch.allclose(found[order[0]], expected[order[1]], atol=1e-11)


@pytest.mark.parametrize("given", [False, True], ids=["at rest", "from a state"])
@pytest.mark.parametrize("form", ["padded", "batch first", "packed", "sorted", "alone"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_those_of_cells_in_a_loop(kind, layers, bidirectional, form, given):
    torch.manual_seed(0)
    layer = KINDS[kind](
        3, 5, layers, batch_first=form == "batch first", bidirectional=bidirectional, dropout=0.5 * (layers > 1)
    )
    layer = layer.double().eval()
    lengths = {"padded": [6, 6, 6], "batch first": [6, 6, 6], "alone": [6], "sorted": [6, 4, 1]}.get(form, LENGTHS)
    sequences = [rand(length, 3, seed=n) for n, length in enumerate(lengths)]
    shape = (layers * (1 + bidirectional), len(lengths), 5)
    states = [rand(*shape, seed=7 + n) * given for n in range(1 + (kind == "lstm"))]
    if form in ("packed", "sorted"):
        inputs = pack_sequence(sequences, enforce_sorted=form == "sorted")
    else:
        inputs = sequences[0] if form == "alone" else torch.stack(sequences, dim=0 if form == "batch first" else 1)
    hx = [one[:, 0] if form == "alone" else one for one in states]
    args = (inputs, *([tuple(hx) if kind == "lstm" else hx[0]] if given else []))
    found = recurrent.rows(layer, recurrent.kept(layer, args, {}, layer(*args)))
    expected = looped(layer, sequences, states)
    assert len(found) == len(expected) == len(weight_matrices("r", layer)) == 2 * layers * (1 + bidirectional)
    for rows, of in zip(found, expected, strict=True):
        assert same_rows(rows, of)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("kind", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_of_a_cell_its_inputs_and_its_state(kind, given):
    cell, x = kind(3, 5).double(), rand(4, 3)
    state = rand(4, 5, seed=1)
    args = (x, *([(state, rand(4, 5)) if kind is nn.LSTMCell else state] if given else []))
    inputs, before = recurrent.rows(cell, recurrent.kept(cell, args, {}, None))
    assert torch.equal(inputs, x) and torch.equal(before, state if given else torch.zeros(4, 5))


def test_gates_come_from_the_rows():
    torch.manual_seed(0)
    layer, x = nn.GRU(3, 5).double(), rand(6, 2, 3)
    inputs, before = recurrent.rows(layer, recurrent.kept(layer, (x,), {}, layer(x)))
    ih, hh = weight_matrices("gru", layer)
    gates, states = inputs @ ih.weight.T + ih.bias, before @ hh.weight.T + hh.bias
    reset, update = torch.sigmoid(gates[:, :10] + states[:, :10]).chunk(2, 1)
    new = torch.tanh(gates[:, 10:] + reset * states[:, 10:])
    assert torch.allclose(
        ((1 - update) * new + update * before).detach(), layer(x)[0].detach().reshape(12, 5), atol=1e-12
    )


def test_a_projection_of_an_lstm_is_refused_unless_it_is_frozen():
    with pytest.raises(UserError, match="the parameter weight_hr_l0 of layer '0'"):
        Guard(nn.Sequential(nn.LSTM(3, 5, proj_size=2)), SvdSubspace, rows=1)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_states_that_a_frozen_projection_hands_on_are_held(layers, bidirectional, packed):
    torch.manual_seed(0)
    model = nn.LSTM(20, 24, layers, bidirectional=bidirectional, proj_size=16).double()
    for name, value in model.named_parameters():
        value.requires_grad_("hr" not in name)
    sequences = [rand(length, 20, seed=length) for length in (2, 4)]
    old = pack_sequence(sequences, enforce_sorted=False) if packed else torch.stack([sequences[0], rand(2, 20)], 1)
    new = rand(5, 6, 20, seed=9)
    guard = Guard(model, SvdSubspace, energy=1.0)
    guard.remember(model, old)
    states = model(old)[1]
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    with guard.protecting(optimizer):
        for _ in range(3):
            optimizer.zero_grad()
            model(new)[0].square().mean().backward()
            optimizer.step()
    assert all(torch.allclose(one, was, atol=1e-12) for one, was in zip(model(old)[1], states, strict=True))
    assert all(space.free for space in guard.subspaces.values())
    if not packed:
        # From a state that is given: one of the width of each.
        given = tuple(torch.zeros(layers * (1 + bidirectional), 2, width).double() for width in (16, 24))
        rows, other = (
            recurrent.rows(model, recurrent.kept(model, (old, *hx), {}, model(old))) for hx in ((), (given,))
        )
        assert all(torch.equal(one, same) for one, same in zip(rows, other, strict=True))


def test_padding_of_a_packed_batch_is_not_seen():
    layer = nn.LSTM(3, 5, batch_first=True).double()
    x = rand(2, 4, 3)
    x[1, 2:] = 1e3
    packed = pack_padded_sequence(x, torch.tensor([4, 2]), batch_first=True)
    inputs, _ = recurrent.rows(layer, recurrent.kept(layer, (packed,), {}, layer(packed)))
    assert same_rows(inputs, torch.cat([x[0], x[1, :2]]))
