"""Recurrent layers: products with inputs and with states, at every step of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from orthotrace.protection.matrices import WeightMatrix, matrix

CELLS = (nn.RNNCell, nn.LSTMCell, nn.GRUCell)
SEQUENCES = (nn.RNN, nn.LSTM, nn.GRU)
LAYERS = (*CELLS, *SEQUENCES)


def matrices(name: str, layer: Any) -> list[WeightMatrix]:
    """Those of inputs and of states; where there are several, of each layer and direction. Gates are stacked in them.

    Example:
        >>> [(part.label, part.features) for part in matrices("lstm", nn.LSTM(3, 5))]
        [('lstm[ih_l0]', 3), ('lstm[hh_l0]', 5)]
    """
    endings = [""] if isinstance(layer, CELLS) else [f"_{of}" for of in _endings(layer)]
    found: list[WeightMatrix] = []
    for ending in endings:
        for which in ("ih", "hh"):
            weight = f"weight_{which}{ending}"
            outputs = slice(0, len(getattr(layer, weight)))
            found.append(matrix(name, layer, len(found), which + ending, weight, f"bias_{which}{ending}", outputs))
    return found


def _endings(layer: nn.RNNBase) -> list[str]:
    directions = ("", "_reverse")[: 1 + layer.bidirectional]
    return [f"l{number}{direction}" for number in range(layer.num_layers) for direction in directions]


class RecurrentCall(NamedTuple):
    """What a recurrent layer was called with, and gave."""

    inputs: Any
    state: Tensor | None
    cell: Tensor | None
    output: Any


def kept(layer: Any, args: Sequence[Any], kwargs: dict[str, Any], output: Any) -> RecurrentCall:
    """What is kept of a call until its rows are asked for; of a state that is a pair, both."""
    inputs = args[0] if args else kwargs["input"]
    state = args[1] if len(args) > 1 else kwargs.get("hx")
    state, cell = state if isinstance(state, tuple) else (state, None)
    output = output[0] if isinstance(output, tuple) else output
    # A network may run in autocast by itself, and the rows are made outside of it.
    kind = next(layer.parameters()).dtype
    return RecurrentCall(*(_copied(one, kind) for one in (inputs, state, cell, output)))


def _copied(values: Any, kind: torch.dtype) -> Any:
    if isinstance(values, PackedSequence):
        return values._replace(data=values.data.detach().to(kind, copy=True))
    return None if values is None else values.detach().to(kind, copy=True)


@torch.no_grad()
def rows(layer: Any, call: RecurrentCall, budget: int | None = None, generator: object = None) -> list[Tensor]:
    """Inputs and states at every step, of each layer and direction, without dropout between layers.

    The states are those before each step: the one that was given, zeros where none was, and then what the layer gave.
    Of packed sequences only steps that are there.
    """
    if isinstance(layer, CELLS):
        inputs = call.inputs.reshape(-1, layer.input_size)
        state = inputs.new_zeros(len(inputs), layer.hidden_size) if call.state is None else call.state
        return [inputs, state.reshape(-1, layer.hidden_size)]
    inputs, there, order = _over_time(layer, call.inputs)
    count = 1 + layer.bidirectional
    # An LSTM may hand on its states through a product of fewer outputs.
    width = layer.proj_size or layer.hidden_size
    first, cell = (
        inputs.new_zeros(shape) if one is None else one.reshape(shape) if order is None else one[:, order]
        for one, size in ((call.state, width), (call.cell, layer.hidden_size))
        for shape in [(layer.num_layers * count, inputs.shape[1], size)]
    )
    found: list[Tensor] = []
    for number in range(layer.num_layers):
        if layer.num_layers == 1:
            outputs = _over_time(layer, call.output)[0]
        else:
            own = slice(number * count, (number + 1) * count)
            outputs = _single(layer, number, inputs, there, first[own].contiguous(), cell[own].contiguous())
        for direction in range(count):
            given = outputs[..., direction * width : (direction + 1) * width]
            before = _before(given, first[number * count + direction], there, backwards=direction == 1)
            found += [inputs[there], before[there]]
        inputs = outputs
    return found


def _over_time(layer: nn.RNNBase, values: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    """Values (time, batch, features), which steps are there, and the order in which a packed batch is sorted."""
    if isinstance(values, PackedSequence):
        # Without its order the batch stays sorted by length, as the layer works.
        padded, lengths = pad_packed_sequence(PackedSequence(values.data, values.batch_sizes))
        there = torch.arange(len(padded))[:, None] < lengths[None]
        return padded, there.to(padded.device), values.sorted_indices
    if values.ndim == 2:
        values = values[:, None]
    elif layer.batch_first:
        values = values.transpose(0, 1)
    return values, torch.ones(values.shape[:2], dtype=torch.bool, device=values.device), None


def _single(layer: nn.RNNBase, number: int, inputs: Tensor, there: Tensor, state: Tensor, cell: Tensor) -> Tensor:
    """What one of several layers gives for inputs over time, by itself."""
    options: dict[str, Any] = {"bias": layer.bias, "bidirectional": layer.bidirectional}
    if isinstance(layer, nn.RNN):
        options["nonlinearity"] = layer.nonlinearity
    elif layer.proj_size:
        options["proj_size"] = layer.proj_size
    kind: Any = next(kind for kind in SEQUENCES if isinstance(layer, kind))
    like = layer.weight_ih_l0
    alone = kind(inputs.shape[-1], layer.hidden_size, device=like.device, dtype=like.dtype, **options)
    for name, value in alone.named_parameters():
        value.copy_(getattr(layer, name.replace("_l0", f"_l{number}")))
    given = (state, cell) if isinstance(layer, nn.LSTM) else state
    if there.all():
        return alone(inputs.contiguous(), given)[0]
    packed = pack_padded_sequence(inputs, there.sum(0).cpu())
    return pad_packed_sequence(alone(packed, given)[0])[0]


def _before(outputs: Tensor, first: Tensor, there: Tensor, backwards: bool) -> Tensor:
    """The state before each step, of the outputs (time, batch, features) and the state given, (batch, features)."""
    if not backwards:
        return torch.cat([first[None].to(outputs), outputs[:-1]])
    found = torch.cat([outputs[1:], first[None].to(outputs)])
    # A sequence that is shorter begins, backwards, at its own last step.
    last = there.sum(0) - 1
    found[last, torch.arange(found.shape[1], device=found.device)] = first.to(found)
    return found
