"""Recurrent networks, which read an image as a sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import UserError, checked
from orthotrace.models.width import scaled

Cell = Literal["elman", "rnn", "lstm", "gru"]
Reading = Literal["rows", "pixels"]


class Recurrent(nn.Module):
    """Recurrent layers rnn1, rnn2, ... over the steps of a sequence, and a linear ``head`` on the last state.

    Images have no order in time, so ``reading`` gives them one:

    - rows: from top to bottom, a step for each row, with all its pixels and channels as the input;
    - pixels: row by row, from left to right, a step for each pixel, with its channels as the input.

    Inputs of shape (steps, features) are sequences as they are, and so are tokens (steps,), of which ``embed`` makes
    features.

    Cells are those of torch: "elman" h = tanh(W x + U h + b); "rnn" the same with ReLUs, whose U begins as the identity
    and b as 0; "lstm" and "gru" with gates. An analysis reads of a recurrent layer its states at all steps.

    Args:
        shape: of one input, (channels, height, width), (steps, features) or (steps,).
        classes: number of outputs, at least 1.
        cell: of the recurrent layers.
        hidden: units of each recurrent layer, at least one layer.
        reading: "rows" or "pixels" of an image; None for inputs that are sequences.
        width: factor on the hidden units, above 0.
        vocabulary: number of tokens; None where the inputs are none.
        embedding: features of a token.

    Raises:
        UserError: a value out of its range, an image without a reading order, a sequence with one, or tokens without a
            vocabulary.

    Source: Elman, Cognitive Science 14, 1990; Le, Jaitly & Hinton, arXiv:1504.00941, 2015, for ReLUs that begin at the
    identity, and for MNIST read pixel by pixel; Hochreiter & Schmidhuber, Neural Computation 9, 1997; Cho et al.,
    EMNLP 2014.

    Example:
        >>> import torch
        >>> model = Recurrent((1, 28, 28), 10, cell="lstm", hidden=[64], reading="rows")
        >>> model(torch.zeros(3, 1, 28, 28)).shape, model.rnn1.input_size
        (torch.Size([3, 10]), 28)
    """

    @checked
    def __init__(
        self,
        shape: Sequence[int],
        classes: Annotated[int, Field(ge=1)],
        cell: Cell = "lstm",
        hidden: Annotated[Sequence[Annotated[int, Field(ge=1)]], Field(min_length=1)] = (128,),
        reading: Reading | None = None,
        width: Annotated[float, Field(gt=0)] = 1.0,
        vocabulary: Annotated[int, Field(ge=1)] | None = None,
        embedding: Annotated[int, Field(ge=1)] = 64,
    ) -> None:
        super().__init__()
        _check_order(shape, reading, vocabulary)
        self.reading = reading
        self.embed = None if vocabulary is None else nn.Embedding(vocabulary, embedding)
        features = {None: shape[-1], "rows": shape[0] * shape[-1], "pixels": shape[0]}[reading]
        if vocabulary is not None:
            features = embedding
        self.layers = len(hidden)
        for number, units in enumerate(hidden, start=1):
            units = scaled(units, width)
            self.add_module(f"rnn{number}", _layer(cell, features, units))
            features = units
        self.head = nn.Linear(features, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, outputs)."""
        states = self.sequences(inputs)
        for number in range(1, self.layers + 1):
            states = getattr(self, f"rnn{number}")(states)[0]
        return self.head(states[:, -1])

    def sequences(self, inputs: Tensor) -> Tensor:
        """Inputs as sequences, (n, steps, features).

        Example:
            >>> import torch
            >>> images = torch.arange(4).view(1, 1, 2, 2)
            >>> [Recurrent((1, 2, 2), 3, reading=way).sequences(images).tolist() for way in ("rows", "pixels")]
            [[[[0, 1], [2, 3]]], [[[0], [1], [2], [3]]]]
        """
        if self.embed is not None:
            return self.embed(inputs.long())
        if self.reading == "rows":
            return inputs.transpose(1, 2).flatten(2)
        return inputs.flatten(2).transpose(1, 2) if self.reading == "pixels" else inputs


def _check_order(shape: Sequence[int], reading: Reading | None, vocabulary: int | None) -> None:
    sizes = " x ".join(map(str, shape))
    if len(shape) == 1 and vocabulary is None:
        raise UserError(f"inputs of {sizes} steps are tokens: say how many different ones there are", "vocabulary")
    if len(shape) != 1 and vocabulary is not None:
        raise UserError(f"inputs of {sizes} are no tokens (steps,): set null", "vocabulary")
    if len(shape) == 3 and reading is None:
        raise UserError(f"images of {sizes} have no order in time: take rows or pixels", "reading")
    if len(shape) < 3 and reading is not None:
        raise UserError(f"inputs of {sizes} are sequences already: set null", "reading")
    if len(shape) not in (1, 2, 3) or not math.prod(shape):
        raise UserError(f"inputs of {sizes} are neither images nor sequences (steps, features)", "shape")


def _layer(cell: Cell, features: int, units: int) -> nn.RNNBase:
    """One recurrent layer."""
    if cell in ("lstm", "gru"):
        return (nn.LSTM if cell == "lstm" else nn.GRU)(features, units, batch_first=True)
    layer = nn.RNN(features, units, nonlinearity="tanh" if cell == "elman" else "relu", batch_first=True)
    if cell == "rnn":
        # With random weights ReLUs explode or fade over many steps.
        named = dict(layer.named_parameters())
        nn.init.eye_(named["weight_hh_l0"])
        nn.init.zeros_(named["bias_ih_l0"])
        nn.init.zeros_(named["bias_hh_l0"])
    return layer
