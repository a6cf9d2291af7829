"""Attention, recurrent layers, embeddings, tied weights, blocks: nothing leaks in a later task, and it is learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from optimizers import OPTIMIZERS
from part import part
from torch import nn
from torch.nn import functional

from orthotrace.models.blocks import BlockNet
from orthotrace.protection import Guard
from orthotrace.subspace import SvdSubspace

Inputs = tuple[torch.Tensor, ...]


def rand(*shape: int, seed: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


class Attention(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.inputs, self.attention = nn.Linear(20, 24), nn.MultiheadAttention(24, 4, batch_first=True, **options)
        self.norm, self.head = nn.LayerNorm(24), nn.Linear(24, 3)

    def forward(self, x: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
        h = self.inputs(x)
        h = h + self.attention(self.norm(h), h, h, key_padding_mask=padding, need_weights=False)[0]
        return self.head(h[:, 0])


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        block = nn.TransformerEncoderLayer(24, 4, 32, 0.0, batch_first=True, norm_first=True)
        self.inputs, self.encoder = nn.Linear(20, 24), nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.head = nn.Linear(24, 3)

    def forward(self, x: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
        return self.head(self.encoder(self.inputs(x), src_key_padding_mask=padding)[:, 0])


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], layers: int = 1) -> None:
        super().__init__()
        self.steps, self.head = kind(20, 48, layers, batch_first=True), nn.Linear(48, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.steps(x)[0][:, -1])


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(20, 48), nn.Linear(48, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = x.new_zeros(len(x), 48)
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
        return self.head(state)


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.steps, self.head = nn.Embedding(40, 20), nn.GRU(20, 48, batch_first=True), nn.Linear(48, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.steps(self.words(x))[0][:, -1])


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inputs = nn.Linear(20, 24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(torch.relu(self.inputs(x[:, 0])), self.inputs.weight.t())[:, :3]


class Upwards(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.out = nn.ConvTranspose1d(20, 24, 3, stride=2, groups=2), nn.ConvTranspose1d(24, 1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.up(x.transpose(1, 2)[..., :2])))[:, 0, :3]


def blocks(nonlinearity: str, *described: dict[str, Any]) -> Callable[[], nn.Module]:
    return lambda: BlockNet((20, 2, 2), 3, described, nonlinearity)


# The network; the shape of its old and new inputs beyond the batch; whether some are padding.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[int, ...], bool]] = {
    "attention": (Attention, (5, 20), (5, 20), False),
    "attention, padded": (Attention, (5, 20), (5, 20), True),
    "attention, apart": (lambda: Attention(kdim=24, vdim=24), (5, 20), (5, 20), False),
    "encoder": (Encoder, (5, 20), (5, 20), False),
    "encoder, padded": (Encoder, (5, 20), (5, 20), True),
    "elman": (lambda: Recurrent(nn.RNN), (20, 20), (20, 20), False),
    "lstm": (lambda: Recurrent(nn.LSTM), (20, 20), (20, 20), False),
    "gru": (lambda: Recurrent(nn.GRU), (20, 20), (20, 20), False),
    "lstm of 2 layers": (lambda: Recurrent(nn.LSTM, 2), (20, 20), (20, 20), False),
    "cell": (Cell, (20, 20), (20, 20), False),
    "embedding": (Words, (20,), (20,), False),
    "tied": (Tied, (1, 20), (1, 20), False),
    "transposed": (Upwards, (2, 20), (2, 20), False),
    "inception": (
        blocks("elu", {"kind": "inception", "conv1": 12, "conv3": [12, 12], "conv5": [12, 12], "pooled": 12}),
        (20, 2, 2),
        (20, 2, 2),
        False,
    ),
    "depthwise": (
        blocks("elu", {"kind": "separable", "channels": 20}, {"kind": "inverted", "channels": 20, "expand": 2}),
        (20, 2, 2),
        (20, 2, 2),
        False,
    ),
    "fractal": (
        blocks("elu", {"kind": "fractal", "channels": 12, "drop_path": 0.2, "global_drop_path": 0.3}),
        (20, 2, 2),
        (20, 2, 2),
        False,
    ),
    "maxout": (
        blocks("maxout", {"kind": "linear", "units": 20}, {"kind": "linear", "units": 20}),
        (20, 2, 2),
        (20, 2, 2),
        False,
    ),
}


def batch(name: str, count: int, seed: int, dtype: torch.dtype) -> Inputs:
    _, old, _, padded = NETWORKS[name]
    if name == "embedding":
        tokens = torch.randint(0, 40, (count, *old), generator=torch.Generator().manual_seed(seed))
        # The old sequences have some of the words, and the new ones all.
        return (tokens if count > 2 else tokens % 12,)
    x = rand(count, *old, seed=seed, dtype=dtype)
    if count <= 2 and len(old) > 1 and old[0] == 20:
        # Sequences that live in a few directions, so that others stay free.
        x[..., 8:] = 0
    if not padded:
        return (x,)
    there = torch.arange(old[0])[None] < (2 + torch.arange(count) % 4)[:, None]
    return x, ~there


def optimizers(name: str, model: nn.Module) -> list[torch.optim.Optimizer]:
    if name != "muon":
        return [OPTIMIZERS[name](model.parameters())]
    # It takes matrices alone.
    matrices = [value for value in model.parameters() if value.ndim == 2]
    rest = [value for value in model.parameters() if value.ndim != 2]
    return [torch.optim.Muon(matrices, lr=0.02, weight_decay=0.1), torch.optim.SGD(rest, 0.05)]


# Torch has it from 2.9 on.
MUON = ["muon"] if hasattr(torch.optim, "Muon") else []
CASES = [
    (network, optimizer, kind)
    for network in NETWORKS
    for optimizer in [*OPTIMIZERS, *MUON]
    for kind in ("64", "32")
    # Muon takes matrices, of which convolutions have none, so that plain steps would be left for all but a head.
    if optimizer != "muon" or network not in ("transposed", "inception", "depthwise", "fractal")
]


def kept(case: tuple[str, str, str]) -> bool:
    """Every network under one optimizer, every optimizer on one network."""
    network, optimizer, kind = case
    return (optimizer == "adam" and kind == "64") or (network == "encoder, padded" and kind == "32")


@pytest.mark.parametrize(("network", "optimizer", "kind"), part(CASES, kept))
def test_nothing_leaks_and_the_new_task_is_learned(network, optimizer, kind):
    dtype, bound = {"64": (torch.float64, 1e-12), "32": (torch.float32, 1e-6)}[kind]
    torch.manual_seed(0)
    model = NETWORKS[network][0]().to(dtype)
    guard = Guard(model, SvdSubspace, energy=1.0)
    # Sequences of 20 steps give as many states.
    old, new = batch(network, 1 if 20 in NETWORKS[network][1][:1] else 2, 1, dtype), batch(network, 24, 2, dtype)
    guard.remember(model, old)
    spaces = guard.subspaces.values()
    assert all(space.rank > 0 and 3 * space.free >= space.features for space in spaces)
    model.eval()
    before = model(*old).detach()
    targets = functional.one_hot(torch.arange(24) % 3, 3).to(dtype)
    steps = optimizers(optimizer, model)
    losses = []
    model.train()
    with guard.protecting(*steps):
        # Plain steps of a network of several layers take longer.
        while len(losses) < 20 or (losses[-1] >= losses[0] / 2 and len(losses) < 600):
            for one in steps:
                one.zero_grad()
            loss = (model(*new) - targets).square().mean()
            losses.append(float(loss.detach()))
            loss.backward()
            for one in steps:
                one.step()
    leaks = guard.leaks()
    assert max(leaks.values()) <= bound and len(leaks) == len(guard.labels) + len(guard.embeddings)
    assert min(float(guard.update(label).norm()) for label in guard.labels) > 1e-4
    model.eval()
    assert float((model(*old).detach() - before).abs().max()) < 1e-5
    assert losses[-1] < losses[0] / 2
